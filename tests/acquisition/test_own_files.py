from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import simplejpeg
from shapely.geometry import Polygon, box

from chorograph.acquisition.own.build import build_area
from chorograph.area.check import check_area
from chorograph.area.descriptions import Description, read_descriptions
from chorograph.area.folder import Area
from chorograph.ground.errors import ChorographError, InputError, OutputError
from chorograph.ground.stage import Ledger, silent
from chorograph.verbs.area.build import Settings
from chorograph.verbs.area.build import run as build


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    """Four regions in a row, a tile in each, wide tables, a small graph."""
    ids = ["007", "008", "009", "010"]
    polygons = [box(k, 0, k + 1, 1) for k in range(4)]
    gpd.GeoDataFrame({"code": ids}, geometry=polygons, crs=4326).to_file(tmp_path / "regions.geojson")
    tiles = tmp_path / "tiles"
    tiles.mkdir()
    for k in range(4):
        pixels = np.full((32, 32, 3), 40 * k, dtype=np.uint8)
        (tiles / f"t{k}.jpg").write_bytes(simplejpeg.encode_jpeg(pixels))
    pd.DataFrame({"tile": [f"t{k}" for k in range(4)], "lon": np.arange(4) + 0.5, "lat": 0.5, "code": ids}).to_csv(
        tmp_path / "tiles.csv", index=False
    )
    (tmp_path / "indicators.csv").write_text("code,income_usd,people\n007,1.5,10\n008,,20\n009,0,30\n")
    (tmp_path / "poi.csv").write_text("code,shop,school\n007,3,0\n010,1,2\n")
    (tmp_path / "triples.tsv").write_text("tract:007\tborderBy\ttract:008\ntract:007\thas\tkind:shop\n")
    return Settings(
        out=tmp_path / "area",
        tiles=tiles,
        tiles_table=tmp_path / "tiles.csv",
        regions=tmp_path / "regions.geojson",
        region_id="code",
        indicators=[tmp_path / "indicators.csv"],
        poi=tmp_path / "poi.csv",
        triples=tmp_path / "triples.tsv",
    )


def test_what_indicators_are_is_said_while_building(own: Settings, tmp_path: Path) -> None:
    said = tmp_path / "said.toml"
    said.write_text('[people]\ntitle = "People, all ages"\nkind = "count"\n')
    asked = replace(own, describe=["income_usd=scale:log,need:low,title:Income, median", str(said)])
    build(asked, silent)
    found = read_descriptions(Area.open(own.out))
    assert found["income_usd"] == Description(title="Income, median", scale="log", need="low")
    assert found["people"] == Description(title="People, all ages", kind="count")
    build(replace(asked, describe=["people=need:none"], title="Anew"), silent)
    again = read_descriptions(Area.open(own.out))
    assert again["people"].need == "none"
    assert again["income_usd"] == found["income_usd"]


@pytest.mark.parametrize(
    ("word", "message"), [("wealth=scale:log", "wealth"), ("people", "COLUMN=KEY"), ("people=scale:root", "one of")]
)
def test_a_description_of_what_is_not_there_builds_nothing(own: Settings, word: str, message: str) -> None:
    with pytest.raises(ChorographError, match=message):
        build(replace(own, describe=[word]), silent)
    assert not own.out.exists()


def test_the_whole(own: Settings) -> None:
    ledger = Ledger()
    build_area(own, own.out, ledger)
    area = Area.open(own.out)
    assert check_area(area) == []
    assert area.regions["region_id"].tolist() == ["007", "008", "009", "010"]
    assert area.images["region_id"].tolist() == ["007", "008", "009", "010"]
    table = area.indicators.set_index(["indicator", "region_id"])
    assert table.loc[("income_usd", "009"), "value"] == 0.0
    assert np.isnan(table.loc[("income_usd", "008"), "value"])
    assert table.loc[("income_usd", "007"), "unit"] == "USD"
    assert table.loc[("people", "007"), "unit"] == "unstated"
    entities = area.entities.set_index("entity")
    assert entities.loc["tract:007", "region_id"] == "007"
    assert entities.loc["kind:shop", "kind"] == "kind"
    assert ledger.counts["images held"] == 4
    assert "income_usd: USD" in ledger.warnings[0]


def test_tiles_find_their_region_by_place(own: Settings) -> None:
    frame = pd.read_csv(own.tiles_table, dtype=str).drop(columns="code")
    frame.loc[3, "lon"] = "9.5"  # outside every polygon: known, of no region
    frame.to_csv(own.tiles_table, index=False)
    build_area(own, own.out, Ledger())
    regions = Area.open(own.out).images["region_id"]
    assert regions[:3].tolist() == ["007", "008", "009"]
    assert pd.isna(regions[3])


def test_long_tables_and_units(own: Settings) -> None:
    own.indicators[0].write_text("code,indicator,value,unit,year\n007,income,1,EUR,2020\n008,income,2,EUR,2020\n")
    own.poi.write_text("code,poi,count\n007,shop,2\n")
    build_area(replace(own, name="mine"), own.out, Ledger())
    area = Area.open(own.out)
    assert area.name == "mine"
    assert area.indicators["unit"].unique().tolist() == ["EUR"]
    assert area.indicators["year"].tolist() == [2020, 2020]
    assert area.read("poi_counts")["count"].tolist() == [2]


def test_units_by_option(own: Settings) -> None:
    ledger = Ledger()
    build_area(replace(own, unit=["people=people", "income_usd=USD/year"]), own.out, ledger)
    units = Area.open(own.out).indicators.groupby("indicator")["unit"].first()
    assert units.to_dict() == {"people": "people", "income_usd": "USD/year"}
    assert not [warning for warning in ledger.warnings if "unit" in warning]


def _edit(name: str, text: str) -> Callable[[Settings], Settings]:
    def change(own: Settings) -> Settings:
        path = {"indicators": own.indicators[0], "poi": own.poi, "tiles": own.tiles_table, "triples": own.triples}[name]
        path.write_text(text)
        return own

    return change


def _cross(own: Settings) -> Settings:
    crossed = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    gpd.GeoDataFrame({"code": ["007"]}, geometry=[crossed], crs=4326).to_file(own.regions)
    return own


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_edit("indicators", "code,x\n007,1\n099,2\n"), r"indicators\.csv: no polygon has code '099' \(line 3"),
        (_edit("indicators", "code,x\n007,many\n"), r"indicators\.csv: x is 'many', no number, in line 2"),
        (_edit("indicators", "code,x\n007,1\n008,inf\n"), r"indicators\.csv: x is infinite in line 3"),
        (_edit("indicators", "code,x\n007,1\n007,2\n"), "appears twice"),
        (_edit("indicators", "code,x\n,1\n"), "code is empty in line 2"),
        (_edit("indicators", "code,x\n007,1,2,3\n008,1\n\n"), r"indicators\.csv"),
        (_edit("indicators", "kode,x\n007,1\n"), "did you mean 'code'|no column|column of .* named 'code'"),
        (_edit("poi", "code,shop\n007,-1\n"), "whole number from 0"),
        (_edit("tiles", "tile,code\nt0,007\nt0,008\n"), r"'t0' appears twice \(line 3\)"),
        (_edit("tiles", "tile,code\nt9,007\n"), r"t9 \(.*tiles\.csv, line 2\): missing"),
        (_edit("tiles", "tile,code\n"), "names no tiles"),
        (_edit("triples", "a\tb\n"), "line 1 is not head, relation, tail"),
        (_edit("triples", "a\tb\tc\na\tb\tc\n"), "line 2 repeats line 1"),
        (_cross, r"regions\.geojson: the polygon of '007' \(feature 1\) is not valid: Self-intersection"),
        (lambda own: replace(own, unit=["income=USD"]), "did you mean 'income_usd'"),
        (lambda own: replace(own, unit=["income"]), "COLUMN=UNIT"),
        (lambda own: replace(own, region_id="id"), "named 'id'"),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(
    own: Settings, change: Callable[[Settings], Settings], message: str
) -> None:
    changed = change(own)
    with pytest.raises(ChorographError, match=message):
        build_area(changed, changed.out, Ledger())
    assert not own.out.exists()
    assert not [path for path in own.out.parent.iterdir() if path.name.startswith(".area")]


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "empty"), (b"<html>", "not an image"), (b"\xff\xd8\xff\xe0half", "truncated")]
)
def test_bad_tiles_stop_or_are_counted(own: Settings, content: bytes, reason: str) -> None:
    (own.tiles / "t1.jpg").write_bytes(content)
    with pytest.raises(InputError, match=rf"t1\.jpg \(.*tiles\.csv, line 3\): {reason}.*--skip-bad"):
        build_area(own, own.out, Ledger())
    assert not own.out.exists()
    ledger = Ledger()
    build_area(replace(own, skip_bad=True), own.out, ledger)
    assert ledger.dropped == {f"image {reason}": 1}
    images = Area.open(own.out).images
    assert len(images) == 4  # known, not lost
    assert images["uri"].isna().tolist() == [False, True, False, False]


def test_a_full_disk_leaves_nothing(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"is full: .* are free"):
        build_area(own, own.out, Ledger())
    assert not own.out.exists()
    assert not [path for path in own.out.parent.iterdir() if path.name.startswith(".area")]


@pytest.mark.real
def test_king_county(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    data = real_data("king-county")
    ledger = Ledger()
    build_area(
        Settings(
            out=tmp_path / "area",
            regions=data / "tracts.geojson",
            region_id="geoid",
            indicators=[data / "indicators.csv"],
            triples=data / "triples.tsv",
            poi=data / "poi_counts.csv",
        ),
        tmp_path / "area",
        ledger,
    )
    assert ledger.counts["regions"] == 397
    assert ledger.counts["triples"] == 14015
    area = Area.open(tmp_path / "area")
    assert area.indicators[area.indicators["indicator"] == "sale_price_median_usd"]["region_id"].nunique() == 309
