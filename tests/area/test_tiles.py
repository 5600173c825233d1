from __future__ import annotations

import morecantile
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chorograph.area.tiles import MAX_LATITUDE, metres_per_pixel, tile_bounds, tile_centre, tile_of

SCHEME = morecantile.tms.get("WebMercatorQuad")


@given(lon=st.floats(-179.999, 179.999), lat=st.floats(-85, 85), zoom=st.integers(0, 20))
def test_tiles_equal_morecantile(lon: float, lat: float, zoom: int) -> None:
    x, y = tile_of(lon, lat, zoom)
    theirs = SCHEME.tile(lon, lat, zoom)
    # On an edge the two may round to neighbouring tiles.
    assert abs(int(x) - theirs.x) <= 1
    assert abs(int(y) - theirs.y) <= 1
    bounds = SCHEME.bounds(morecantile.Tile(int(x), int(y), zoom))
    west, south, east, north = (float(v) for v in tile_bounds(x, y, zoom))
    assert np.allclose([west, south, east, north], [bounds.left, bounds.bottom, bounds.right, bounds.top], atol=1e-9)
    assert west - 1e-9 <= lon <= east + 1e-9
    assert south - 1e-9 <= lat <= north + 1e-9


@given(x=st.integers(0, 2**18 - 1), y=st.integers(0, 2**18 - 1))
def test_the_centre_lies_in_its_tile(x: int, y: int) -> None:
    lon, lat = tile_centre(x, y, 18)
    assert [int(v) for v in tile_of(lon, lat, 18)] == [x, y]


def test_beyond_the_scheme_is_its_edge() -> None:
    assert [int(v) for v in tile_of(0.0, 89.0, 3)] == [4, 0]
    assert [int(v) for v in tile_of(0.0, -89.0, 3)] == [4, 7]
    assert abs(float(tile_bounds(0, 0, 0)[3]) - MAX_LATITUDE) < 1e-9


def test_metres_per_pixel_at_the_equator() -> None:
    assert abs(float(metres_per_pixel(0.0, 0)) - 156543.0339) < 1e-3
    assert abs(float(metres_per_pixel(60.0, 18)) - 156543.0339 / 2**19) < 1e-6
