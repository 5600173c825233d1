"""Vector tiles: no region is lost, and another decoder reads the same shapes."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import mapbox_vector_tile
import morecantile
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from chorograph.serving.catalogue.served import ServedArea
from chorograph.serving.tiles.encode import EXTENT, encode_shapes, encode_tile, tile_bounds_3857
from chorograph.serving.tiles.ladder import Ladder

TMS = morecantile.tms.get("WebMercatorQuad")


def squares(side: int, size: float = 0.001) -> gpd.GeoSeries:
    """Return side x side squares of `size` degrees that share their borders."""
    boxes = [shapely.box(i * size, j * size, (i + 1) * size, (j + 1) * size) for j in range(side) for i in range(side)]
    return gpd.GeoSeries(boxes, crs=4326).to_crs(3857)


def decode(tile: bytes) -> dict[int, shapely.Geometry]:
    """Return the polygons of a tile by id, in units from the lower left corner, as another program reads them."""
    layer = mapbox_vector_tile.decode(tile)["regions"]
    assert layer["extent"] == EXTENT
    return {feature["id"]: shapely.geometry.shape(feature["geometry"]) for feature in layer["features"]}


@pytest.mark.parametrize("zoom", [0, 4, 8, 12, 14])
def test_no_region_is_lost_at_any_zoom(zoom: int) -> None:
    shapes = squares(30)
    ladder = Ladder(np.asarray(shapes.values, dtype=object))
    west, south, east, north = shapes.to_crs(4326).total_bounds
    seen: set[int] = set()
    for tile in TMS.tiles(west, south, east, north, zoom):
        seen |= set(decode(ladder.tile(zoom, tile.x, tile.y, {})))
    assert seen == set(range(900))


def test_bounds_of_a_tile_are_morecantile_s() -> None:
    for z, x, y in ((0, 0, 0), (5, 17, 11), (14, 8192, 5000)):
        expected = TMS.xy_bounds(morecantile.Tile(x, y, z))
        assert np.allclose(tile_bounds_3857(z, x, y), [expected.left, expected.bottom, expected.right, expected.top])


def test_shapes_come_back_within_a_unit_with_holes_and_parts() -> None:
    bounds = tile_bounds_3857(10, 511, 511)
    side = bounds[2] - bounds[0]
    centre = shapely.Point(bounds[0] + side / 2, bounds[1] + side / 2)
    ring = centre.buffer(side / 3).difference(centre.buffer(side / 6))
    two = shapely.union_all(
        [shapely.box(bounds[0] - side, bounds[1], bounds[0] + side / 9, bounds[3]), centre.buffer(9)]
    )
    made = encode_tile(encode_shapes(np.array([ring, two], dtype=object), np.array([7, 3]), bounds), {})
    found = decode(made)
    unit = side / EXTENT
    for number, shape in ((7, ring), (3, two)):
        placed = shapely.affinity.translate(shape, -bounds[0], -bounds[1])
        placed = shapely.affinity.scale(placed, 1 / unit, 1 / unit, origin=(0, 0))
        clipped = placed.intersection(shapely.box(-64, -64, EXTENT + 64, EXTENT + 64))
        assert found[number].is_valid
        assert found[number].symmetric_difference(clipped).area < 1.5 * clipped.length
    assert len(found[7].interiors) == 1


def test_codes_become_properties_and_zero_becomes_none() -> None:
    shapes = encode_shapes(np.asarray(squares(3).values, dtype=object), np.arange(9), tile_bounds_3857(8, 128, 127))
    codes = {"v": np.arange(9, dtype=np.uint8), "u": np.full(9, 200, dtype=np.uint8)}
    features = mapbox_vector_tile.decode(encode_tile(shapes, codes))["regions"]["features"]
    expected = {row: {"u": 200} | ({"v": row} if row else {}) for row in range(9)}
    assert {feature["id"]: feature["properties"] for feature in features} == expected


@given(
    corners=st.lists(st.tuples(st.floats(-60, 60), st.floats(-60, 60)), min_size=3, max_size=8, unique=True),
    zoom=st.integers(0, 14),
)
@settings(max_examples=60, deadline=None)
def test_any_polygon_that_meets_a_tile_is_in_it(corners: list[tuple[float, float]], zoom: int) -> None:
    polygon = shapely.MultiPoint(corners).convex_hull
    if polygon.geom_type != "Polygon" or polygon.area < 1e-6:
        return
    projected = gpd.GeoSeries([polygon], crs=4326).to_crs(3857)
    inside = projected.representative_point().to_crs(4326).iloc[0]
    tile = TMS.tile(inside.x, inside.y, zoom)
    ladder = Ladder(np.asarray(projected.values, dtype=object))
    assert set(decode(ladder.tile(zoom, tile.x, tile.y, {}))) == {0}


def test_simplified_neighbours_keep_their_common_border(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from chorograph.serving.tiles import ladder as module

    monkeypatch.setattr(module, "_FEW_POINTS", 10)
    # Blocks of small squares with toothed borders, every corner of which is a corner of the neighbour too.
    cells = squares(48, 0.0001)
    column, row = np.arange(48**2) % 48, np.arange(48**2) // 48
    block = (column + row % 2) // 8 + 10 * (row // 8)
    shapes = np.array([shapely.union_all(cells.values[block == number]) for number in np.unique(block)], dtype=object)
    ladder = Ladder(shapes, tmp_path)
    ladder.warm()
    coarse = ladder._at(12)
    assert shapely.get_num_coordinates(coarse).sum() < shapely.get_num_coordinates(shapes).sum() / 2
    assert np.isclose(shapely.area(coarse).sum(), shapely.union_all(coarse).area, rtol=1e-9)
    again = Ladder(shapes, tmp_path)
    again.warm()
    assert shapely.equals(again._at(12), coarse).all()
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(b"damaged")
    Ladder(shapes, tmp_path).warm()


def test_tiles_of_a_city_hold_its_classes(served: ServedArea) -> None:
    codes = {"v": np.arange(60, dtype=np.uint8)}
    tile = TMS.tile(*np.mean(np.reshape(served.bounds, (2, 2)), axis=0), 7)
    features = mapbox_vector_tile.decode(served.ladder.tile(7, tile.x, tile.y, codes))["regions"]["features"]
    assert features
    assert all(feature["properties"].get("v", 0) == feature["id"] for feature in features)
