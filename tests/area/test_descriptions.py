"""What an indicator is, said once."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
from shapely.geometry import box

from chorograph.area.descriptions import Description, parse_descriptions, read_descriptions, write_descriptions
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.ground.errors import AreaError, InputError, UnknownNameError


@pytest.fixture
def area(tmp_path: Path) -> Area:
    ids = ["a", "b"]
    with AreaDraft(tmp_path / "area", "two") as draft:
        draft.write(
            "regions", gpd.GeoDataFrame({"region_id": ids}, geometry=[box(0, 0, 1, 1), box(1, 0, 2, 1)], crs=4326)
        )
        rows = [
            {"region_id": r, "indicator": i, "value": 1.0, "unit": "u", "source": "t"} for r in ids for i in ("x", "y")
        ]
        draft.write("indicators", pd.DataFrame(rows))
    return Area.open(tmp_path / "area")


def test_what_was_said_is_kept_and_added_to(area: Area) -> None:
    assert read_descriptions(area) == {}
    write_descriptions(area, parse_descriptions(["x=scale:log,need:low", "y=title:Price per m², median"]) | {})
    write_descriptions(area, {"x": Description(per="y")})
    assert read_descriptions(area) == {
        "x": Description(scale="log", need="low", per="y"),
        "y": Description(title="Price per m², median"),
    }


def test_a_file_says_the_same(area: Area, tmp_path: Path) -> None:
    said = tmp_path / "said.toml"
    said.write_text('[x]\nscale = "log1p"\n[y]\nneed = "high"\n', encoding="utf-8")
    assert parse_descriptions([str(said)]) == {"x": Description(scale="log1p"), "y": Description(need="high")}


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["x"], InputError, "COLUMN=KEY:VALUE"),
        (["x=scale:cubic"], InputError, "scale is one of linear, log, log1p, logit, not 'cubic'"),
        (["x=scal:log"], UnknownNameError, "did you mean 'scale'"),
        (["z=need:low"], UnknownNameError, "no indicator of"),
        (["x=per:z"], UnknownNameError, "no indicator of"),
    ],
)
def test_what_cannot_be_meant(area: Area, words: list[str], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        write_descriptions(area, parse_descriptions(words))


@pytest.mark.parametrize("content", ["[x\n", "x = 3\n", '[x]\nneed = "perhaps"\n', "[x]\nscale = 3\n"])
def test_a_damaged_file_is_named(area: Area, content: str) -> None:
    (area.path / "indicators.toml").write_text(content, encoding="utf-8")
    with pytest.raises(AreaError, match=r"indicators\.toml"):
        read_descriptions(area)
