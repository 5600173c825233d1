"""Mosaics cut into map tiles, against rio-tiler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chorograph.acquisition.own.own_settings import OwnFiles
from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.area.tiles import tile_of
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger

rasterio = pytest.importorskip("rasterio")
Build = Callable[..., tuple[Area, Ledger]]


def _mosaic(path: Path, west: float, south: float, east: float, north: float, dtype: str = "uint8") -> Path:
    """Write a smooth coloured raster of degrees."""
    from rasterio.transform import from_bounds

    y, x = np.mgrid[0:200, 0:200] / 200.0
    bands = np.stack([x, y, (x + y) / 2]) * (250 if dtype == "uint8" else 4000)
    path.parent.mkdir(exist_ok=True, parents=True)
    with rasterio.open(
        path, "w", driver="GTiff", width=200, height=200, count=3, dtype=dtype, crs="EPSG:4326",
        transform=from_bounds(west, south, east, north, 200, 200),
    ) as file:  # fmt: skip
        file.write(bands.astype(dtype))
    return path


def test_tiles_equal_those_of_rio_tiler(build: Build, tmp_path: Path) -> None:
    rio = pytest.importorskip("rio_tiler.io")
    path = _mosaic(tmp_path / "m" / "m.tif", 10.2, 40.2, 11.8, 40.8)
    area, ledger = build(tiles=path.parent, tiles_table=None, cut="tiles:10")
    assert check_area(area) == []
    images = area.images
    assert images["region_id"].notna().all()
    assert set(images["zoom"]) == {10}
    x, y = tile_of(images["lon"].to_numpy(float), images["lat"].to_numpy(float), 10)
    assert x.tolist() == images["x"].tolist()
    assert y.tolist() == images["y"].tolist()
    whole = 0
    for row in images.itertuples():
        with rio.Reader(str(path)) as reader:
            expected = reader.tile(row.x, row.y, row.zoom, tilesize=256, resampling_method="bilinear")
        seen = expected.mask > 0
        ours = area.read_image(row.uri).transpose(2, 0, 1).astype(int)
        assert np.abs(ours - expected.data.astype(int))[:, seen].max() <= 1
        whole += bool(seen.all())
    assert whole
    assert ledger.counts["tiles covered in part"] == len(images) - whole


def test_rasters_lie_over_one_another(build: Build, tmp_path: Path) -> None:
    _mosaic(tmp_path / "m" / "a.tif", 10.0, 40.0, 12.0, 41.0)
    _mosaic(tmp_path / "m" / "deep" / "b.tif", 12.0, 40.0, 14.0, 41.0)
    area, ledger = build(tiles=tmp_path / "m", tiles_table=None, cut="tiles:9")
    assert ledger.counts["mosaics"] == 2
    assert area.images["region_id"].nunique() >= 3
    at_seam = area.images[(area.images["lon"] - 12).abs() < 0.36]
    assert all((area.read_image(uri).max(axis=2) > 0).mean() > 0.5 for uri in at_seam["uri"])


def test_deep_mosaics_need_a_scale(build: Build, tmp_path: Path) -> None:
    _mosaic(tmp_path / "m" / "a.tif", 10.0, 40.0, 12.0, 41.0, "uint16")
    with pytest.raises(InputError, match=r"3 bands of 16-bit whole numbers.*--scale"):
        build(tiles=tmp_path / "m", tiles_table=None, cut="tiles:9")
    area, _ = build(tiles=tmp_path / "m", tiles_table=None, cut="tiles:9", scale="0:4000")
    assert area.read_image(area.images["uri"].iloc[0]).max() > 100


@pytest.mark.parametrize(
    ("cut", "message"),
    [("tiles", "--cut is tiles:ZOOM"), ("tiles:30", "from 0 to 24"), ("tiles:9", "says where it lies")],
)
def test_what_cannot_be_cut(build: Build, files: OwnFiles, cut: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(tiles_table=None, cut=cut)


def test_a_mosaic_elsewhere(build: Build, tmp_path: Path) -> None:
    _mosaic(tmp_path / "m" / "a.tif", 50.0, 0.0, 51.0, 1.0)
    with pytest.raises(InputError, match=r"no tile of zoom 9 lies both in .* and in a region"):
        build(tiles=tmp_path / "m", tiles_table=None, cut="tiles:9")
