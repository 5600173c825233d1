from __future__ import annotations

from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from chorograph.reporting.maps import shapes

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
