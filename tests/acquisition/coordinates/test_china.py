"""China's coordinates: the worked values of Baidu's service, ways back, tiles, and files that are in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely.geometry import box

from chorograph.acquisition.coordinates import baidu
from chorograph.acquisition.own.own_settings import PointSettings, Reading
from chorograph.acquisition.own.points import read_points
from chorograph.acquisition.own.reading.features import read_features
from chorograph.ground.stage import Ledger

LON, LAT = (grid.ravel() for grid in np.meshgrid(np.linspace(73, 135, 60), np.linspace(3, 54, 60)))


@pytest.mark.parametrize(
    ("tile", "lat", "lon"),
    [
        ((12659, 4738), 40.09315850201147, 116.44569035648394),
        ((12303, 2599), 23.38370180200058, 113.17097150371777),
        ((13167, 3525), 30.99272409355233, 121.11860375494845),
    ],
)
def test_corners_of_tiles_are_those_of_baidus_service(tile: tuple[int, int], lat: float, lon: float) -> None:
    np.testing.assert_allclose(baidu.corner_to_bd09(*tile, 16), (lon, lat), rtol=0, atol=1e-9)
    metres = (tile[0] * 1024.0, tile[1] * 1024.0)
    np.testing.assert_allclose(baidu.bd09_to_metres(lon, lat), metres, rtol=0, atol=1e-4)


def test_the_true_place_of_a_corner_lies_a_kilometre_from_its_published_one() -> None:
    lon, lat = baidu.corner_to_wgs84(12659, 4738, 16)
    np.testing.assert_allclose((lon, lat), (116.432902, 40.085935), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("gcj", "bd"),
    [
        ((120.1035219, 30.3410531), (120.10994647255544, 30.347283316051634)),
        ((116.404, 39.915), (116.41036949371028, 39.9213369935102)),
    ],
)
def test_gcj02_to_bd09(gcj: tuple[float, float], bd: tuple[float, float]) -> None:
    np.testing.assert_allclose(baidu.gcj02_to_bd09(*gcj), bd, rtol=0, atol=1e-12)
    np.testing.assert_allclose(baidu.bd09_to_gcj02(*bd), gcj, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (baidu.wgs84_to_gcj02, baidu.gcj02_to_wgs84),
        (baidu.gcj02_to_bd09, baidu.bd09_to_gcj02),
        (baidu.wgs84_to_bd09, baidu.bd09_to_wgs84),
        (baidu.bd09_to_metres, baidu.metres_to_bd09),
        (baidu.wgs84_to_metres, baidu.metres_to_wgs84),
    ],
)
def test_every_way_leads_back(there: Callable[..., Any], back: Callable[..., Any]) -> None:
    np.testing.assert_allclose(back(*there(LON, LAT)), (LON, LAT), rtol=0, atol=1e-9)


def test_metres_lead_back_to_a_micrometre() -> None:
    x, y = baidu.wgs84_to_metres(LON, LAT)
    np.testing.assert_allclose(baidu.wgs84_to_metres(*baidu.metres_to_wgs84(x, y)), (x, y), rtol=0, atol=1e-6)


def test_tiles_by_place() -> None:
    x, y = np.array([12659, 12303, 13167]), np.array([4738, 2599, 3525])
    lon, lat = baidu.metres_to_wgs84((x + 0.5) * 1024, (y + 0.5) * 1024)
    np.testing.assert_array_equal(baidu.tile_at(lon, lat, 16), (x, y))
    north, south = baidu.corner_to_wgs84(x, y + 1, 16)[1], baidu.corner_to_wgs84(x, y, 16)[1]
    # The ground under a tile of 1,024 Baidu metres shrinks with the cosine of its latitude.
    np.testing.assert_allclose((north - south) * 111_132, 1024 * np.cos(np.radians(lat)), rtol=0.01)


def test_names_of_systems() -> None:
    names = ("GCJ-02", "gcj_02", "BD-09", "bd09ll", "BD09MC", "EPSG:4326")
    assert [baidu.china_system(name) for name in names] == ["gcj02", "gcj02", "bd09", "bd09", "bd09mc", None]


@pytest.mark.parametrize(
    ("crs", "there"),
    [("GCJ-02", baidu.wgs84_to_gcj02), ("bd09", baidu.wgs84_to_bd09), ("BD-09MC", baidu.wgs84_to_metres)],
)
def test_files_of_polygons_in_chinas_systems_are_read(tmp_path: Path, crs: str, there: Callable[..., Any]) -> None:
    true = box(116.30, 39.90, 116.31, 39.91)
    moved = shapely.transform(true, lambda xy: np.stack(there(xy[:, 0], xy[:, 1]), axis=1))
    gpd.GeoDataFrame({"region_id": ["a"]}, geometry=[moved]).to_file(tmp_path / "aoi.gpkg")
    found = read_features(tmp_path / "aoi.gpkg", crs=crs)
    assert shapely.hausdorff_distance(found.geometry.iloc[0], true) < 1e-9


def test_points_of_chinese_maps_lie_in_their_region(tmp_path: Path) -> None:
    squares = [box(116.30, 39.90, 116.305, 39.91), box(116.305, 39.90, 116.32, 39.91)]
    regions = gpd.GeoDataFrame({"region_id": ["west", "east"]}, geometry=squares, crs=4326)
    lon, lat = baidu.wgs84_to_gcj02([116.3045, 116.3049], [39.905, 39.905])
    pd.DataFrame({"lon": lon, "lat": lat, "category": "cafe"}).to_csv(tmp_path / "poi.csv", index=False)

    def counts(crs: str) -> dict[str, int]:
        asked = PointSettings(points_crs=crs)
        rows = read_points(tmp_path / "poi.csv", asked, Reading(), "region_id", regions, Ledger())
        return dict(zip(rows["region_id"], rows["count"], strict=True))

    assert counts("gcj02") == {"west": 2}
    assert counts("wgs84") == {"east": 2}  # half a kilometre off
