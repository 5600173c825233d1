"""The score for unlabelled regions: folds at their distances, and coverage told by distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

import chorograph as cg
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area

SIDE, STEP = 14, 0.01


def _area(path: Path, hidden: np.ndarray, unit: str = "share") -> Area:
    """A chessboard of regions of about a kilometre whose label is a smooth field of place."""
    x, y = np.arange(SIDE * SIDE) % SIDE, np.arange(SIDE * SIDE) // SIDE
    field = 0.5 + 0.4 * np.sin(x / 2.5) * np.cos(y / 3.0)
    field += np.random.default_rng(0).normal(0, 0.05, len(field))
    value = np.where(hidden, np.nan, np.clip(field, 0, 1))
    ids = [f"r{k}" for k in range(len(x))]
    cells = [box(STEP * a, STEP * b, STEP * (a + 1), STEP * (b + 1)) for a, b in zip(x, y, strict=True)]
    table = pd.DataFrame({"region_id": ids, "indicator": "canopy", "value": value, "unit": unit, "source": "t"})
    with AreaDraft(path, "board") as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": ids}, geometry=cells, crs=4326))
        draft.write("indicators", table)
    return Area.open(path)


def _corner(size: int) -> np.ndarray:
    x, y = np.arange(SIDE * SIDE) % SIDE, np.arange(SIDE * SIDE) // SIDE
    return (x >= SIDE - size) & (y >= SIDE - size)


def _predict(area: Area, **settings: Any) -> cg.Profile:
    settings = {"indicator": "canopy", "block_m": 3000, "modalities": "location", "probe": "ridge", **settings}
    return cg.predict(area, None, **settings)


def test_a_second_score_is_told_where_regions_have_no_label(tmp_path: Path) -> None:
    result = _predict(_area(tmp_path / "area", _corner(6)))["canopy"]
    told = result.scores.unlabelled
    assert told["split"] == "distance_matched"
    assert told["r2"][0] < 1
    # A hidden corner lies further from labels than blocks of three regions do.
    assert told["use_m"][1] > 2000
    assert told["w_m"] < 0.5 * told["use_m"][1]
    assert told["r2"][0] < result.r2
    table = result.tables["intervals_by_distance"]
    assert table["regions"].sum() == result.scores.model.n
    assert table["unlabelled"].sum() == 36
    assert (table["coverage"] > 0.8).all()
    assert table["mean_width"].is_monotonic_increasing


def test_intervals_of_a_share_stay_within_it(tmp_path: Path) -> None:
    frame = _predict(_area(tmp_path / "area", _corner(6)))["canopy"].frame
    assert frame["lower"].min() >= 0
    assert frame["upper"].max() <= 1
    assert frame["predicted"].between(0, 1).all()


@pytest.mark.parametrize(("hidden", "settings"), [(_corner(3), {}), (_corner(6), {"unlabelled": False})])
def test_nothing_is_told_of_few_regions_or_where_not_asked(
    tmp_path: Path, hidden: np.ndarray, settings: dict[str, Any]
) -> None:
    assert _predict(_area(tmp_path / "area", hidden), **settings)["canopy"].scores.unlabelled == {}
