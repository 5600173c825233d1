"""Regions of any file: kinds, layers, emptiness, reference systems, the range of degrees, the date line."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from shapely import wkt
from shapely.geometry import GeometryCollection, LineString, MultiPolygon, Point, Polygon, box

from chorograph.acquisition.own.own_settings import Reading, RegionSettings
from chorograph.acquisition.own.regions import read_regions, region_at
from chorograph.ground.errors import ChorographError
from chorograph.ground.stage import Ledger


def _read(path: Path, ledger: Ledger | None = None, **asked: Any) -> gpd.GeoDataFrame:
    return read_regions(path, RegionSettings(**{"region_id": "id", **asked}), Reading(), ledger or Ledger())


def _frame(*shapes: object, crs: Any = 4326, **columns: list[Any]) -> gpd.GeoDataFrame:
    ids = [f"r{k}" for k in range(len(shapes))]
    return gpd.GeoDataFrame({"id": ids, **columns}, geometry=list(shapes), crs=crs)


@pytest.mark.parametrize("name", ["r.geojson", "r.gpkg", "r.shp", "r.fgb", "r.parquet", "r.zip", "nested.zip", "r.kml"])
@pytest.mark.parametrize("crs", [4326, 2285])
def test_any_file_in_any_reference_system(tmp_path: Path, name: str, crs: int) -> None:
    shapes = [box(-122.4, 47.5, -122.3, 47.6), box(-122.3, 47.5, -122.2, 47.6)]
    frame = _frame(*shapes).to_crs(crs)
    path = tmp_path / name
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    elif name.endswith(".zip"):
        (tmp_path / "shp").mkdir()
        frame.to_file(tmp_path / "shp" / "r.shp")
        with zipfile.ZipFile(path, "w") as archive:
            for part in (tmp_path / "shp").iterdir():
                archive.write(part, f"in/{part.name}" if name == "nested.zip" else part.name)
    elif name.endswith((".kml", ".geojson")) and crs != 4326:
        pytest.skip("these formats are degrees by definition")
    else:
        frame.to_file(path)
    regions = _read(path)
    regions = regions.sort_values("region_id")  # FlatGeobuf keeps an order of its own
    assert regions["region_id"].tolist() == ["r0", "r1"]
    assert regions.crs == 4326
    assert regions.geometry.iloc[0].symmetric_difference(shapes[0]).area < 1e-6


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (_frame(box(500000, 3.7e6, 510000, 3.71e6)), r"which are no degrees; say their reference system.*--crs"),
        (_frame(box(47.5, -122.4, 47.6, -122.3)), "longitude and latitude seem to have changed places"),
        (_frame(box(0, 0, 1, 1), Point(5, 5)), r"feature 2 \('r1'\) is a Point, not a polygon \(1 of 2\)"),
        (_frame(LineString([(0, 0), (1, 1)])), "is a LineString, not a polygon"),
        (_frame(Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])), r"'r0' \(feature 1\) is not valid.*--make-valid"),
        (_frame(None, None), "no feature has a geometry"),
        (_frame(box(0, 0, 1, 1)).iloc[:0], "holds no feature"),
        (_frame(box(-87, 41, -86, 42), crs=32616), r"'WGS 84 / UTM zone 16N', yet reaches from \(-87, 41\).*--crs"),
        (_frame(box(1e3, 1e3, 2e3, 2e3), crs='LOCAL_CS["site",UNIT["metre",1]]'), "nobody knows where.*--crs"),
        (_frame(box(0, 0, 1, 1), box(1, 0, 2, 1)).assign(id=["a", "a"]), "id 'a' appears twice .again at feature 2"),
        (_frame(box(0, 0, 1, 1), box(1, 0, 2, 1)).assign(id=["a", None]), "feature 2 has no id"),
    ],
)
def test_what_is_no_region_is_named(tmp_path: Path, frame: gpd.GeoDataFrame, message: str) -> None:
    frame.to_file(tmp_path / "r.gpkg")
    with pytest.raises(ChorographError, match=message) as error:
        _read(tmp_path / "r.gpkg")
    assert "r.gpkg" in str(error.value)


def test_metres_called_degrees_are_mended_by_saying_so(tmp_path: Path) -> None:
    true = _frame(box(-122.4, 47.5, -122.3, 47.6)).to_crs(2285)
    true.set_crs(4326, allow_override=True).to_file(tmp_path / "r.gpkg")
    regions = _read(tmp_path / "r.gpkg", crs="EPSG:2285")
    assert regions.total_bounds == pytest.approx([-122.4, 47.5, -122.3, 47.6], abs=1e-3)
    with pytest.raises(ChorographError, match="no reference system 'EPSG:1'"):
        _read(tmp_path / "r.gpkg", crs="EPSG:1")


def test_a_file_without_reference_system(tmp_path: Path) -> None:
    _frame(box(0, 0, 1, 1), crs=None).to_file(tmp_path / "r.shp")
    (tmp_path / "r.prj").unlink(missing_ok=True)
    with pytest.raises(ChorographError, match=r"does not say its coordinate reference system.*--crs"):
        _read(tmp_path / "r.shp")
    assert len(_read(tmp_path / "r.shp", crs="EPSG:4326")) == 1


def test_layers(tmp_path: Path) -> None:
    path = tmp_path / "r.gpkg"
    _frame(LineString([(0, 0), (1, 1)])).to_file(path, layer="roads")
    _frame(box(0, 0, 1, 1)).to_file(path, layer="tracts")
    ledger = Ledger()
    assert len(_read(path, ledger)) == 1
    assert "layer tracts was taken, of roads (LineString), tracts (Polygon)" in ledger.warnings[0]
    _frame(box(0, 0, 1, 1), box(1, 0, 2, 1)).to_file(path, layer="counties")
    with pytest.raises(ChorographError, match=r"holds 3 layers: .*choose one with --layer"):
        _read(path)
    assert len(_read(path, layer="counties")) == 2
    with pytest.raises(ChorographError, match="did you mean 'tracts'"):
        _read(path, layer="tract")


def test_empty_is_missing(tmp_path: Path) -> None:
    frame = _frame(box(0, 0, 1, 1), wkt.loads("POLYGON EMPTY"), None, MultiPolygon())
    frame.to_parquet(tmp_path / "r.parquet")
    ledger = Ledger()
    regions = _read(tmp_path / "r.parquet", ledger)
    assert regions.geometry.isna().tolist() == [False, True, True, True]
    assert ledger.counts["regions without geometry"] == 3
    assert "3 regions have no geometry (first 'r1')" in ledger.warnings[0]


def test_repairs_are_asked_for_and_counted(tmp_path: Path) -> None:
    crossed = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    spike = Polygon([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0), (0, -1), (0, 0)])
    mixed = GeometryCollection([box(5, 5, 6, 6), Point(9, 9)])
    _frame(crossed, spike, mixed).to_parquet(tmp_path / "r.parquet")
    ledger = Ledger()
    regions = _read(tmp_path / "r.parquet", ledger, make_valid=True)
    assert [shape.area for shape in regions.geometry] == pytest.approx([0.5, 1.0, 1.0])
    assert regions.is_valid.all()
    assert set(regions.geom_type) <= {"Polygon", "MultiPolygon"}
    assert ledger.counts["polygons repaired"] == 2


@pytest.mark.parametrize("region_id", ["name", "group", "geometry_id", "region_id", "view"])
def test_the_id_column_may_have_any_name(tmp_path: Path, region_id: str) -> None:
    frame = _frame(box(0, 0, 1, 1)).rename(columns={"id": region_id})
    frame.to_file(tmp_path / "r.geojson")
    assert _read(tmp_path / "r.geojson", region_id=region_id)["region_id"].tolist() == ["r0"]


def test_names_and_groups(tmp_path: Path) -> None:
    _frame(box(0, 0, 1, 1), NAMELSAD=["Tract 1"], county=["King"]).to_file(tmp_path / "r.geojson")
    regions = _read(tmp_path / "r.geojson", name_column="NAMELSAD", group_column="county")
    assert regions[["name", "group"]].iloc[0].tolist() == ["Tract 1", "King"]
    assert _read(tmp_path / "r.geojson", region_id="ID")["region_id"].tolist() == ["r0"]
    with pytest.raises(ChorographError, match="named 'countee'; did you mean 'county'"):
        _read(tmp_path / "r.geojson", group_column="countee")


def test_tables_have_no_regions_unless_they_hold_wkt(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("id,households\n1,9\n")
    with pytest.raises(ChorographError, match=r"r\.csv has no geometry: its columns are id, households"):
        _read(tmp_path / "r.csv")
    (tmp_path / "r.csv").write_text('id,wkt\n007,"POLYGON((0 0,1 0,1 1,0 0))"\n')
    assert _read(tmp_path / "r.csv")["region_id"].tolist() == ["007"]
    (tmp_path / "r.csv").write_text("id,wkt\n007,POLYGON((\n")
    with pytest.raises(ChorographError, match="wkt of feature 1 is no geometry"):
        _read(tmp_path / "r.csv")
    (tmp_path / "r.geojson").write_text("{}")
    with pytest.raises(ChorographError, match=r"r\.geojson"):
        _read(tmp_path / "r.geojson")


def test_a_virtual_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.vrt").write_text("<OGRVRTDataSource><OGRVRTLayer name='x'/></OGRVRTDataSource>")
    with pytest.raises(ChorographError, match=r"points at other files|has no geometry|cannot be read"):
        _read(tmp_path / "r.vrt")
    (tmp_path / "r.gpkg").write_text("<OGRVRTDataSource><OGRVRTLayer name='x'/></OGRVRTDataSource>")
    with pytest.raises(ChorographError, match="points at other files"):
        _read(tmp_path / "r.gpkg")


def test_what_stands_in_collections_is_taken_out(tmp_path: Path) -> None:
    _frame(GeometryCollection([box(0, 0, 1, 1), Point(0.5, 0.5)])).to_file(tmp_path / "r.geojson")
    assert _read(tmp_path / "r.geojson").geometry.iloc[0].equals(box(0, 0, 1, 1))


def test_two_levels_in_one_file_are_told(tmp_path: Path) -> None:
    ledger = Ledger()
    _frame(box(0, 0, 2, 1), box(0, 0, 1, 1), box(1, 0, 2, 1), box(2, 0, 3, 1)).to_file(tmp_path / "r.gpkg")
    assert len(_read(tmp_path / "r.gpkg", ledger)) == 4
    assert ledger.counts["regions inside of others"] >= 2
    assert any("lie inside of others (first 'r1' in 'r0')" in warning for warning in ledger.warnings)


def test_degrees_where_no_city_is_are_told(tmp_path: Path) -> None:
    ledger = Ledger()
    _frame(box(41.8, -87.7, 41.9, -87.6)).to_file(tmp_path / "r.gpkg")
    _read(tmp_path / "r.gpkg", ledger)
    assert "are longitude and latitude swapped?" in ledger.warnings[0]


def test_polygons_around_the_globe_cross_the_date_line(tmp_path: Path) -> None:
    ledger = Ledger()
    around = Polygon([(179.9, -17), (-179.9, -17), (-179.9, -16), (179.9, -16)])
    split = MultiPolygon([box(179, -17, 179.5, -16), box(-180, -17, -179.95, -16)])
    _frame(around, split).to_file(tmp_path / "r.geojson")
    regions = _read(tmp_path / "r.geojson", ledger)
    assert regions.geometry.iloc[0].bounds == pytest.approx((179.9, -17, 180.1, -16))
    assert regions.geometry.iloc[1].equals(split)
    assert [warning for warning in ledger.warnings if "1 polygons cross the date line" in warning]
    assert region_at([0.0, -179.92], [-16.5, -16.5], regions)[0].tolist() == [None, "r0"]


def test_parts_of_a_shapefile_are_named(tmp_path: Path) -> None:
    _frame(box(0, 0, 1, 1)).to_file(tmp_path / "r.shp")
    (tmp_path / "r.dbf").unlink()
    with pytest.raises(ChorographError, match=r"geometries without attributes, so no ids .*\.dbf"):
        _read(tmp_path / "r.shp")
    (tmp_path / "r.shx").unlink()
    with pytest.raises(ChorographError, match=r"r\.shp stands alone: .*copy all of them"):
        _read(tmp_path / "r.shp")


@pytest.mark.parametrize("form", ["wkt", "ewkt", "hex", "geojson"])
def test_geometries_in_cells(tmp_path: Path, form: str) -> None:
    shape = box(500000, 4600000, 501000, 4601000) if form in ("ewkt", "hex") else box(-87, 41, -86.9, 41.1)
    cell = {
        "wkt": shape.wkt,
        "ewkt": f"SRID=32616;{shape.wkt}",
        "hex": shapely.to_wkb(shapely.set_srid(shape, 32616), hex=True, include_srid=True),
        "geojson": shapely.to_geojson(shape).replace('"', '""'),
    }[form]
    (tmp_path / "r.csv").write_text(f'id,geom\n007,"{cell}"\n')
    west = -87.0 if form in ("ewkt", "hex") else shape.bounds[0]
    assert _read(tmp_path / "r.csv").total_bounds[0] == pytest.approx(west, abs=1e-3)


def test_plain_parquet_may_hold_geometries(tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    pd.DataFrame({"id": ["007"], "geometry": [box(0, 0, 1, 1).wkb]}).to_parquet(path)
    with pytest.raises(ChorographError, match=r"does not say its coordinate reference system.*--crs"):
        _read(path)
    assert _read(path, crs="EPSG:4326").geometry.iloc[0].equals(box(0, 0, 1, 1))
    pd.DataFrame({"id": ["007"], "households": [3]}).to_parquet(path)
    with pytest.raises(ChorographError, match="has no geometry: its columns are id, households"):
        _read(path)


def test_points_find_their_region_around_the_globe() -> None:
    left, right = box(179.9, -17, 180, -16.9), box(-180, -17, -179.9, -16.9)
    past = box(180.1, -17, 180.2, -16.9)
    regions = gpd.GeoDataFrame({"region_id": ["l", "r", "p"]}, geometry=[left, right, past], crs=4326)
    found, several = region_at([179.95, 180.05, -179.95, -179.85, 0.0, np.nan], [-16.95] * 6, regions)
    assert found.tolist() == ["l", "r", "r", "p", None, None]
    assert several == 0


def test_a_point_on_a_border_belongs_to_the_first() -> None:
    regions = gpd.GeoDataFrame({"region_id": ["a", "b"]}, geometry=[box(0, 0, 1, 1), box(1, 0, 2, 1)], crs=4326)
    found, several = region_at([1.0, 0.0, 2.0], [0.5, 0.5, 0.5], regions)
    assert found.tolist() == ["a", "a", "b"]
    assert several == 1
