"""A picture a region: tiles of any numbering stitched, cropped, and masked by the polygon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from own_made import picture
from PIL import Image
from shapely.geometry import MultiPolygon, Polygon, box

from chorograph.acquisition.coordinates.baidu import tile_polygon
from chorograph.acquisition.own.imagery.outlines import BAIDU, MERCATOR, box_of, inside, stitched
from chorograph.area.folder import Area
from chorograph.area.tiles import tile_bounds
from chorograph.ground.errors import ChorographError
from chorograph.ground.settings import configure
from chorograph.ground.stage import silent
from chorograph.verbs.table import get_verb

pytest.importorskip("rasterio")
ZOOM, X, Y = 16, 12659, 4738


def _pixels(seed: int) -> Any:
    return np.random.default_rng(seed).integers(1, 255, (256, 256, 3), dtype=np.uint8)


def _write(folder: Path, tiles: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    for name, pixels in tiles.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


def _made(tmp_path: Path, polygons: list[Any], folder: Path, **asked: Any) -> tuple[Area, dict[str, Any]]:
    ids = [f"r{k}" for k in range(len(polygons))]
    gpd.GeoDataFrame({"region_id": ids}, geometry=polygons, crs=4326).to_file(tmp_path / "regions.gpkg")
    new, add = get_verb("area new"), get_verb("area add imagery")
    new(configure(new.settings, {"regions": tmp_path / "regions.gpkg", "out": tmp_path / "area"}), silent)
    done = add(configure(add.settings, {"area": tmp_path / "area", "from_": folder, **asked}), silent)
    return Area.open(tmp_path / "area"), done.manifest


def test_baidus_tile_of_the_largest_y_is_on_top() -> None:
    tiles = {(x, y): _pixels(10 * x + y) for x in (0, 1) for y in (0, 1)}
    pixels, covered = stitched(lambda x, y: tiles.get((x, y)), (0, -512, 512, 0), BAIDU)
    np.testing.assert_array_equal(pixels[:256, :256], tiles[0, 1])
    np.testing.assert_array_equal(pixels[256:, 256:], tiles[1, 0])
    assert covered.all()
    pixels, covered = stitched(lambda x, y: tiles.get((x, y)), (100, 100, 600, 300), MERCATOR)
    np.testing.assert_array_equal(pixels[:156, :156], tiles[0, 0][100:, 100:])
    np.testing.assert_array_equal(pixels[156:, 156:412], tiles[1, 1][:44])
    assert not covered[:, 412:].any() and not pixels[:, 412:].any()


@pytest.mark.parametrize("kind", ["crop", "mask"])
def test_a_rectangle_of_one_tile_is_that_tile(tmp_path: Path, kind: str) -> None:
    near = {(x, y): _pixels(100 * x + y) for x in (X - 1, X, X + 1) for y in (Y - 1, Y, Y + 1)}
    folder = _write(tmp_path / "tiles", {f"{ZOOM}_{x}_{y}_s": pixels for (x, y), pixels in near.items()})
    for path in folder.glob("*_s.png"):
        path.rename(folder / path.name.replace("_s.png", ".png"))
    asked = {"rows_from": "baidu", "cut": f"{kind}:{ZOOM}"}
    area, manifest = _made(tmp_path, [tile_polygon(X, Y, ZOOM)], folder, **asked)
    np.testing.assert_array_equal(area.read_image(area.images["uri"].iloc[0]), near[X, Y])
    assert manifest["counts"]["regions covered in part"] == 0
    assert area.images["region_id"].tolist() == ["r0"]
    assert area.images["zoom"].isna().all()


@pytest.mark.parametrize("rows_from", ["north", "south"])
def test_map_tiles_are_stitched_cropped_and_masked(tmp_path: Path, rows_from: str) -> None:
    zoom, x, y = 15, 17000, 11000
    tiles = {(i, j): _pixels(10 * i + j) for i in range(2) for j in range(2)}
    named = {
        f"{zoom}/{x + i}/{y + j if rows_from == 'north' else 2**zoom - 1 - y - j}": pixels
        for (i, j), pixels in tiles.items()
        if (i, j) != (1, 1)
    }
    for i in range(2):
        (tmp_path / "tiles" / f"{zoom}" / f"{x + i}").mkdir(parents=True)
    for name, pixels in named.items():
        Image.fromarray(pixels).save(tmp_path / "tiles" / f"{name}.png")
    west, _, _, north = (float(edge) for edge in tile_bounds(x, y, zoom))
    _, south, east, _ = (float(edge) for edge in tile_bounds(x + 1, y + 1, zoom))
    outer = box(west, south, east, north)
    width, height = east - west, north - south
    hole = box(west + width / 8, north - height / 4, west + width / 4, north - height / 8)
    outline = outer.difference(hole)
    area, manifest = _made(
        tmp_path, [outline, shapely.transform(outline, lambda xy: xy + 1)], tmp_path / "tiles", rows_from=rows_from,
        cut=f"mask:{zoom}",
    )  # fmt: skip
    found = area.read_image(area.images["uri"].iloc[0])
    whole = np.zeros((512, 512, 3), np.uint8)
    for (i, j), pixels in tiles.items():
        if (i, j) != (1, 1):
            whole[256 * j : 256 * (j + 1), 256 * i : 256 * (i + 1)] = pixels
    whole[64:128, 64:128] = 0
    assert found.shape == whole.shape
    assert (found != whole).any(2).mean() < 0.002  # the parallels of a hole drawn in degrees are off by part of a pixel
    assert manifest["counts"]["regions covered in part"] == 1
    assert manifest["dropped"]["region without any pixel"] == 1


def test_a_mosaic_is_cropped_as_it_is_warped(tmp_path: Path) -> None:
    import rasterio
    from rasterio.transform import from_bounds

    west, south, east, north = (float(edge) for edge in tile_bounds(17000, 11000, 15))
    pixels = np.random.default_rng(0).integers(1, 255, (3, 64, 64), dtype=np.uint8)
    with rasterio.open(
        tmp_path / "mosaic.tif", "w", driver="GTiff", width=64, height=64, count=3, dtype="uint8", crs="EPSG:4326",
        transform=from_bounds(west, south, east, north, 64, 64),
    ) as file:  # fmt: skip
        file.write(pixels)
    inner = box(west + (east - west) / 4, south + (north - south) / 4, east - (east - west) / 4, north)
    area, _ = _made(tmp_path, [inner], tmp_path / "mosaic.tif", cut="crop:15")
    found = area.read_image(area.images["uri"].iloc[0])
    assert abs(found.shape[0] - 192) <= 1 and found.shape[1] == 128
    assert area.images["image_id"].tolist() == ["r0_crop15"]


def test_pixels_belong_where_their_middle_does() -> None:
    outline = MultiPolygon(
        [Polygon([(0, 0), (4, 0), (4, 4), (0, 4)], [[(1, 1), (3, 1), (3, 3), (1, 3)]]), box(5.4, 0, 6.6, 1)]
    )
    assert box_of(outline) == (0, 0, 7, 4)
    expected = np.ones((4, 7), bool)
    expected[1:3, 1:3] = False
    expected[:, 4:] = False
    expected[0, [5, 6]] = True
    np.testing.assert_array_equal(inside(outline, box_of(outline)), expected)


def test_what_cannot_be_cut_is_said(tmp_path: Path) -> None:
    polygon = box(*(float(edge) for edge in tile_bounds(17000, 11000, 15)))
    folder = _write(tmp_path / "tiles", {"15_17000_11000": _pixels(0)})
    for cut, message in (("crop:14", "no tile of zoom 14"), ("round:15", "--cut is"), ("mask:24", "no tile of zoom")):
        (place := tmp_path / cut.replace(":", "")).mkdir()
        with pytest.raises(ChorographError, match=message):
            _made(place, [polygon], folder, cut=cut)
    loose = tmp_path / "loose"
    loose.mkdir()
    (loose / "a.jpg").write_bytes(picture(0))
    (tmp_path / "none").mkdir()
    with pytest.raises(ChorographError, match="neither georeferenced rasters nor tiles"):
        _made(tmp_path / "none", [polygon], loose, cut="crop:15")
