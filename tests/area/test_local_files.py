from __future__ import annotations

import json
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import geopandas as gpd
import pyogrio
import pytest
from shapely import Point

from chorograph.area.local_files import features_source, offline
from chorograph.ground.errors import InputError

_POINT = {"type": "Feature", "properties": {"name": "a"}, "geometry": {"type": "Point", "coordinates": [1.0, 2.0]}}
_COLLECTION = {"type": "FeatureCollection", "features": [_POINT]}


def _frame() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"name": ["a"]}, geometry=[Point(1, 2)], crs=4326)


@pytest.mark.parametrize("name", ["a.geojson", "a.gpkg", "a.shp", "a.fgb", "a.gml", "a.kml", "a.mif"])
def test_what_people_have_is_read(tmp_path: Path, name: str) -> None:
    kind = {"a.kml": "KML", "a.mif": "MapInfo File", "a.gml": "GML"}.get(name)
    _frame().to_file(tmp_path / name, **({"driver": kind} if kind else {}))
    with offline():
        read = pyogrio.read_dataframe(features_source(tmp_path / name))
    assert (read.geometry.iloc[0].x, read.geometry.iloc[0].y) == (1, 2)


def test_a_file_in_an_archive_is_read(tmp_path: Path) -> None:
    _frame().to_file(tmp_path / "a.shp")
    odd = tmp_path / "a {b} c.zip"
    with zipfile.ZipFile(odd, "w") as archive:
        for part in tmp_path.glob("a.*"):
            archive.write(part, f"folder/{part.name}")
        archive.writestr("__MACOSX/folder/._a.shp", b"")
    assert len(pyogrio.read_dataframe(features_source(odd))) == 1


def _vrt(secret: Path) -> str:
    layer = f'<OGRVRTLayer name="s"><SrcDataSource>{secret}</SrcDataSource></OGRVRTLayer>'
    return f"<OGRVRTDataSource>{layer}</OGRVRTDataSource>"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.geojson", "VRT", "only points at other files"),
        ("a.geojson", "  <!-- " + "x" * 3000 + " -->VRT", "only points at other files"),
        ("a.gml", '<?xml version="1.0"?>\n<!-- -->\nVRT', "only points at other files"),
        ("a.json", '{"type": "gdal_streamed_alg", "command_line": "gdal vector pipeline read x"}', "only points"),
        ("a.json", '{"a": "' + "x" * 100_000 + '", "type": "gdal_streamed_alg"}', "only points"),
        ("a.xml", "<OGRWFSDataSource><URL>http://x</URL></OGRWFSDataSource>", "only points"),
        ("a.kml", '<!DOCTYPE k [<!ENTITY a "aaaa">]><kml>&a;</kml>', "not read here|declares entities"),
        ("a.html", "<html><body>sign in</body></html>", "XML of a kind"),
        ("a.geojson", "", "is empty"),
        ("a.shp", "PGDUMP", "no file of features"),
        ("a.zip", "PK\x03\x04 broken", "no zip archive"),
    ],
)
def test_what_points_elsewhere_is_refused(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / "secret.geojson").write_text(json.dumps(_COLLECTION))
    (tmp_path / name).write_text(
        content.replace("VRT", _vrt(tmp_path / "secret.geojson")) if "VRT" in content else content
    )
    with pytest.raises(InputError, match=says):
        features_source(tmp_path / name)


@pytest.mark.parametrize("name", ["/vsicurl/http://x/a.geojson", "http://x/a.geojson", "WFS:http://x", "PG:dbname=x"])
def test_names_of_elsewhere_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="no file of this machine"):
        features_source(Path(name))


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.geojson")
    with pytest.raises(InputError, match="not a regular file"):
        features_source(tmp_path / "a.geojson")


def test_a_pointer_in_an_archive_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.geojson", _vrt(tmp_path / "secret"))
    with pytest.raises(InputError, match="only points at other files"):
        features_source(tmp_path / "a.zip")


def test_a_reference_system_by_url_is_not_fetched(tmp_path: Path) -> None:
    asked: list[str] = []

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/crs"
    crs = {"type": "link", "properties": {"href": url, "type": "ogcwkt"}}
    (tmp_path / "a.geojson").write_text(json.dumps({**_COLLECTION, "crs": crs}))
    try:
        with offline():
            read = pyogrio.read_dataframe(features_source(tmp_path / "a.geojson"))
        assert len(read) == 1
        assert asked == []
    finally:
        server.shutdown()
