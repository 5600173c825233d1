from __future__ import annotations

from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from chorograph.reporting.maps import context_of, shapes

Make = Callable[..., Any]


def test_outlines_keep_area_holes_and_multiple_parts(make_grid: Make) -> None:
    regions = make_grid(3)
    parts = shapely.MultiPolygon([shapely.box(1, 0, 1.01, 0.01), shapely.box(1.02, 0, 1.03, 0.01)])
    regions.loc[8, "geometry"] = parts
    drawn = shapes(regions)
    assert [len(region) for region in drawn.xs] == [1] * 8 + [2]
    assert len(drawn.xs[0][0]) == 2, "the hole is a second ring"
    # Against pyproj's own ellipsoid: the projection keeps areas.
    from pyproj import Geod

    truth = abs(Geod(ellps="WGS84").geometry_area_perimeter(regions.geometry[4])[0])
    ours = shapely.area(shapely.polygons(np.column_stack([drawn.xs[4][0][0], drawn.ys[4][0][0]])))
    assert ours == pytest.approx(truth, rel=0.005)


def test_neighbours_stay_neighbours_when_simplified() -> None:
    # A wavy border of 2,000 corners between two regions.
    x = np.linspace(0, 0.1, 2000)
    wave = np.column_stack([x, 0.05 + 0.0001 * np.sin(800 * x)])
    below = shapely.polygons(np.vstack([wave, [[0.1, 0.0], [0.0, 0.0]]]))
    above = shapely.polygons(np.vstack([wave, [[0.1, 0.1], [0.0, 0.1]]]))
    drawn = shapes(gpd.GeoDataFrame({"region_id": ["a", "b"]}, geometry=[below, above], crs="EPSG:4326"))
    corners = [set(zip(xs[0][0], ys[0][0], strict=True)) for xs, ys in zip(drawn.xs, drawn.ys, strict=True)]
    assert len(corners[0]) < 1500
    assert len(corners[0] & corners[1]) >= len(corners[0]) - 2, "all but the outer corners are shared"


def test_the_first_view_leaves_a_few_vast_far_regions_aside(make_grid: Make) -> None:
    regions = make_grid(12)
    regions.loc[143, "geometry"] = shapely.box(1, 0, 3, 2)
    drawn = shapes(regions)
    width = [box[2] - box[0] for box in (drawn.dense, drawn.full)]
    assert width[0] < 0.1 * width[1]
    assert shapes(make_grid(12)).dense == shapes(make_grid(12)).full


def test_a_region_without_polygon_is_no_shape(make_grid: Make) -> None:
    regions = make_grid(2)
    regions.loc[3, "geometry"] = None
    drawn = shapes(regions)
    assert drawn.drawn == 3
    assert drawn.xs[3] == []


def test_roads_water_and_names_lie_in_the_plane_of_the_outlines(make_grid: Make) -> None:
    regions = make_grid()
    west, south, east, north = regions.total_bounds
    middle = (south + north) / 2
    context = gpd.GeoDataFrame(
        {
            "kind": ["road", "road", "water", "place", "place", "road"],
            "rank": [2, 1, 1, 2, 1, 5],
            "name": ["lane", "motorway", None, "Village", "City", "elsewhere"],
        },
        geometry=[
            shapely.LineString([(west, south), (east, north)]),
            shapely.LineString([(west - 1, middle), (east + 1, middle)]),
            shapely.box(west, south, (west + east) / 2, middle),
            shapely.Point(west, middle),
            shapely.Point(east, middle),
            shapely.LineString([(50, 50), (51, 51)]),
        ],
        crs=4326,
    )
    found = context_of(context, regions)
    assert len(found.roads) == 2
    assert found.water.startswith("M")
    assert found.water.endswith("z")
    assert [name for _, _, name in found.names] == ["City", "Village"]
    (left, top), (right, bottom) = (
        (shapes(regions).full[0], -shapes(regions).full[3]),
        (shapes(regions).full[2], -shapes(regions).full[1]),
    )
    start = [int(word) for word in found.roads[0].removeprefix("M").split("l")[0].split(",")]
    assert start == pytest.approx([left, (top + bottom) / 2], abs=20)
    assert found.names[0][0] == pytest.approx(right, abs=20)
    assert context_of(context.iloc[:0], regions) == context_of(context, regions.assign(geometry=None))
