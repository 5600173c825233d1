"""Indicators and points of interest: columns of any name, codes for missing, and joining by place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from own_made import IDS, LAT, LON
from shapely.geometry import Point, box

from chorograph.acquisition.own.indicators import read_indicators
from chorograph.acquisition.own.own_settings import IndicatorSettings, OwnFiles, PointSettings, Reading
from chorograph.acquisition.own.points import read_points
from chorograph.area.folder import Area
from chorograph.ground.errors import ChorographError, InputError
from chorograph.ground.stage import Ledger

Build = Callable[..., tuple[Area, Ledger]]


def _wide(path: Path, header: str, *rows: str) -> None:
    path.write_text("\n".join([header, *rows]) + "\n")


@pytest.mark.parametrize(
    "column", ["value", "indicator", "variable", "region_id", "unit", "source", "row", "count", "index"]
)
def test_columns_may_have_any_name(build: Build, files: OwnFiles, column: str) -> None:
    _wide(files.indicators[0], f"geoid,{column}", f"{IDS[0]},5", f"{IDS[1]},6")
    area, _ = build()
    assert area.indicators["indicator"].unique().tolist() == [column]
    assert area.indicators["value"].tolist() == [5, 6]


@pytest.mark.parametrize("region_id", ["name", "group", "value", "tile_id", "lon_id"])
def test_ids_may_have_any_name(build: Build, files: OwnFiles, region_id: str) -> None:
    gpd.read_file(files.regions).rename(columns={"geoid": region_id}).to_file(files.regions)
    _wide(files.indicators[0], f"{region_id},income", f"{IDS[0]},5")
    _wide(files.tiles_table, f"tile,{region_id}", f"t0,{IDS[0]}")
    area, _ = build(region_id=region_id)
    assert area.regions["region_id"].tolist() == IDS
    assert area.images["region_id"].tolist() == [IDS[0]]


def test_each_file_may_call_its_ids_otherwise(build: Build, files: OwnFiles) -> None:
    _wide(files.indicators[0], "TRACT,income", f"{IDS[0].lstrip('0')},5")
    area, ledger = build(id_of=["indicators.csv=TRACT"])
    assert area.indicators["region_id"].tolist() == [IDS[0]]
    assert any("without their leading zeros" in warning for warning in ledger.warnings)


@pytest.mark.parametrize("header", ["geoid,Indicator,Value", "GEOID,variable,value"])
def test_long_tables_by_their_common_names(build: Build, files: OwnFiles, header: str) -> None:
    rows = [f"{name},{what},{k}" for k, name in enumerate(IDS) for what in ("income", "jobs")]
    files.indicators[0].write_text("\n".join([header, *rows]) + "\n")
    area, _ = build()
    assert area.indicators.pivot(index="region_id", columns="indicator", values="value")["jobs"].tolist() == [
        0,
        1,
        2,
        3,
    ]


def test_two_files_of_one_indicator_are_named(build: Build, files: OwnFiles, tmp_path: Path) -> None:
    (tmp_path / "again.csv").write_text(f"geoid,income_usd\n{IDS[2]},5\n")
    with pytest.raises(
        InputError, match=rf"again\.csv: income_usd of region '{IDS[2]}' stands in .*indicators\.csv too"
    ):
        build(indicators=[*files.indicators, tmp_path / "again.csv"])


def test_columns_of_words_are_no_counts(tmp_path: Path, regions: gpd.GeoDataFrame) -> None:
    ledger = Ledger()
    for header, rows in (("region_id,name,shop", [f"{name},a,3" for name in IDS]),
                         ("region_id,POI,Count", [f"{name},shop,3" for name in IDS])):  # fmt: skip
        (tmp_path / "p.csv").write_text("\n".join([header, *rows]) + "\n")
        found = read_points(tmp_path / "p.csv", PointSettings(), Reading(), "region_id", regions, ledger)
        assert found["poi"].tolist() == ["shop"] * 4
        assert found["count"].tolist() == [3] * 4
    assert any("columns of words are no counts" in warning for warning in ledger.warnings)


def test_an_indicator_without_a_value_is_told(build: Build, files: OwnFiles) -> None:
    files.indicators[0].write_text("\n".join(["geoid,income", *(f"{name}," for name in IDS)]) + "\n")
    _, ledger = build()
    assert any("income has no value in any row" in warning for warning in ledger.warnings)


def test_census_codes_are_missing_and_named(build: Build, files: OwnFiles) -> None:
    _wide(files.indicators[0], "geoid,income", *(f"{n},{v}" for n, v in zip(IDS, [5, -666666666, 6, 7], strict=True)))
    area, ledger = build()
    assert area.indicators["value"].isna().tolist() == [False, True, False, False]
    assert any("income is -666666666 in 1 rows (line 3): a code for missing" in warning for warning in ledger.warnings)


def test_far_off_values_are_only_named(build: Build, files: OwnFiles) -> None:
    extra = [f"{IDS[0]},5", f"{IDS[1]},9999999", f"{IDS[2]},9999999", f"{IDS[3]},7"]
    _wide(files.indicators[0], "geoid,income", *extra)
    area, ledger = build()
    assert area.indicators["value"].notna().all()
    assert not any("far from" in warning for warning in ledger.warnings)  # two others are no company


def test_columns_of_words_are_left_out_and_told(build: Build, files: OwnFiles) -> None:
    _wide(files.indicators[0], "geoid,county,income", f"{IDS[0]},King,5")
    area, ledger = build()
    assert area.indicators["indicator"].tolist() == ["income"]
    assert any("columns of words are no indicators and were left out: county" in w for w in ledger.warnings)


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("geoid,income,year", [f"{IDS[0]},5,2011-2015"], "year is '2011-2015' in line 2; year is a whole number"),
        (
            "geoid,income",
            [f"{IDS[0]},5", "", f"{IDS[0]},6"],
            r"region '01073000100' appears twice \(lines 2 and 4\)",
        ),
        ("geoid,rank,income", [f"{IDS[0]},1,5,6"], "line 2 has 4 cells, the header 3"),
        (
            "geoid,indicator,value,unit",
            [f"{IDS[0]},a,1,x", f"{IDS[1]},a,2,y"],
            r"a is given in 'x' and in 'y' \(line 3\)",
        ),
        ("geoid,indicator,value", [f"{IDS[0]},,1"], "indicator is empty in line 2"),
        ("geoid,indicator,value", [f"{IDS[0]},a,some"], "value is 'some', no number, in line 2"),
        ("geoid", [IDS[0]], "has no column of values beside"),
        ("geoid,income", [], "a header and no row"),
    ],
)
def test_bad_cells_are_named(build: Build, files: OwnFiles, header: str, rows: list[str], message: str) -> None:
    _wide(files.indicators[0], header, *rows)
    with pytest.raises(InputError, match=message) as error:
        build()
    assert "indicators.csv" in str(error.value)


def _join(path: Path, regions: gpd.GeoDataFrame, *kinds: str) -> tuple[dict[str, float], Ledger]:
    ledger = Ledger()
    asked = IndicatorSettings(kind=list(kinds))
    frame = read_indicators(path, asked, Reading(), "region_id", regions, "s", ledger)
    return dict(zip(frame["region_id"], frame["value"], strict=True)), ledger


def test_polygons_of_their_own_share_by_area(tmp_path: Path, regions: gpd.GeoDataFrame) -> None:
    # A block over the first region and a half of the second; one over the rest of both others.
    blocks = [box(10, 40, 11.5, 41), box(11.5, 40, 14, 41)]
    frame = gpd.GeoDataFrame({"people": [300.0, 500.0], "age": [30.0, 60.0]}, geometry=blocks, crs=4326)
    frame.to_crs(3035).to_file(tmp_path / "blocks.gpkg")
    with pytest.raises(InputError, match="say what people is, for example --kind people=count"):
        _join(tmp_path / "blocks.gpkg", regions)
    people, _ = _join(tmp_path / "blocks.gpkg", regions, "people=count")
    assert sum(people.values()) == pytest.approx(800, rel=5e-3)  # but for slivers
    assert people[IDS[0]] == pytest.approx(200, rel=5e-3)
    assert people[IDS[1]] == pytest.approx(200, rel=5e-3)
    age, _ = _join(tmp_path / "blocks.gpkg", regions, "age=mean")
    assert [age[name] for name in IDS] == pytest.approx([30, 45, 60, 60], abs=0.2)


def test_what_covers_in_part_says_so(tmp_path: Path, regions: gpd.GeoDataFrame) -> None:
    frame = gpd.GeoDataFrame({"age": [30.0, 99.0]}, geometry=[box(10, 40, 10.5, 41), box(50, 0, 51, 1)], crs=4326)
    frame.to_file(tmp_path / "b.gpkg")
    age, ledger = _join(tmp_path / "b.gpkg", regions, "age=mean")
    assert age == {IDS[0]: pytest.approx(30)}
    assert "1 of 2 places touch no region" in ledger.warnings[0]
    assert "age covers 1 regions in part only" in ledger.warnings[1]


def test_points_of_their_own(tmp_path: Path, regions: gpd.GeoDataFrame) -> None:
    rows = [f"{LON[0]},{LAT},10", f"{LON[0] + 0.1},{LAT},30", f"{LON[2]},{LAT},7", f"99,{LAT},1"]
    _wide(tmp_path / "sales.csv", "lon,lat,price", *rows)
    assert _join(tmp_path / "sales.csv", regions, "price=mean")[0] == {IDS[0]: 20, IDS[2]: 7}
    assert _join(tmp_path / "sales.csv", regions, "price=count")[0] == {IDS[0]: 40, IDS[2]: 7}


def _points(path: Path, regions: gpd.GeoDataFrame, ledger: Ledger, **asked: str) -> dict[tuple[str, str], int]:
    frame = read_points(path, PointSettings(**asked), Reading(), "region_id", regions, ledger)
    return {(r, p): int(c) for r, p, c in zip(frame["region_id"], frame["poi"], frame["count"], strict=True)}


@pytest.mark.parametrize("name", ["poi.geojson", "poi.gpkg", "poi.shp", "poi.csv", "poi.parquet"])
def test_points_with_a_category(tmp_path: Path, regions: gpd.GeoDataFrame, name: str) -> None:
    kinds = ["shop", "shop", "school", "shop"]
    places = [Point(LON[0], LAT), Point(LON[0], LAT + 0.1), Point(LON[1], LAT), Point(99, 0)]
    frame = gpd.GeoDataFrame({"amenity": kinds}, geometry=places, crs=4326)
    path = tmp_path / name
    if name.endswith(".csv"):
        _wide(path, "amenity,longitude,latitude", *(f"{k},{p.x},{p.y}" for k, p in zip(kinds, places, strict=True)))
    elif name.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        frame.to_file(path)
    ledger = Ledger()
    assert _points(path, regions, ledger) == {(IDS[0], "shop"): 2, (IDS[1], "school"): 1}
    assert ledger.dropped == {"point of interest in no region": 1}


def test_points_told_by_region(tmp_path: Path, regions: gpd.GeoDataFrame) -> None:
    _wide(tmp_path / "p.csv", "region_id,kind", f"{IDS[0]},shop", f"{IDS[0]},shop")
    assert _points(tmp_path / "p.csv", regions, Ledger(), category="kind") == {(IDS[0], "shop"): 2}
    _wide(tmp_path / "p.csv", "region_id,poi,count", f"{IDS[0]},shop,3")
    assert _points(tmp_path / "p.csv", regions, Ledger()) == {(IDS[0], "shop"): 3}
    _wide(tmp_path / "p.csv", "region_id,count,poi2", f"{IDS[0]},1,2")
    assert _points(tmp_path / "p.csv", regions, Ledger()) == {(IDS[0], "count"): 1, (IDS[0], "poi2"): 2}


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("lon,lat,kind", "99,0,shop", "none of 1 points lies in a region"),
        ("kind,x", "shop,1", "neither the regions' ids .region_id. nor places"),
        ("lon,lat,what", "10.5,40.5,shop", "named 'category'"),
        ("region_id,poi,count", f"{IDS[0]},shop,2.5", "count is 2.5 in line 2; a count is a whole number from 0"),
        ("region_id,poi,count", f"{IDS[0]},shop,2\n{IDS[0]},shop,3", r"'shop' of a region appears twice \(line 3\)"),
    ],
)
def test_points_that_are_none(tmp_path: Path, regions: gpd.GeoDataFrame, header: str, row: str, message: str) -> None:
    _wide(tmp_path / "p.csv", header, row)
    with pytest.raises(ChorographError, match=message):
        _points(tmp_path / "p.csv", regions, Ledger())


def test_shares_conserve_what_they_part(regions: gpd.GeoDataFrame) -> None:
    from chorograph.acquisition.own.joining import shares_of

    rng = np.random.default_rng(0)
    places = gpd.GeoSeries(
        [box(x, y, x + 0.3, y + 0.2) for x, y in rng.uniform([10, 40], [13.7, 40.8], (50, 2))], crs=4326
    )
    values = rng.uniform(1, 9, 50)
    shares = shares_of(places, regions)
    assert np.nansum(shares.counts(values)) == pytest.approx(values.sum(), rel=1e-9)
