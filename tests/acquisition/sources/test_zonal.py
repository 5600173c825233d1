"""Zonal sums, means, densities and shares: conservation, odd polygons, odd grids, and what is recorded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from raster_made import write_raster
from shapely.geometry import MultiPolygon, Polygon, box

from chorograph.acquisition.own.own_settings import RasterSettings
from chorograph.acquisition.sources.rasters import opened
from chorograph.acquisition.sources.zonal import Zonal, read_raster, zonal
from chorograph.area.descriptions import read_descriptions
from chorograph.area.folder import Area
from chorograph.ground.errors import InputError, SettingError
from chorograph.ground.settings import configure
from chorograph.ground.stage import Ledger, silent
from chorograph.verbs.table import get_verb
from range_server import range_server

pytest.importorskip("exactextract")


def _zonal(path: Path, polygons: list[Any], **asked: Any) -> Zonal:
    with opened(path) as raster:
        return zonal(raster, np.array(polygons, dtype=object), **asked)


def _frame(polygons: list[Any]) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"region_id": [f"r{k}" for k in range(len(polygons))]}, geometry=polygons, crs=4326)


def _voronoi(bounds: tuple[float, float, float, float], number: int, seed: int = 0) -> list[Any]:
    west, south, east, north = bounds
    points = np.random.default_rng(seed).uniform((west, south), (east, north), (number, 2))
    frame = box(*bounds)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=frame))
    return list(shapely.intersection(cells, frame))


@pytest.mark.parametrize("crs", ["EPSG:4326", "EPSG:32610", "EPSG:3857"])
@pytest.mark.parametrize("south_up", [False, True])
def test_sums_over_a_partition_are_the_rasters_total(tmp_path: Path, crs: str, south_up: bool) -> None:
    values = np.random.default_rng(1).gamma(0.5, 100, (80, 90)).astype("f4")
    west, north, cell = {
        "EPSG:4326": (-122.5, 47.8, 0.01),
        "EPSG:32610": (540000, 5290000, 1000),
        "EPSG:3857": (-13630000, 6060000, 900),
    }[crs]
    path = write_raster(tmp_path / "people.tif", values, west, north, cell, crs, south_up=south_up)
    partition = _voronoi((-124.5, 46.0, -120.5, 49.0), 200)
    found = _zonal(path, partition)
    assert found.amount.sum() == pytest.approx(values.sum(dtype="f8"), rel=1e-6)
    assert (found.covered == 0).any()


def test_a_raster_of_south_up_rows_is_the_same_raster(tmp_path: Path) -> None:
    values = np.random.default_rng(2).normal(size=(50, 40))
    polygons = _voronoi((10.0, 50.0, 10.4, 50.5), 30)
    north = _zonal(write_raster(tmp_path / "n.tif", values, 10, 50.5, 0.01), polygons)
    south = _zonal(write_raster(tmp_path / "s.tif", values, 10, 50.5, 0.01, south_up=True), polygons)
    np.testing.assert_allclose(north.amount, south.amount, rtol=1e-12)


def test_holes_parts_slivers_and_polygons_outside(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "one.tif", np.ones((10, 10)), 0, 10, 1)
    hole = Polygon([(0, 0), (6, 0), (6, 6), (0, 6)], [[(2, 2), (4, 2), (4, 4), (2, 4)]])
    parts = MultiPolygon([box(0, 8, 1, 9), box(5.5, 8, 7, 9)])
    sliver, outside, edge = box(3.4, 0, 3.41, 10), box(40, 40, 41, 41), box(9, 9, 12, 12)
    found = _zonal(path, [hole, parts, sliver, outside, edge, None])
    np.testing.assert_allclose(found.amount[:3], [32.0, 2.5, 0.1], rtol=1e-6)
    np.testing.assert_allclose(found.covered, [1, 1, 1, 0, 1 / 9, 0], rtol=1e-6)
    assert found.amount[4] == pytest.approx(1.0)


@pytest.mark.parametrize("west", [-180.0, 0.0])
def test_a_polygon_across_the_date_line_is_whole_however_it_is_drawn(tmp_path: Path, west: float) -> None:
    values = np.arange(360 * 180, dtype="f8").reshape(180, 360)
    path = write_raster(tmp_path / "globe.tif", values, west, 90, 1)
    split = MultiPolygon([box(178.5, -18, 180, -16), box(-180, -18, -178.5, -16)])
    found = _zonal(path, [split, box(178.5, -18, 181.5, -16), box(-181.5, -18, -178.5, -16)])
    lon = (np.floor(np.array([178.5, 179.5, 180.5, 181.5]) - west) % 360).astype(int)
    rows = values[106:108]
    expected = (rows[:, lon] * [0.5, 1, 1, 0.5]).sum()
    np.testing.assert_allclose(found.amount, expected)
    np.testing.assert_allclose(found.covered, 1.0)


def test_a_polygon_across_the_date_line_on_a_projected_raster(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "fiji.tif", np.ones((60, 60)), 810_000, 8_130_000, 1000, "EPSG:32760")
    drawn = [
        box(179.95, -17.3, 180.1, -17.2),
        MultiPolygon([box(179.95, -17.3, 180, -17.2), box(-180, -17.3, -179.9, -17.2)]),
    ]
    found = _zonal(path, [*drawn, box(-0.05, -17.3, 0.1, -17.2), box(-122, 40, -121, 41)])
    assert found.amount[0] == pytest.approx(found.amount[1], rel=1e-9)
    np.testing.assert_allclose(found.covered, [1, 1, 0, 0], atol=1e-6)


def test_a_polygon_that_only_touches_the_edge_has_nothing_of_the_raster(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "v.tif", np.ones((4, 4)), 0, 4, 1)
    found = _zonal(path, [box(4, 0, 6, 4)])
    assert (found.amount[0], found.covered[0]) == (0, 0)


def test_no_data_is_not_zero(tmp_path: Path) -> None:
    values = np.array([[0, 4, -1], [np.nan, 8, -99]], dtype="f4")
    path = write_raster(tmp_path / "v.tif", values, 0, 2, 1, nodata=-1)
    found = _zonal(path, [box(0, 0, 1, 2), box(0, 0, 3, 2), box(2, 0, 3, 2)], nodata=-99)
    np.testing.assert_allclose(found.amount, [0, 12, 0])
    np.testing.assert_allclose(found.covered, [0.5, 0.5, 0])


def test_scale_and_offset_of_the_file_are_applied(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "v.tif", np.full((4, 4), 50, "i2"), 0, 4, 1, nodata=-9999, scales=(0.1,))
    assert _zonal(path, [box(0, 0, 2, 2)]).amount[0] == pytest.approx(20.0)


def test_means_weigh_cells_of_degrees_by_their_area(tmp_path: Path) -> None:
    values = np.repeat([[1.0], [0.0]], 4, axis=1)
    path = write_raster(tmp_path / "v.tif", values, 0, 80, 40)
    found = _zonal(path, [box(0, 0, 160, 80)])
    # Areas of the bands between the parallels of 0, 40 and 80 degrees.
    low, high = np.sin(np.radians(40)), np.sin(np.radians(80)) - np.sin(np.radians(40))
    assert found.weighted[0] / found.weight[0] == pytest.approx(high / (low + high), rel=1e-6)


@pytest.fixture
def area(tmp_path: Path) -> Path:
    """Return an area of four squares of a tenth of a degree and a fifth far away."""
    squares = [box(10 + k / 10, 50, 10.1 + k / 10, 50.1) for k in range(4)] + [box(40, 10, 40.1, 10.1)]
    _frame(squares).to_file(tmp_path / "regions.geojson")
    verb = get_verb("area new")
    verb(configure(verb.settings, {"regions": tmp_path / "regions.geojson", "out": tmp_path / "area"}), silent)
    return tmp_path / "area"


def _add(area: Path, path: Path | str, **asked: Any) -> dict[str, Any]:
    verb = get_verb("area add raster")
    return verb(configure(verb.settings, {"area": area, "from_": path, **asked}), silent).manifest


def test_indicators_come_with_unit_year_and_how(area: Path, tmp_path: Path) -> None:
    people = write_raster(tmp_path / "people.tif", np.full((10, 40), 5.0), 10, 50.1, 0.01)
    manifest = _add(area, people, statistic="sum", name="population", unit="people", year=2020, source="WorldPop")
    rows = Area.open(area).indicators
    np.testing.assert_allclose(rows["value"], [500.0] * 4)
    assert set(rows["unit"]) == {"people"} and set(rows["year"]) == {2020}
    assert rows["source"].iloc[0].startswith("WorldPop (sum of people.tif, band 1, not resampled")
    assert manifest["dropped"] == {"region outside of the raster, or without data": 1}
    assert manifest["facts"]["raster"]["crs"] == "WGS 84"
    assert read_descriptions(Area.open(area))["population"].kind == "count"
    _add(area, people, statistic="density", name="density", unit="people", year=2020)
    added = [json.loads(path.read_text()) for path in (area / "added").glob("raster-*")]
    assert len(added) == 2
    rows = Area.open(area).indicators.query("indicator == 'density'")
    square = gpd.GeoSeries([box(10, 50, 10.1, 50.1)], crs=4326).to_crs("EPSG:3035").area.iloc[0] / 1e6
    np.testing.assert_allclose(rows["value"], 500 / square, rtol=1e-3)
    assert set(rows["unit"]) == {"people/km²"}


def test_class_shares_and_means(area: Path, tmp_path: Path) -> None:
    classes = np.tile(np.array([10, 20, 30, 50, 50, 50, 0, 0, 0, 0], "u1"), (10, 4))
    path = write_raster(tmp_path / "cover.tif", classes, 10, 50.1, 0.01, nodata=0)
    _add(area, path, statistic="share", classes=["green=10+20", "built_up=50"], year=2021)
    rows = Area.open(area).indicators.pivot_table(index="region_id", columns="indicator", values="value")
    np.testing.assert_allclose(rows["green"], 2 / 6, rtol=1e-6)
    np.testing.assert_allclose(rows["built_up"], 0.5, rtol=1e-6)
    _add(area, path, statistic="mean", name="class", unit="none", resampling="nearest", resolution_m=300.0)
    rows = Area.open(area).indicators.query("indicator == 'class'")
    np.testing.assert_allclose(rows["value"], 35.0, rtol=0.05)
    assert rows["source"].str.contains("resampled by nearest to 300 m").all()


def test_tiles_side_by_side_are_one_raster_and_overlaps_are_refused(area: Path, tmp_path: Path) -> None:
    folder = tmp_path / "tiles"
    folder.mkdir()
    values = np.random.default_rng(0).random((10, 40))
    whole = write_raster(tmp_path / "whole.tif", values, 10, 50.1, 0.01)
    for k in range(2):
        write_raster(folder / f"{k}.tif", values[:, 17 * k : 17 + 23 * k], 10 + 0.17 * k, 50.1, 0.01)
    asked = RasterSettings(statistic="sum", name="v", unit="x", year=1)
    regions = Area.open(area).regions
    one, two = (read_raster(path, asked, regions, "s", Ledger()) for path in (whole, folder))
    np.testing.assert_allclose(one["value"], two["value"], rtol=1e-12)
    write_raster(folder / "2.tif", values, 10.05, 50.1, 0.01)
    with pytest.raises(InputError, match="lie over one another"):
        read_raster(folder, asked, regions, "s", Ledger())


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"statistic": "sum", "name": "v"}, "--unit"),
        ({"statistic": "share"}, "--classes"),
        ({"statistic": "sum", "name": "v", "unit": "x", "resampling": "bilinear", "resolution_m": 5.0}, "none"),
        ({"statistic": "mean", "name": "v", "unit": "x", "resampling": "bilinear"}, "--resolution-m"),
        ({"statistic": "share", "classes": ["a=x"]}, "a class is"),
        ({"statistic": "mean", "name": "v", "unit": "x", "band": 2}, "no band 2"),
    ],
)
def test_settings_that_do_not_fit_are_refused(area: Path, tmp_path: Path, asked: dict[str, Any], message: str) -> None:
    path = write_raster(tmp_path / "v.tif", np.ones((10, 40)), 10, 50.1, 0.01)
    with pytest.raises(InputError, match=message):
        _add(area, path, **asked)


def test_cells_that_may_be_no_data_are_told(area: Path, tmp_path: Path) -> None:
    values = np.full((10, 40), 5.0)
    values[0] = -9999
    path = write_raster(tmp_path / "v.tif", values, 10, 50.1, 0.01)
    said = _add(area, path, statistic="mean", name="v", unit="x")["warnings"]
    assert any("v.tif holds -9999: where that means no data, say --nodata -9999" in warning for warning in said)
    _add(area, path, statistic="mean", name="w", unit="x", nodata=-9999.0)
    np.testing.assert_allclose(Area.open(area).indicators.query("indicator == 'w'")["value"], 5.0)
    values[0] = -3.4e38
    path = write_raster(tmp_path / "f.tif", values, 10, 50.1, 0.01)
    with pytest.raises(InputError, match=r"f\.tif holds -3\.4e\+38, which is no measurement: say --nodata -3\.4e\+38"):
        _add(area, path, statistic="mean", name="f", unit="x")


def test_a_raster_of_another_place_or_without_a_system_is_no_zero(area: Path, tmp_path: Path) -> None:
    far = write_raster(tmp_path / "far.tif", np.ones((4, 4)), -60, 0, 1)
    with pytest.raises(InputError, match="none of 5 regions touches"):
        _add(area, far, statistic="sum", name="v", unit="x")
    bare = write_raster(tmp_path / "bare.tif", np.ones((10, 40)), 10, 50.1, 0.01, crs=None)
    with pytest.raises(InputError, match="--raster-crs"):
        _add(area, bare, statistic="sum", name="v", unit="x")
    _add(area, bare, statistic="sum", name="v", unit="x", raster_crs="EPSG:4326")
    np.testing.assert_allclose(Area.open(area).indicators["value"], 100.0)


def test_a_raster_on_the_web_is_read_where_regions_touch_it(
    area: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).gamma(1.0, 5.0, (2000, 2000)).astype("f4")
    tiled = {"tiled": True, "blockxsize": 128, "blockysize": 128}
    people = write_raster(tmp_path / "web" / "people.tif", values, 5, 55, 0.005, **tiled)
    asked: dict[str, Any] = {"statistic": "sum", "name": "population", "unit": "people", "year": 2020}
    monkeypatch.setenv("RASTER_KEY", "s3cr3t")
    with range_server(people.parent) as server:
        address = f"{server.base}/people.tif?key=${{RASTER_KEY}}"
        with pytest.raises(InputError, match="private address"):
            _add(area, address, **asked)
        manifest = _add(area, address, **asked, allow=["127.0.0.3/32"])
        server.sent = 0
        _add(area, f"{server.base}/people.tif", **asked, allow=["127.0.0.3/32"])
        assert 0 < server.sent < people.stat().st_size / 4
        with pytest.raises(InputError, match=r"other\.tif\?key=\$\{RASTER_KEY\} cannot be read") as missing:
            _add(area, address.replace("people", "other"), **asked, allow=["127.0.0.3/32"])
        with pytest.raises(SettingError, match=r"key in plain"):
            _add(area, f"{server.base}/people.tif?key=s3cr3t", **asked, allow=["127.0.0.3/32"])
    assert "s3cr3t" not in str(manifest) + str(missing.value)
    remote = Area.open(area).indicators
    assert remote["source"].iloc[0].startswith("own files (sum of people.tif, band 1")
    _add(area, people, **asked, replace=True)
    np.testing.assert_array_equal(remote["value"], Area.open(area).indicators["value"])


def test_a_host_that_forbids_it_is_not_asked(area: Path) -> None:
    with pytest.raises(SettingError, match=r"forbid.*--i-have-permission"):
        _add(area, "https://tiles.mapbox.com/people.tif", statistic="sum", name="population", unit="people")
