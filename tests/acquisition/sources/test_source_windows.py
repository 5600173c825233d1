"""Windows: tiles as morecantile has them, squares and rectangles, around the globe."""

from __future__ import annotations

import geopandas as gpd
import morecantile
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, box

from chorograph.acquisition.sources.windows import (
    degrees_bounds,
    rectangles_of,
    squares_of,
    tile_window,
    tiles_of,
)
from chorograph.ground.errors import InputError

WEB = morecantile.tms.get("WebMercatorQuad")


def regions(*shapes: object) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"region_id": [f"r{k}" for k in range(len(shapes))]}, geometry=list(shapes), crs=4326)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 22), st.floats(0, 0.999999), st.floats(0, 0.999999))
def test_bounds_of_tiles_equal_morecantiles(zoom: int, across: float, down: float) -> None:
    x, y = int(across * 2**zoom), int(down * 2**zoom)
    window = tile_window(zoom, x, y)
    flat = WEB.xy_bounds(morecantile.Tile(x, y, zoom))
    assert np.allclose([window.west, window.south, window.east, window.north], flat, atol=1e-6)
    assert np.allclose(degrees_bounds(window), WEB.bounds(morecantile.Tile(x, y, zoom)), atol=1e-9)


def test_tiles_of_regions_are_those_whose_middle_lies_in_one() -> None:
    held = regions(box(11.0, 48.0, 11.1, 48.06), box(11.1, 48.0, 11.2, 48.06))
    found = tiles_of(held, 14).frame
    every = {
        (tile.x, tile.y)
        for tile in WEB.tiles(11.0, 48.0, 11.2, 48.06, [14])
        for middle in [WEB.bounds(tile)]
        if 11.0 <= (middle.left + middle.right) / 2 <= 11.2 and 48.0 <= (middle.bottom + middle.top) / 2 <= 48.06
    }
    assert set(zip(found["x"], found["y"], strict=True)) == every
    assert found["region_id"].value_counts().to_dict().keys() == {"r0", "r1"}


def test_a_region_smaller_than_a_tile_has_the_tile_it_lies_in() -> None:
    small = box(11.0001, 48.0001, 11.0002, 48.0002)
    found = tiles_of(regions(box(11.2, 48.2, 11.4, 48.4), small, small.buffer(0.00001)), 14).frame
    tile = WEB.tile(11.00015, 48.00015, 14)
    # Of two such regions in one tile the first has it.
    assert found.loc[found["region_id"] == "r1", ["x", "y"]].to_numpy().tolist() == [[tile.x, tile.y]]
    assert "r2" not in set(found["region_id"])


@pytest.mark.parametrize(
    "shape", [box(179.9, -17, 180.1, -16.9), MultiPolygon([box(179.9, -17, 180, -16.9), box(-180, -17, -179.9, -16.9)])]
)
def test_regions_across_the_date_line(shape: object) -> None:
    found = tiles_of(regions(shape), 13).frame
    assert found["x"].min() == 0 and found["x"].max() == 2**13 - 1
    assert len(found) < 40 and found["lon"].abs().min() > 179.8


def test_a_region_with_a_hole_has_no_tile_in_it() -> None:
    ring = box(11.0, 48.0, 11.4, 48.3).difference(box(11.1, 48.1, 11.3, 48.2))
    found = tiles_of(regions(ring), 13).frame
    inside = found["lon"].between(11.1, 11.3) & found["lat"].between(48.1, 48.2)
    assert len(found) and not inside.any()


def test_squares_and_rectangles_lie_on_whole_pixels() -> None:
    held = regions(box(11.0, 48.0, 11.05, 48.03))
    squares = squares_of(held, 10.0, 64, None)
    assert {window.crs for window in squares.windows} == {"EPSG:32632"}
    assert all(window.west % 640 == 0 and window.east - window.west == 640 for window in squares.windows)
    (rectangle,) = rectangles_of(held, 10.0, None).windows
    assert (rectangle.west % 10, rectangle.north % 10) == (0, 0)
    assert rectangle.width == (rectangle.east - rectangle.west) / 10
    west, south, east, north = degrees_bounds(rectangle)
    assert west <= 11.0 and south <= 48.0 and east >= 11.05 and north >= 48.03


def test_what_is_too_much_is_said() -> None:
    with pytest.raises(InputError, match="windows; give a smaller zoom"):
        tiles_of(regions(box(0, 0, 60, 60)), 20)
    with pytest.raises(InputError, match="coarser --resolution-m"):
        rectangles_of(regions(box(11, 48, 12, 49)), 1.0, None)
    with pytest.raises(InputError, match="not a projected reference system in metres"):
        squares_of(regions(box(11, 48, 11.1, 48.1)), 10, 256, "EPSG:4326")
