from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shapely.geometry import Polygon, box

from chorograph.area.check import check_area
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area, Source, read_parquet, read_regions
from chorograph.area.tables import TABLES, conform, empty
from chorograph.ground.errors import AreaError, InputError, UnknownNameError


def _regions() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"region_id": ["a", "b"]}, geometry=[box(0, 0, 1, 1), box(1, 0, 2, 1)], crs=4326)


def _images(uri: str | None, sha256: str | None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "image_id": ["one", "known"],
            "region_id": ["a", "b"],
            "view": "satellite",
            "uri": [uri, None],
            "sha256": [sha256, None],
            "source": "test",
            "licence": "CC0-1.0",
        }
    )


def _build(path: Path) -> Area:
    with AreaDraft(path, "small", "Small area", [Source("test", "CC0-1.0")], facts={"attainable_r2": {"x": 0.5}}) as d:
        d.write("regions", _regions())
        d.write("images", _images(*d.write_image("one", np.full((16, 16, 3), 90, np.uint8))))
    return Area.open(path)


def test_round_trip(tmp_path: Path) -> None:
    area = _build(tmp_path / "area")
    assert area.title == "Small area"
    assert area.sources == (Source("test", "CC0-1.0"),)
    assert area.facts == {"attainable_r2": {"x": 0.5}}
    assert area.regions.crs == "EPSG:4326"
    assert area.regions["region_id"].tolist() == ["a", "b"]
    assert area.read_image(area.images["uri"][0]).shape == (16, 16, 3)
    assert area.captions.columns.tolist() == TABLES["captions"].names
    assert check_area(area) == []


def test_a_failed_draft_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="disk"), AreaDraft(tmp_path / "area", "a") as draft:
        draft.write("regions", _regions())
        raise RuntimeError("disk")
    assert list(tmp_path.iterdir()) == []


def test_a_draft_with_a_dangling_region_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AreaError, match="region_id 'zz' is not in regions"), AreaDraft(tmp_path / "area", "a") as draft:
        draft.write("regions", _regions())
        draft.write("images", _images(None, None).assign(region_id="zz"))
    assert list(tmp_path.iterdir()) == []


def test_an_area_is_never_overwritten(tmp_path: Path) -> None:
    _build(tmp_path / "area")
    with pytest.raises(InputError, match="not empty"):
        _build(tmp_path / "area")


def test_no_path_leads_out(tmp_path: Path) -> None:
    area = _build(tmp_path / "area")
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tmp_path / "area" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    for uri in ("../secret.jpg", str(tmp_path / "secret.jpg"), "link.jpg", "images/../../secret.jpg"):
        with pytest.raises(InputError, match="leads out"):
            area.resolve(uri)


def test_check_finds_changed_and_missing_images(tmp_path: Path) -> None:
    area = _build(tmp_path / "area")
    file = area.resolve(area.images["uri"][0])
    file.write_bytes(file.read_bytes() + b"\0")
    assert "not those that were recorded" in check_area(area)[0]
    file.unlink()
    assert "missing" in check_area(area)[0]


def test_opening_what_is_no_area(tmp_path: Path) -> None:
    with pytest.raises(AreaError, match="is not an area"):
        Area.open(tmp_path)
    (tmp_path / "area.toml").write_text("name = ")
    with pytest.raises(AreaError, match="not readable TOML"):
        Area.open(tmp_path)


def test_a_damaged_table_names_its_file(tmp_path: Path) -> None:
    area = _build(tmp_path / "area")
    area.table_path("images").write_bytes(b"PAR1 not really")
    with pytest.raises(AreaError, match=r"images\.parquet cannot be read"):
        _ = area.images


@pytest.mark.parametrize(
    ("table", "change", "message"),
    [
        ("images", {"view": "side"}, "satellite or street"),
        ("images", {"lon": 500000.0}, "lon is 500000, not -360 to 360, in row 1"),
        ("images", {"zoom": -3}, "zoom is -3, not 0 to 30"),
        ("images", {"image_id": "same"}, "appears twice"),
        ("images", {"image_id": None}, "empty in row 1"),
        ("images", {"lon": "here"}, "no number"),
        ("images", {"lat": np.inf}, "infinite in row 1"),
    ],
)
def test_rules_name_the_row(table: str, change: dict[str, object], message: str) -> None:
    with pytest.raises(AreaError, match=message):
        conform(table, _images(None, None).assign(**change))


def test_unknown_and_missing_columns() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'caption'"):
        conform("captions", pd.DataFrame({"captions": ["x"]}))
    with pytest.raises(AreaError, match="'image_id' is missing"):
        conform("images", pd.DataFrame({"view": ["street"]}))


def test_one_indicator_has_one_unit() -> None:
    frame = pd.DataFrame(
        {"region_id": ["a", "b"], "indicator": "x", "value": [1.0, None], "unit": ["m", "km"], "source": "s"}
    )
    with pytest.raises(AreaError, match="2 units"):
        conform("indicators", frame)


def test_missing_is_not_zero() -> None:
    frame = pd.DataFrame({"region_id": ["a", "b"], "indicator": "x", "value": [0.0, None], "unit": "m", "source": "s"})
    conformed = conform("indicators", frame)
    assert conformed["value"][0] == 0.0
    assert np.isnan(conformed["value"][1])


def test_a_crossed_polygon_is_named() -> None:
    crossed = Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])
    with pytest.raises(AreaError, match=r"'a' \(row 1\) is not valid: Self-intersection"):
        conform("regions", gpd.GeoDataFrame({"region_id": ["a"]}, geometry=[crossed], crs=4326))


def test_degrees_that_are_none_are_named(tmp_path: Path) -> None:
    squares = [Polygon([(x, 0), (x + 1, 0), (x + 1, 1)]) for x in (0, 500_000)]
    frame = gpd.GeoDataFrame({"region_id": ["a", "b"]}, geometry=squares, crs=4326)
    frame.to_parquet(tmp_path / "regions.parquet")
    with pytest.raises(AreaError, match=r"regions: \(500000, 0\) are no degrees, in row 2"):
        read_regions(tmp_path / "regions.parquet")


def test_empty_tables_have_their_columns() -> None:
    for table in TABLES.values():
        assert empty(table).columns.tolist() == table.names


def test_a_table_that_says_too_many_rows_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few bytes can say a billion rows: how many there are is asked first."""
    path = tmp_path / "triples.parquet"
    pq.write_table(pa.table({name: pa.array(["a"] * 1000) for name in ("head", "relation", "tail")}), path)
    monkeypatch.setattr("chorograph.ground.files.MAX_ROWS", 999)
    with pytest.raises(AreaError, match="says that it holds 1,000 rows, and such a table has 999 at most"):
        read_parquet(path, "triples")
