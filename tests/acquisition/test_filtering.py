"""Filtering an area: what is left out is listed with its reason, and the area that stands keeps every byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
from PIL import Image
from shapely.geometry import box

from chorograph.area.check import check_area
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.ground.errors import ChorographError
from chorograph.ground.settings import configure
from chorograph.ground.stage import Outcome, fingerprint, silent
from chorograph.verbs.table import get_verb


@pytest.fixture
def area(tmp_path: Path) -> Path:
    ids = ["land", "sea", "coast"]
    with AreaDraft(tmp_path / "area", name="area") as draft:
        regions = gpd.GeoDataFrame({"region_id": ids}, geometry=[box(k, 0, k + 1, 1) for k in range(3)], crs=4326)
        draft.write("regions", regions)
        rows = []
        for k, name in enumerate(ids):
            picture = tmp_path / f"{name}.png"
            Image.new("RGB", (8, 8), (k, 0, 0)).save(picture)
            uri, sha256 = draft.add_image(name, picture)
            rows.append({"image_id": name, "region_id": name, "view": "satellite", "uri": uri, "sha256": sha256})
        draft.write("images", pd.DataFrame(rows).assign(source="s", licence="l"))
        texts = {"land": "Oceanside houses.", "sea": "Nothing.", "coast": "A beach by the Ocean."}
        captions = [
            {"caption_id": k, "image_id": k, "rank": 0, "caption": v, "origin": "human"} for k, v in texts.items()
        ]
        draft.write("captions", pd.DataFrame(captions))
        values = {"people": [5.0, 0.0, 0.0], "carbon": [1.0, 0.0, None]}
        parts = [
            pd.DataFrame({"region_id": ids, "indicator": name, "value": value, "unit": "x", "source": "s"})
            for name, value in values.items()
        ]
        draft.write("indicators", pd.concat(parts))
    return tmp_path / "area"


def _filter(area: Path, **asked: Any) -> Outcome:
    verb = get_verb("area filter")
    return verb(configure(verb.settings, {"area": area, "out": area.parent / "rest", **asked}), silent)


def test_all_zero_is_left_out_and_missing_is_not_zero(area: Path) -> None:
    before = fingerprint(area)
    outcome = _filter(area, all_zero=["people", "carbon"])
    rest = Area.open(area.parent / "rest")
    assert list(rest.regions["region_id"]) == ["land", "coast"] and list(rest.images["image_id"]) == ["land", "coast"]
    assert set(rest.indicators["region_id"]) == {"land", "coast"}
    assert check_area(rest) == []
    assert fingerprint(area) == before
    removed = pd.read_parquet(area.parent / "rest" / "removed.parquet")
    assert removed.to_numpy().tolist() == [
        ["region", "sea", "people, carbon all 0"],
        ["image", "sea", "region sea is left out"],
    ]
    assert outcome.manifest["dropped"]["row of regions"] == 1
    assert _filter(area, all_zero=["people", "carbon"]).skipped


def test_a_word_in_a_caption_is_a_whole_word(area: Path) -> None:
    _filter(area, caption_word=["ocean"])
    rest = Area.open(area.parent / "rest")
    assert list(rest.images["image_id"]) == ["land", "sea"] and len(rest.regions) == 3
    assert set(rest.captions["image_id"]) == {"land", "sea"}


@pytest.mark.parametrize(
    ("asked", "message"),
    [({}, "--all-zero"), ({"all_zero": ["gdp"]}, "gdp"), ({"caption_word": ["moon"]}, "nothing of")],
)
def test_what_cannot_be_filtered_is_said(area: Path, asked: dict[str, Any], message: str) -> None:
    with pytest.raises(ChorographError, match=message):
        _filter(area, **asked)
    assert not (area.parent / "rest").exists()
