from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.shutil import copy

from chorograph.area.raster_files import NoRasterError, open_raster, open_remote_raster, raster_driver
from chorograph.ground.errors import InputError

SOURCE = Path(__file__).resolve().parents[2] / "src" / "chorograph"


def _tiff(path: Path, value: int, side: int = 64, **tags: str) -> Path:
    transform = rasterio.Affine(1, 0, 0, 0, -1, side)
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint8", crs="EPSG:3857", transform=transform
    ) as raster:
        raster.write(np.full((1, side, side), value, np.uint8))
        if tags:
            raster.update_tags(ns="OVERVIEWS", **tags)
    return path


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg", "a.jp2", "a.webp", "a.bmp", "a.gif", "a b#{1}?x:y.tif"])
def test_pictures_are_read(tmp_path: Path, name: str) -> None:
    kind = {".jp2": "JPEG2000", ".tif": "TIFF"}.get(Path(name).suffix)
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / name, format=kind)
    with open_raster(tmp_path / name) as raster:
        assert np.allclose(raster.read(1), 200, atol=2) or raster.colormap(1)


def test_a_grid_of_text_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.asc").write_text("ncols 2\nnrows 1\nxllcorner 0\nyllcorner 0\ncellsize 1\n3 4\n")
    with open_raster(tmp_path / "a.asc") as raster:
        assert raster.read(1).tolist() == [[3, 4]]


def test_what_stands_beside_is_read(tmp_path: Path) -> None:
    path = _tiff(tmp_path / "a.tif", 5)
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(path, "r+") as raster:
        raster.build_overviews([2])
    assert (tmp_path / "a.tif.ovr").exists()
    (tmp_path / "a.tif.aux.xml").write_text('<PAMDataset><Metadata><MDI key="a">b</MDI></Metadata></PAMDataset>')
    with open_raster(path) as raster:
        assert raster.overviews(1) == [2]
        assert np.unique(raster.read(1, out_shape=(32, 32))).tolist() == [5]


def _vrt(secret: Path, path: Path) -> Path:
    copy(str(secret), str(path), driver="VRT")
    return path


def test_other_files_are_not_read(tmp_path: Path) -> None:
    """A virtual data set, a TIFF's tags, its metadata file, its overview, its mask: each names a file of elsewhere."""
    (tmp_path / "own").mkdir()
    own, secret = tmp_path / "own", _tiff(tmp_path / "secret.tif", 77, side=32)
    _vrt(secret, own / "virtual.tif")
    _tiff(own / "tags.tif", 1, OVERVIEW_FILE=str(secret))
    _tiff(own / "metadata.tif", 1)
    mdi = f'<MDI key="OVERVIEW_FILE">{secret}</MDI>'
    (own / "metadata.tif.aux.xml").write_text(f'<PAMDataset><Metadata domain="OVERVIEWS">{mdi}</Metadata></PAMDataset>')
    _vrt(secret, _tiff(own / "overview.tif", 1).with_suffix(".tif.ovr"))
    _vrt(secret, _tiff(own / "mask.tif", 1, side=32).with_suffix(".tif.msk"))
    for name in ("virtual", "tags", "metadata", "overview", "mask"):
        with pytest.raises(InputError, match=name), open_raster(own / f"{name}.tif"):
            pass
    with rasterio.open(own / "tags.tif", driver="GTiff") as leak:  # GDAL itself follows them
        assert np.unique(leak.read(1, out_shape=(32, 32))).tolist() == [77]


def test_a_pipe_as_an_overview_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    path = _tiff(tmp_path / "a.tif", 1, OVERVIEW_FILE=str(tmp_path / "pipe"))
    with pytest.raises(InputError, match="as its overview"), open_raster(path):
        pass


@pytest.mark.parametrize("content", [b"", b"<VRTDataset/>", b"version https://git-lfs", b"\x89HDF\r\n\x1a\n"])
def test_what_is_no_raster_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(NoRasterError, match=re.escape(str(tmp_path / "a.tif"))):
        raster_driver(tmp_path / "a.tif")


def test_damage_is_named_where_it_is_met(tmp_path: Path) -> None:
    path = _tiff(tmp_path / "a.tif", 1, side=256)
    path.write_bytes(path.read_bytes()[:30_000])
    with pytest.raises(NoRasterError, match=r"a\.tif"), open_raster(path) as raster:
        raster.read()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_named_url_is_read_where_it_is_allowed(tmp_path: Path, served: str) -> None:
    _tiff(tmp_path / "a.tif", 9)
    secret = _tiff(tmp_path / "secret.tif", 77, side=32)
    _tiff(tmp_path / "tags.tif", 1, OVERVIEW_FILE=str(secret))
    here = (ip_network("127.0.0.0/8"),)
    with open_remote_raster(f"{served}/a.tif", allowed=here) as raster:
        assert np.unique(raster.read(1)).tolist() == [9]
    with pytest.raises(InputError, match="private address"), open_remote_raster(f"{served}/a.tif"):
        pass
    with pytest.raises(InputError, match="as its overview"), open_remote_raster(f"{served}/tags.tif", allowed=here):
        pass
    with pytest.raises(NoRasterError, match=r"missing\.tif"), open_remote_raster(f"{served}/missing.tif", allowed=here):
        pass


def test_every_raster_is_opened_here() -> None:
    """`rasterio.open` stands in this one file; elsewhere only where a raster is written."""
    calls = {
        path.name: call
        for path in SOURCE.rglob("*.py")
        for call in re.findall(r"rasterio\.open\(([^)]*)\)", path.read_text(encoding="utf-8"))
        if '"w"' not in call
    }
    assert set(calls) == {"raster_files.py"}
