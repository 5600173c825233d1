from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st

from chorograph.acquisition.coordinates.baidu import (
    bd09_to_gcj02,
    bd09_to_wgs84,
    corner_to_bd09,
    corner_to_wgs84,
    gcj02_to_bd09,
    gcj02_to_wgs84,
    tile_polygon,
    wgs84_to_gcj02,
)
from chorograph.acquisition.layouts.captions_json import read_pairs
from chorograph.acquisition.layouts.rsicd import import_rsicd
from chorograph.acquisition.layouts.urbanclip import import_urbanclip
from chorograph.acquisition.layouts.urbanvlp import import_urbanvlp, parse_poi
from chorograph.acquisition.own.image_folder import import_image_folder
from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.area.splits import to_sphere
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger

JPEG = simplejpeg.encode_jpeg(np.full((32, 32, 3), 120, dtype=np.uint8))


# Corners of Baidu tiles in BD-09, as Baidu's own service answers (the released file's "WGS84" column).
@pytest.mark.parametrize(
    ("x", "y", "lat", "lon"),
    [
        (12659, 4738, 40.09315850201147, 116.44569035648394),
        (12303, 2599, 23.38370180200058, 113.17097150371777),
        (13167, 3525, 30.99272409355233, 121.11860375494845),
    ],
)
def test_tile_corners_equal_baidus(x: int, y: int, lat: float, lon: float) -> None:
    assert np.allclose(corner_to_bd09(x, y, 16), (lon, lat), atol=1e-9, rtol=0)


def test_the_true_corner_is_over_a_kilometre_from_the_released_one() -> None:
    lon, lat = corner_to_wgs84(12659, 4738, 16)
    assert np.allclose((lat, lon), (40.085935, 116.432902), atol=1e-4, rtol=0)
    released, true = to_sphere(np.array([116.44569]), np.array([40.093159])), to_sphere(*np.atleast_1d(lon, lat))
    assert 1330 < np.linalg.norm(released - true) < 1380


@pytest.mark.parametrize(
    ("gcj", "bd"),
    [
        ((120.1035219, 30.3410531), (120.10994647255544, 30.347283316051634)),
        ((116.404, 39.915), (116.41036949371028, 39.9213369935102)),
    ],
)
def test_gcj_to_bd(gcj: tuple[float, float], bd: tuple[float, float]) -> None:
    assert np.allclose(gcj02_to_bd09(*gcj), bd, atol=1e-12, rtol=0)


@given(lon=st.floats(75, 135), lat=st.floats(18, 53))
def test_round_trips(lon: float, lat: float) -> None:
    assert np.allclose(gcj02_to_wgs84(*wgs84_to_gcj02(lon, lat)), (lon, lat), atol=1e-9, rtol=0)
    # Baidu's inverse is approximate by a few centimetres.
    assert np.allclose(bd09_to_gcj02(*gcj02_to_bd09(lon, lat)), (lon, lat), atol=2e-6, rtol=0)


def test_outside_china_nothing_moves() -> None:
    assert np.array_equal(wgs84_to_gcj02(-122.3, 47.6), (-122.3, 47.6))


def test_tiles_share_their_edges_and_have_the_known_size() -> None:
    here, east = tile_polygon(12659, 4738, 16), tile_polygon(12660, 4738, 16)
    assert here.intersection(east).length > 0
    assert here.intersection(east).area < 1e-15
    lon, _ = corner_to_bd09([12659, 12660], [4738, 4738], 16)
    width = np.radians(lon[1] - lon[0]) * 6378137 * np.cos(np.radians(40))
    assert abs(width - 784.43) < 2


RECORDS = [
    {"caption": "a field with a train track", "image": "Beijing/16_12677_4730_s.jpg"},
    {"caption": "cars nearby", "image": "Beijing/16_12677_4730_s.jpg"},
    {"caption": "a lake", "image": "Beijing/16_12678_4730_s.jpg"},
]


@pytest.mark.parametrize("nesting", [RECORDS, [RECORDS], [RECORDS[:2], RECORDS[2:]]], ids=["plain", "city", "image"])
def test_every_nesting_is_read(nesting: object, tmp_path: Path) -> None:
    path = tmp_path / "Beijing_captions.json.gz"
    path.write_bytes(gzip.compress(json.dumps(nesting).encode()))
    assert [sentence for _, sentence in read_pairs(path)] == [r["caption"] for r in RECORDS]


@pytest.mark.parametrize(
    ("content", "message"),
    [("[", "not readable JSON"), ('[{"caption": 1}]', "record 1 is not"), ("[]", "holds no captions")],
)
def test_bad_caption_files_are_named(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "Beijing_captions.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_pairs(path)


def _urbanclip(folder: Path) -> Path:
    (folder / "images" / "Beijing").mkdir(parents=True)
    (folder / "images" / "Beijing" / "16_12677_4730_s.jpg").write_bytes(JPEG)
    (folder / "Beijing_captions.json").write_text(json.dumps([RECORDS]))
    rows = [("Beijing/16_12677_4730_s.jpg", 5.0, 10, 20.0), ("Beijing/16_12679_4730_s.jpg", 0.0, 3, 10000.0)]
    columns = ["satellite_img_name", "carbon_emissions (ton)", "population (unit)", "gdp (million yuan)"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "integrated_satellite_data.csv", index=False)
    return folder


def test_urbanclip(tmp_path: Path) -> None:
    ledger = Ledger()
    import_urbanclip(_urbanclip(tmp_path / "src"), tmp_path / "area", ledger)
    area = Area.open(tmp_path / "area")
    assert check_area(area) == []
    assert area.regions["region_id"].tolist() == [f"Beijing/16_{x}_4730" for x in (12677, 12678, 12679)]
    assert area.regions["group"].unique().tolist() == ["Beijing"]
    assert area.images["uri"].notna().tolist() == [True, False, False]
    assert ledger.counts["images known"] == 3
    assert ledger.counts["images held"] == 1
    assert area.captions["rank"].tolist() == [0, 1, 0]
    carbon = area.indicators.query("indicator == 'carbon'").set_index("region_id")["value"]
    assert carbon["Beijing/16_12679_4730"] == 0.0
    assert area.split("yan2024_random")["region_id"].tolist() == ["Beijing/16_12677_4730"]


def test_urbanclip_names_the_line_of_a_bad_label(tmp_path: Path) -> None:
    source = _urbanclip(tmp_path / "src")
    table = source / "integrated_satellite_data.csv"
    table.write_text(table.read_text().replace("10000.0", "much"))
    with pytest.raises(InputError, match=r"integrated_satellite_data\.csv: gdp .* is 'much', no number, in line 3"):
        import_urbanclip(source, tmp_path / "area", Ledger())
    assert not (tmp_path / "area").exists()


@pytest.mark.real
def test_urbanclip_as_released(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    ledger = Ledger()
    import_urbanclip(real_data("urbanclip"), tmp_path / "area", ledger)
    area = Area.open(tmp_path / "area")
    city = area.captions["image_id"].str.partition("/")[0]
    images = area.captions.groupby(city)["image_id"].nunique().to_dict()
    assert images == {"Beijing": 4592, "Guangzhou": 3402, "Shenzhen": 4324}
    assert city.value_counts().to_dict() == {"Beijing": 20642, "Guangzhou": 15539, "Shenzhen": 18113}
    assert ledger.counts["captioned images"] == 12318
    assert ledger.counts["images held"] == 24
    split = area.split("yan2024_random")
    sizes = split.groupby([split["region_id"].str.partition("/")[0], "role"]).size().to_dict()
    assert sizes[("Beijing", "train")] == 3652
    assert sizes[("Beijing", "test")] == 914
    assert {k[0]: v for k, v in sizes.items() if k[1] == "test"} == {
        "Beijing": 914,
        "Guangzhou": 651,
        "Shanghai": 896,
        "Shenzhen": 555,
    }
    assert "1: 2" not in ledger.warnings[1]


def test_poi_cells_are_read_without_being_run() -> None:
    cell = "{'Healthcare': 1, ' Business and Residential': 2, 'Science, Education and Culture': 3}"
    assert parse_poi(cell, "x") == {"Healthcare": 1, "Business and Residential": 2, "Science, Education and Culture": 3}
    for bad in ("__import__('os').system('true')", "[1]", "{'a': 'b'}", ""):
        with pytest.raises(InputError, match="line 7: poi is not"):
            parse_poi(bad, "line 7")


@pytest.mark.real
def test_urbanvlp_sample(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    ledger = Ledger()
    import_urbanvlp(real_data("urbanvlp"), tmp_path / "area", ledger)
    area = Area.open(tmp_path / "area")
    assert check_area(area) == []
    assert (area.images["view"] == "street").sum() == 3
    assert ledger.counts["images held"] == 10
    assert set(area.indicators["indicator"]) == {"carbon", "population", "gdp", "poi", "nightlight", "houseprice"}
    assert area.read("poi_counts")["poi"].nunique() == 14
    street = area.images[area.images["view"] == "street"]
    assert street["captured"].tolist() == ["2022-12", "2020-03", "2020-03"]
    # Moved from BD-09 by about a kilometre.
    lon, _ = bd09_to_wgs84(116.427454, 39.75736)
    assert np.isclose(street["lon"].iloc[0], lon)
    assert abs(lon - 116.427454) > 0.01


def test_rsicd_and_its_official_split(tmp_path: Path) -> None:
    source = tmp_path / "src"
    (source / "RSICD_images").mkdir(parents=True)
    (source / "RSICD_images" / "a_1.jpg").write_bytes(JPEG)
    image = {"filename": "a_1.jpg", "split": "test", "sentences": [{"raw": "A plane ."}, {"raw": " "}]}
    (source / "dataset_rsicd.json").write_text(json.dumps({"images": [image]}))
    ledger = Ledger()
    import_rsicd(source, tmp_path / "area", ledger)
    area = Area.open(tmp_path / "area")
    assert check_area(area) == []
    assert area.captions["caption"].tolist() == ["A plane ."]
    assert area.split("official")["role"].tolist() == ["test"]
    assert ledger.dropped == {"empty caption": 1}


@pytest.mark.real
def test_rsicd_sample(real_data: Callable[[str], Path], tmp_path: Path) -> None:
    ledger = Ledger()
    import_rsicd(real_data("rsicd"), tmp_path / "area", ledger)
    area = Area.open(tmp_path / "area")
    assert ledger.counts["images held"] == 3000
    assert len(area.captions) == 15000
    assert (area.entities["kind"] == "class").sum() == 30


def test_image_folder(tmp_path: Path) -> None:
    source = tmp_path / "src"
    for name in ("farm", "port"):
        (source / name).mkdir(parents=True)
        (source / name / "1.jpg").write_bytes(JPEG)
    (tmp_path / "outside.jpg").write_bytes(JPEG)
    (source / "farm" / "link.jpg").symlink_to(tmp_path / "outside.jpg")
    (source / "port" / "2.jpg").write_bytes(b"")
    with pytest.raises(InputError, match=r"2\.jpg: empty; .*--skip-bad"):
        import_image_folder(source, tmp_path / "area", Ledger())
    ledger = Ledger()
    import_image_folder(source, tmp_path / "area", ledger, skip_bad=True)
    area = Area.open(tmp_path / "area")
    assert check_area(area) == []
    assert ledger.dropped == {"link that leads out of the folder": 1, "image empty": 1}
    assert area.images["image_id"].tolist() == ["farm/1", "port/1", "port/2"]
    assert set(area.triples["tail"]) == {"class:farm", "class:port"}


def test_an_empty_class_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "src" / "farm").mkdir(parents=True)
    with pytest.raises(InputError, match="farm holds no images"):
        import_image_folder(tmp_path / "src", tmp_path / "area", Ledger())


@pytest.mark.parametrize(("first", "second"), [("train", "valid"), ("Training", "Testing")])
def test_parts_of_a_data_set_are_no_classes(first: str, second: str, tmp_path: Path) -> None:
    for part in (first, second, "__MACOSX", "lost+found"):
        for name in ("farm", "port"):
            (tmp_path / "src" / part / name).mkdir(parents=True)
            (tmp_path / "src" / part / name / "1.jpg").write_bytes(JPEG)
    (tmp_path / "src" / first / "preview.jpg").write_bytes(JPEG)
    ledger = Ledger()
    import_image_folder(tmp_path / "src", tmp_path / "area", ledger)
    area = Area.open(tmp_path / "area")
    assert check_area(area) == []
    assert set(area.triples["tail"]) == {"class:farm", "class:port"}
    split = area.split("official")
    role = {"valid": "val", "Testing": "test"}[second]
    assert split["role"].value_counts().to_dict() == {"train": 2, role: 2}
    assert set(split[split["role"] == role]["image_id"]) == {f"{second}/{name}/1" for name in ("farm", "port")}
    assert ledger.dropped["image beside the class folders, of no class"] == 1
