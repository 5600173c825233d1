"""Files for elsewhere, read by programs that we did not write."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from pathlib import Path

import geopandas as gpd
import mapbox_vector_tile
import numpy as np
import pystac
import pytest
import shapely

from chorograph.area.map_files import ColouredColumn, write_style
from chorograph.serving.catalogue.served import ServedArea
from chorograph.serving.publish.files import deepest_zoom, tiles_of, write_area_geopackage, write_pmtiles
from chorograph.serving.publish.stac import write_stac

_QGIS = """
import json, sys
from qgis.core import QgsApplication, QgsVectorLayer
app = QgsApplication([], False)
app.initQgis()
told = {}
for name in sys.argv[1:]:
    layer = QgsVectorLayer(name, "layer", "ogr")
    renderer = layer.renderer()
    colours = [r.symbol().color().name() for r in renderer.ranges()] if renderer.type() == "graduatedSymbol" else []
    attribute = renderer.classAttribute() if colours else ""
    told[name] = [layer.isValid(), layer.featureCount(), renderer.type(), attribute, colours]
print(json.dumps(told))
app.exitQgis()
"""


def test_a_geopackage_and_a_geojson_open_coloured_in_qgis(served: ServedArea, tmp_path: Path) -> None:
    python = Path("/usr/bin/python3")
    found = python.exists() and subprocess.run([python, "-c", "import qgis.core"], capture_output=True).returncode == 0
    if not found:
        pytest.skip("no QGIS on this machine (Debian's python3-qgis)")
    package = write_area_geopackage(served, tmp_path / "regions.gpkg")
    plain = tmp_path / "predictions.geojson"
    frame = gpd.read_file(package)
    frame[["region_id", "median_income_predicted", "geometry"]].to_file(plain, driver="GeoJSON")
    write_style(plain.with_suffix(".qml"), frame, ColouredColumn("median_income_predicted", "Income"))
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "HOME": str(tmp_path), "PYTHONPATH": ""}
    words = [python, "-c", _QGIS, f"{package}|layername=regions", plain]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120)
    told = json.loads(done.stdout.strip().splitlines()[-1])
    for valid, count, renderer, attribute, colours in told.values():
        assert valid
        assert count == 60
        assert (renderer, attribute) == ("graduatedSymbol", '"median_income_predicted"')
        assert len(set(colours)) == 6


def test_the_geopackage_holds_every_number(served: ServedArea, tmp_path: Path) -> None:
    frame = gpd.read_file(write_area_geopackage(served, tmp_path / "regions.gpkg"))
    assert frame["region_id"].tolist() == served.index.tolist()
    assert np.allclose(frame["median_income_upper"], served.layer("median_income").run().upper)
    assert np.allclose(frame["carbon_observed"], served.layer("carbon").observed, equal_nan=True)
    assert frame.crs == "EPSG:4326"


def test_pmtiles_lose_no_region_at_any_zoom(served: ServedArea, tmp_path: Path) -> None:
    from pmtiles.reader import MmapSource, Reader

    path = write_pmtiles(served, tmp_path / "regions.pmtiles")
    with path.open("rb") as file:
        reader = Reader(MmapSource(file))
        assert reader.header()["max_zoom"] == deepest_zoom(served)
        classes = reader.metadata()["classes"]
        assert len(classes["median_income.predicted"]["edges"]) == 7
        seen: dict[int, set[int]] = {}
        assert served.bounds is not None
        for z, x, y in tiles_of(served.bounds, deepest_zoom(served)):
            if (tile := reader.get(z, x, y)) is None:
                continue
            features = mapbox_vector_tile.decode(gzip.decompress(tile))["regions"]["features"]
            seen.setdefault(z, set()).update(feature["id"] for feature in features)
            assert all("median_income.predicted" in feature["properties"] for feature in features)
    assert all(regions == set(range(60)) for regions in seen.values())
    assert sorted(seen) == list(range(deepest_zoom(served) + 1))


def test_stac_is_a_catalogue_that_pystac_reads_with_embeddings_where_images_lie(
    served: ServedArea, tmp_path: Path
) -> None:
    write_stac(served, tmp_path)
    area = pystac.Collection.from_file(str(tmp_path / "collection.json"))
    assert area.id == "city"
    assert {asset.title for asset in area.assets.values()} >= {"regions", "indicators"}
    (vectors,) = area.get_children()
    assert isinstance(vectors, pystac.Collection)
    assert vectors.extra_fields["emb:type"] == "chip"
    assert (vectors.extra_fields["emb:dimensions"], vectors.extra_fields["data_type"]) == (159, "float32")
    assert vectors.extra_fields["emb:chip_layout"]["layout_type"] == "named_grid"
    links = {link.rel: link.get_absolute_href() for link in vectors.links}
    assert json.loads(Path(links["emb:model"]).read_text())["name"] == "colour"
    assert Path(links["emb:source-data"]) == tmp_path / "collection.json"
    table = gpd.read_parquet(vectors.assets["vectors"].get_absolute_href())
    assert len(table.iloc[0]["embedding"]) == 159
    assert table.crs == "EPSG:4326"
    within = table.merge(served.regions[["region_id", "geometry"]], on="region_id", suffixes=("", "_region"))
    assert (shapely.distance(within["geometry"].values, within["geometry_region"].values) < 0.01).all()
    for asset in area.assets.values():
        assert Path(asset.get_absolute_href()).is_file()


def test_a_whole_area_is_published_from_the_command_line(city: Path, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from chorograph.cli.app import app

    result = CliRunner().invoke(app, ["publish", str(city), str(tmp_path / "out"), "--json"])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "index.html", "site", "regions.gpkg", "regions.pmtiles", "collection.json", "stac", "manifest.json",
    }  # fmt: skip
