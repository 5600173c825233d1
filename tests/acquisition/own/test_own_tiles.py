"""Tiles: where they lie, which file is which, and what happens to those in no region."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import pytest
from own_made import IDS, LAT, LON, picture, write_tiles
from PIL import Image
from shapely.geometry import box

from chorograph.acquisition.own.build import build_area
from chorograph.acquisition.own.own_settings import OwnFiles
from chorograph.area.folder import Area
from chorograph.area.tiles import tile_of
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger

Build = Callable[..., tuple[Area, Ledger]]


def _table(path: Path, header: str, rows: list[str]) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _rows(lon: list[float], lat: list[float]) -> list[str]:
    return [f"t{k},{x},{y}" for k, (x, y) in enumerate(zip(lon, lat, strict=True))]


@pytest.mark.parametrize(
    "header",
    ["tile,lon,lat", "filename,longitude,latitude", "File Name,LNG,Lat", "image_id,lon,lat", "tile,lon,latitude"],
)
def test_columns_by_their_common_names(build: Build, files: OwnFiles, header: str) -> None:
    _table(files.tiles_table, header, _rows(LON, [LAT] * 4))
    area, ledger = build()
    assert area.images["region_id"].tolist() == IDS
    assert area.images["lon"].tolist() == LON
    assert ledger.dropped == {}


@pytest.mark.parametrize(
    ("lon", "lat", "hint"),
    [
        ([LAT] * 4, LON, "longitude and latitude seem to be swapped"),
        ([-x for x in LON], [LAT] * 4, "the sign of longitude seems to be lost"),
        (LON, [-LAT] * 4, "the sign of latitude seems to be lost"),
        ([100.0] * 4, [LAT] * 4, r"they lie from \(100.0000, 40.5000\).*the regions from \(10.0000, 40.0000\)"),
    ],
)
def test_tiles_that_all_miss_stop_with_a_hint(
    build: Build, files: OwnFiles, lon: list[float], lat: list[float], hint: str
) -> None:
    _table(files.tiles_table, "tile,lon,lat", _rows(lon, lat))
    with pytest.raises(InputError, match=rf"tiles\.csv: 4 of 4 tiles lie in no region; {hint}"):
        build()


def test_tiles_that_mostly_miss_are_told_loudly(build: Build, files: OwnFiles) -> None:
    _table(files.tiles_table, "tile,lon,lat", _rows([LON[0], *[LAT] * 3], [LAT, *LON[1:]]))
    area, ledger = build()
    assert ledger.counts["images in no region"] == 3
    assert any("3 of 4 tiles lie in no region; longitude and latitude seem to be swapped" in w for w in ledger.warnings)
    assert area.images["region_id"].notna().tolist() == [True, False, False, False]


def test_tiles_without_a_named_region_are_placed(build: Build, files: OwnFiles) -> None:
    rows = [f"{row},{name}" for row, name in zip(_rows(LON, [LAT] * 4), [IDS[0], "", "", ""], strict=True)]
    _table(files.tiles_table, "tile,lon,lat,geoid", rows)
    area, _ = build()
    assert area.images["region_id"].tolist() == IDS


def test_no_tile_names_a_region(build: Build, files: OwnFiles) -> None:
    _table(files.tiles_table, "tile,geoid", [f"t{k}," for k in range(4)])
    with pytest.raises(InputError, match=r"tiles\.csv: 4 of 4 tiles name no region"):
        build()


@pytest.mark.parametrize("others", [[LAT] * 4, [LAT + 9] * 4])
def test_tiles_outside_of_the_region_named_for_them(build: Build, files: OwnFiles, others: list[float]) -> None:
    rows = [f"{row},{name}" for row, name in zip(_rows(LON, others), [*IDS[1:], IDS[0]], strict=True)]
    _table(files.tiles_table, "tile,lon,lat,geoid", rows)
    area, ledger = build()
    assert area.images["region_id"].tolist() == [*IDS[1:], IDS[0]]
    assert ledger.counts["images outside of the region named for them"] == 4
    assert any("4 of 4 tiles lie outside of the region named for them" in warning for warning in ledger.warnings)


def test_numbers_that_contradict_degrees_are_no_tile(build: Build, files: OwnFiles) -> None:
    rows = [f"{row},{k},7,3" for k, row in enumerate(_rows(LON, [LAT] * 4))]
    _table(files.tiles_table, "tile,lon,lat,col,row,level", rows)
    area, ledger = build()
    assert area.images["region_id"].tolist() == IDS
    assert area.images["zoom"].isna().all()
    assert any("do not name the tiles at longitude and latitude" in warning for warning in ledger.warnings)


@pytest.mark.parametrize(
    ("x", "y", "zoom", "hint"),
    [
        (1, 0, 12, "x and y seem to have changed places"),
        (0, 1, 13, "zoom seems to be 12, not 13"),
    ],
)
def test_numbers_that_miss_get_a_hint(build: Build, files: OwnFiles, x: int, y: int, zoom: int, hint: str) -> None:
    numbers = [tile_of(lon, LAT, 12) for lon in LON]
    rows = [f"t{k},{zoom},{one[x]},{one[y]}" for k, one in enumerate(numbers)]
    _table(files.tiles_table, "tile,zoom,x,y", rows)
    with pytest.raises(InputError, match=f"4 of 4 tiles lie in no region; {hint}"):
        build()


def test_tables_of_features_place_tiles(build: Build, files: OwnFiles, tmp_path: Path) -> None:
    places = [box(lon - 0.1, LAT - 0.1, lon + 0.1, LAT + 0.1) for lon in LON]
    gpd.GeoDataFrame({"tile": [f"t{k}" for k in range(4)]}, geometry=places, crs=4326).to_file(tmp_path / "t.geojson")
    area, _ = build(tiles_table=tmp_path / "t.geojson")
    assert area.images["region_id"].tolist() == IDS
    assert area.images["lon"].tolist() == pytest.approx(LON)


def test_pictures_called_by_their_regions(build: Build, files: OwnFiles) -> None:
    for k, name in enumerate(IDS):
        (files.tiles / f"t{k}.jpg").rename(files.tiles / f"{name}.jpg")
    area, ledger = build(tiles_table=None)
    assert area.images["region_id"].tolist() == IDS
    assert any("called by a region's id" in warning for warning in ledger.warnings)


def test_names_in_another_form_or_case_are_found(build: Build, files: OwnFiles) -> None:
    (files.tiles / "t0.jpg").rename(files.tiles / f"{unicodedata.normalize('NFD', 'Ké')}.jpg")
    _table(files.tiles_table, "tile,lon,lat", ["Ké,10.5,40.5", "t1.JPG,11.5,40.5", "T2,12.5,40.5", "t3.png,13.5,40.5"])
    area, _ = build()
    assert area.images["uri"].notna().all()


def test_a_few_that_miss_are_counted(build: Build, files: OwnFiles) -> None:
    _table(files.tiles_table, "tile,lon,lat", _rows([*LON[:3], 99.0], [LAT] * 4))
    _, ledger = build()
    assert ledger.counts["images in no region"] == 1
    assert any("1 of 4 tiles lie in no region" in warning for warning in ledger.warnings)


def test_tiles_on_a_border_belong_to_one_region(build: Build, files: OwnFiles) -> None:
    _table(files.tiles_table, "tile,lon,lat", _rows([11.0, 12.0, 13.0, 14.0], [LAT] * 4))
    area, ledger = build()
    assert area.images["region_id"].tolist() == IDS
    assert ledger.counts["images on a border"] == 3


def test_rows_from_the_south(build: Build, files: OwnFiles) -> None:
    x, y = tile_of(LON, [LAT] * 4, 12)
    rows = [f"t{k},12,{x[k]},{2**12 - 1 - y[k]}" for k in range(4)]
    _table(files.tiles_table, "tile,z,x,y", rows)
    with pytest.raises(InputError, match="rows seem to be counted from the south: give --rows-from south"):
        build()
    area, _ = build(rows_from="south")
    assert area.images["region_id"].tolist() == IDS
    assert area.images["y"].tolist() == y.tolist()


def test_zooms_may_differ(build: Build, files: OwnFiles) -> None:
    rows = []
    for k, zoom in enumerate((11, 12, 13, 14)):
        x, y = tile_of(LON[k], LAT, zoom)
        rows.append(f"t{k},{zoom},{x},{y}")
    _table(files.tiles_table, "tile,zoom,x,y", rows)
    area, _ = build()
    assert area.images["region_id"].tolist() == IDS
    assert area.images["zoom"].tolist() == [11, 12, 13, 14]


@pytest.mark.parametrize(
    "form", ["{z}_{x}_{y}.jpg", "{z}/{x}/{y}.jpg", "city/{z}-{x}-{y}.JPG", "tile_{z}_{x}_{y}.jpeg"]
)
def test_names_say_the_tile(build: Build, files: OwnFiles, form: str) -> None:
    shutil.rmtree(files.tiles)
    for k in range(4):
        x, y = tile_of(LON[k], LAT, 14)
        path = files.tiles / form.format(z=14, x=x, y=y)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(k))
    area, _ = build(tiles_table=None)
    assert sorted(area.images["region_id"]) == IDS
    assert set(area.images["zoom"]) == {14}


@pytest.mark.parametrize("name", ["scene2015_10_20", "a15_10_20", "15_10_20b", "99_1_1", "3_9_1"])
def test_other_numbers_are_no_tile(build: Build, files: OwnFiles, name: str) -> None:
    shutil.rmtree(files.tiles)
    files.tiles.mkdir()
    (files.tiles / f"{name}.jpg").write_bytes(picture(0))
    with pytest.raises(InputError, match="says neither region nor place of its tiles"):
        build(tiles_table=None)


@pytest.mark.parametrize(
    ("header", "row", "message"),
    [
        ("tile,lon", "t0,1", "has lon but no lat$"),
        ("tile,lon,latitud", "t0,1,2", "did you mean 'latitud'"),
        ("tile,lon,lat", "t0,1,95", r"lat is 95 in line 2, which is no degree.*swapped"),
        ("tile,lon,lat", "t0,509293,3695640", "lon is 509293 in line 2, which is no degree; bring places to EPSG:4326"),
        ("tile,lon,lat", "t0,east,40", r"tiles\.csv: lon is 'east', no number, in line 2"),
        ("tile,zoom,x,y", "t0,12.5,1,1", "zoom is '12.5' in line 2; zoom is a whole number"),
        ("tile,zoom,x,y", "t0,2,9,1", r"x and y of a tile at zoom 2 are below 4, not as in line 2"),
        ("tile,zoom,x,y", "t0,2,-1,1", "x is negative in line 2"),
        ("tile,zoom,x,y", "t0,99,1,1", "zoom is 99 in line 2; it is 0 to 30"),
        ("tile,geoid", "t0,nobody", "no polygon has geoid 'nobody'"),
        ("tile,note", "t0,hello", "says neither region nor place"),
        ("picture,lon,lat", "t0,1,2", "named 'tile'"),
        ("tile,lon,lat", "../../secret,10.5,40.5", r"secret \(.*line 2\): missing"),
    ],
)
def test_what_a_table_of_tiles_cannot_be(build: Build, files: OwnFiles, header: str, row: str, message: str) -> None:
    _table(files.tiles_table, header, [row])
    with pytest.raises(Exception, match=message) as error:
        build()
    assert "tiles.csv" in str(error.value)


def test_tables_name_files_as_they_like(build: Build, files: OwnFiles) -> None:
    nested = files.tiles / "a" / "b"
    nested.mkdir(parents=True)
    shutil.move(files.tiles / "t1.jpg", nested / "t1.jpg")
    names = ["t0.jpg", "a/b/t1.jpg", "elsewhere\\images\\t2.jpg", "./t3"]
    _table(files.tiles_table, "filename,lon,lat", [f"{n},{x},{LAT}" for n, x in zip(names, LON, strict=True)])
    area, ledger = build()
    assert area.images["region_id"].tolist() == IDS
    assert area.images["uri"].notna().all()
    assert ledger.dropped == {}


def test_one_name_two_pictures(build: Build, files: OwnFiles) -> None:
    shutil.copy(files.tiles / "t1.jpg", files.tiles / "t0.png")
    with pytest.raises(InputError, match=r"'t0' may be .*t0\.jpg or .*t0\.png; list it by its full path"):
        build()
    with pytest.raises(InputError, match=r"t0\.jpg and .*t0\.png would both be the tile 't0'"):
        build(tiles_table=None)
    rows = [f"{n},{x},{LAT}" for n, x in zip(["t0.jpg", "t0.png", "t2", "t3"], LON, strict=True)]
    _table(files.tiles_table, "tile,lon,lat", rows)
    area, ledger = build()
    assert area.images["uri"].nunique() == 4
    assert ledger.dropped == {"picture that the table of tiles does not list": 1}


def test_folders_of_other_programs_are_left_out(build: Build, files: OwnFiles) -> None:
    write_tiles(files.tiles / "__MACOSX")
    write_tiles(files.tiles / ".hidden")
    (files.tiles / "._t0.jpg").write_bytes(b"apple")
    (files.tiles / "notes.docx").write_bytes(b"x")
    (files.tiles / "t0.jgw").write_text("1")
    (files.tiles / "secret.jpg").symlink_to("/etc/passwd")
    area, ledger = build()
    assert len(area.images) == 4
    assert ledger.dropped == {
        "file in the folder of tiles that is no picture (.docx)": 1,
        "link that leads out of the folder": 1,
    }


def test_one_picture_for_many_regions_is_named(build: Build, files: OwnFiles) -> None:
    for k in range(3):
        (files.tiles / f"t{k}.jpg").write_bytes(picture(9))
    _, ledger = build()
    assert any("one picture stands for 3 tiles in 3 regions (t0.jpg)" in warning for warning in ledger.warnings)
    area, ledger = build_again(files, repeated="drop")
    assert ledger.dropped == {"image repeated in several regions": 3}
    assert area.images["uri"].isna().tolist() == [True, True, True, False]
    assert len(list((area.path / "images").iterdir())) == 1


def build_again(files: OwnFiles, **others: object) -> tuple[Area, Ledger]:
    ledger, out = Ledger(), files.tiles.parent / "again"
    build_area(replace(files, **others), out, ledger)  # type: ignore[arg-type]
    return Area.open(out), ledger


def test_pictures_of_one_colour_are_told(build: Build, files: OwnFiles) -> None:
    for k in range(3):
        Image.new("RGB", (32, 32), (90 * k, 90, 90)).save(files.tiles / f"t{k}.jpg")
    _, ledger = build()
    assert ledger.counts["images of one colour"] == 3
    assert any("3 pictures show one colour each (first 't0')" in warning for warning in ledger.warnings)


def test_a_tile_that_two_regions_share_is_nothing_odd(build: Build, files: OwnFiles) -> None:
    (files.tiles / "t1.jpg").write_bytes(picture(0))
    _, ledger = build()
    assert not any("one picture" in warning for warning in ledger.warnings)


@pytest.mark.parametrize("name", ["out.jpg", "../secret.jpg", "/SECRET"])
def test_a_link_out_of_the_folder_is_not_followed(build: Build, files: OwnFiles, tmp_path: Path, name: str) -> None:
    """A table may list a link, or a path, that leads to a file of outside: it is never copied into the area."""
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(picture(99))
    (files.tiles / "out.jpg").symlink_to(secret)
    rows = _rows(LON, [LAT] * 4)
    _table(files.tiles_table, "tile,lon,lat", [*rows, f"{name.replace('/SECRET', str(secret))},{LON[0]},{LAT}"])
    says = r"out\.jpg.*leads out of its folder" if name == "out.jpg" else r"tiles/secret\.jpg.*missing"
    with pytest.raises(InputError, match=says):
        build()
