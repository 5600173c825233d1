"""Several indicators in one run: the same as one by one, and one that cannot be predicted costs no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.model_selection import GroupKFold, KFold

import chorograph as cg
from chorograph.area.descriptions import Description, write_descriptions
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import read_json
from chorograph.prediction.profile import read_scores

SIDE = 10


@pytest.fixture(scope="module")
def area(tmp_path_factory: pytest.TempPathFactory) -> Area:
    """A board of regions: two indicators of place, one with three labels, one constant, counts and people."""
    rng = np.random.default_rng(3)
    number = SIDE * SIDE
    ids = [f"r{k:02d}" for k in range(number)]
    x, y = np.arange(number) % SIDE, np.arange(number) // SIDE
    cells = [box(0.01 * a, 0.01 * b, 0.01 * (a + 1), 0.01 * (b + 1)) for a, b in zip(x, y, strict=True)]
    people = rng.integers(800, 1200, number).astype(float)
    people[4] = 0
    values = {
        "slope": (1.0 * x + rng.normal(0, 0.3, number), "m"),
        "rent": (np.exp(0.4 * y + rng.normal(0, 0.2, number)), "EUR"),
        "rare": (np.where(np.arange(number) < 3, 1.0 * x, np.nan), "m"),
        "same": (np.full(number, 7.0), "m"),
        "people": (people, "people"),
        "pupils": (people * (0.1 + 0.05 * x / SIDE + rng.normal(0, 0.005, number)), "people"),
    }
    values["rent"][0][::3] = np.nan
    share = np.clip(0.05 * x + rng.normal(0.3, 0.02, number), 0, 1)
    share[7] = 1.3
    values["online"] = (share, "share")
    rows = [
        pd.DataFrame({"region_id": ids, "indicator": name, "value": column, "unit": unit, "source": "made"})
        for name, (column, unit) in values.items()
    ]
    path = tmp_path_factory.mktemp("profile") / "board"
    with AreaDraft(path, "board") as draft:
        groups = [f"g{a // 2}" for a in x]
        draft.write("regions", gpd.GeoDataFrame({"region_id": ids, "group": groups}, geometry=cells, crs=4326))
        draft.write("indicators", pd.concat(rows))
    made = Area.open(path)
    write_descriptions(made, {"pupils": Description(per="people", title="Pupils", kind="share")})
    return made


def _predict(area: Area, **settings: Any) -> cg.Profile:
    return cg.predict(area, None, **{"block_m": 3000, "modalities": "location,shape", "probe": "ridge", **settings})


@pytest.mark.parametrize("probe", ["ridge", "gp"])
def test_several_are_predicted_as_each_alone(area: Area, probe: str) -> None:
    names = ["slope", "rent", "people"]
    together = _predict(area, indicator=names, probe=probe)
    for name in names:
        alone = _predict(area, indicator=name, probe=probe)[name]
        for column in ("predicted", "lower", "upper", "target"):
            assert np.allclose(together[name].frame[column], alone.frame[column], rtol=1e-9, equal_nan=True)
        for ours, theirs in zip(together[name].scores.rows, alone.scores.rows, strict=True):
            assert ours.name == theirs.name
            assert ours.r2 == pytest.approx(theirs.r2, abs=1e-9)


def test_without_a_name_all_are_predicted_as_described_and_bad_ones_left_out_by_reason(area: Area) -> None:
    profile = _predict(area)
    assert set(profile.indicators) == {"slope", "rent", "people", "pupils", "online"}
    assert "every label of 'same' is 7" in profile.left_out["same"]
    assert "rare" in profile.left_out
    assert profile["pupils"].scores.unit == "share of people"
    assert (profile["pupils"].scores.title, profile["pupils"].scores.kind) == ("Pupils", "share")
    assert profile["pupils"].scores.dropped == {"label without a positive people": 1}
    # Skewed and positive, and nobody said: its logarithm, and told.
    assert profile["rent"].scores.scale == "log"
    assert any("their logarithm is fitted" in warning for warning in profile["rent"].scores.warnings)
    assert profile["slope"].scores.scale == "linear"
    assert _predict(area, indicator="rent", scale="linear")["rent"].scores.scale == "linear"
    assert _predict(area, indicator="pupils", per="none")["pupils"].scores.unit == "people"


def test_a_share_above_one_is_no_share(area: Area) -> None:
    """As a logit its label is left out and counted; unscaled, what is not bounded by 1 is not cut there."""
    bounded = _predict(area, indicator="online", scale="logit")["online"]
    assert bounded.scores.dropped == {"label outside 0 to 1, which is no share": 1}
    assert bounded.frame[["predicted", "lower", "upper"]].max().max() <= 1
    assert bounded.frame[["predicted", "lower", "upper"]].min().min() >= 0
    assert _predict(area, indicator="online")["online"].scores.counts["labelled"] == SIDE**2


@pytest.mark.parametrize(
    ("indicator", "message"),
    [("same", "every label of 'same' is 7"), ("rare", "cannot fill"), (["same", "rare"], "no indicator")],
)
def test_alone_a_bad_one_is_an_error(area: Area, indicator: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        _predict(area, indicator=indicator)


def test_long_wide_scores_and_a_region(area: Area, tmp_path: Path) -> None:
    profile = _predict(area, indicator=["slope", "people"], out=tmp_path / "run")
    assert len(profile.frame) == 2 * SIDE**2
    assert list(profile.wide.columns[:4]) == ["region_id", "slope_target", "slope_predicted", "slope_lower"]
    assert np.array_equal(profile.wide["people_predicted"], profile["people"].frame["predicted"])
    assert set(profile.scores["indicator"]) == {"slope", "people"}
    assert list(profile.region("r07").index) == ["slope", "people"]
    with pytest.raises(UnknownNameError, match="r08"):
        profile.region("r008")
    with pytest.raises(UnknownNameError, match="did you mean 'slope'"):
        profile["slop"]
    assert len(repr(profile)) < 200
    assert "<table" in profile._repr_html_()
    picture = profile.map("people")
    svg = ElementTree.fromstring(picture._repr_svg_())  # noqa: S314 - our own text
    assert len(svg.findall(".//{*}path")) == SIDE**2
    assert picture.save(tmp_path / "map.svg").stat().st_size > 1000
    assert len(repr(picture)) < 100
    held = read_scores(read_json(tmp_path / "run" / "scores.json"), "scores.json")
    assert held["slope"].model.r2 == pytest.approx(profile["slope"].r2, abs=1e-6)
    assert len(gpd.read_file(tmp_path / "run" / "predictions.geojson")) == SIDE**2
    assert len(gpd.read_parquet(tmp_path / "run" / "predictions.parquet")) == 2 * SIDE**2


def test_any_estimator_and_any_splitter(area: Area) -> None:
    trees = ExtraTreesRegressor(50, random_state=0)
    profile = _predict(area, indicator="slope", probe=trees, split=GroupKFold(5))
    fold = profile.frame["fold"].to_numpy(int)
    group = area.regions["group"].to_numpy()
    assert all(len(set(fold[group == name])) == 1 for name in np.unique(group))
    assert _predict(area, indicator="slope", split=KFold(4, shuffle=True, random_state=0))["slope"].r2 > 0.9


def test_an_array_stands_in_for_embeddings(area: Area) -> None:
    vectors = np.random.default_rng(0).normal(size=(SIDE**2, 3))
    vectors[:, 0] = (
        area.indicators.query("indicator == 'slope'").set_index("region_id")["value"].loc[area.regions["region_id"]]
        + vectors[:, 0]
    )
    profile = cg.predict(area, vectors, indicator="slope", block_m=3000, modalities=["image"], probe="ridge")
    assert profile["slope"].r2 > 0.5
    with pytest.raises(InputError, match="a row for each of 100 regions"):
        cg.predict(area, vectors[:5], indicator="slope")
