from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from pyproj import Geod
from shapely.geometry import MultiPolygon, box

from chorograph.area.middle import equal_area, middle_of, wrapped
from chorograph.prediction.modalities import shape_features
from chorograph.reporting.maps import shapes


def _regions(*polygons: object) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"region_id": [str(k) for k in range(len(polygons))]}, geometry=list(polygons), crs=4326)


@pytest.mark.parametrize(
    ("polygons", "lon"),
    [
        ([box(10, 0, 12, 2), box(14, 0, 16, 2)], 13.0),
        ([box(-70, 0, -60, 2), box(20, 0, 40, 2)], -15.0),  # as plain bounds have it
        ([box(179, 0, 180, 2), box(-180, 0, -178, 2)], -179.5),
        ([MultiPolygon([box(179, 0, 180, 2), box(-180, 0, -177, 2)])], -179.0),
        ([box(179, 0, 181, 2), box(-179.5, 0, -178, 2)], -179.5),
        ([box(170, 0, 195, 2), box(-179.5, 0, -178, 2)], -177.5),
        ([box(-180, -90, 180, 90)], 0.0),
        ([None, box(0, 0, 1, 1)], 0.5),
    ],
)
def test_the_middle_lies_on_the_side_of_the_regions(polygons: list[object], lon: float) -> None:
    assert middle_of(_regions(*polygons))[0] == pytest.approx(lon)


def test_no_geometry_has_a_middle_too() -> None:
    assert middle_of(_regions(None)) == (0.0, 0.0)
    assert wrapped([180.0, 190.0, -180.0]).tolist() == [-180.0, -170.0, -180.0]


def test_shapes_and_maps_do_not_depend_on_the_date_line() -> None:
    left, right = box(179.9, -17, 179.96, -16.9), box(-179.96, -17, -179.9, -16.9)
    here = _regions(left, right)
    # The same two outlines in the middle of the map; pyproj's geodesic lengths are the reference.
    there = _regions(box(9.9, -17, 9.96, -16.9), box(10.04, -17, 10.1, -16.9))
    assert shape_features(here) == pytest.approx(shape_features(there), abs=1e-6)
    _, perimeter = Geod(ellps="WGS84").geometry_area_perimeter(left)
    assert np.exp(shape_features(here)[0, 1]) == pytest.approx(perimeter / 1000, rel=1e-3)
    full = shapes(here).full
    assert full[2] - full[0] == pytest.approx(Geod(ellps="WGS84").inv(179.9, -16.95, -179.9, -16.95)[2], rel=1e-2)
    assert "+lon_0=-180.0000" in equal_area(here)
