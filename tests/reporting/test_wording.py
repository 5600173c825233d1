from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chorograph.ground.files import read_json
from chorograph.prediction.judging.scores import Scores
from chorograph.prediction.profile import read_scores
from chorograph.reporting.numbers import Quantity
from chorograph.reporting.run import read_run
from chorograph.reporting.wording import headline, indicator_title, interval_text, split_text, verdict

Make = Callable[..., Any]

QUANTITY = Quantity("m2", 0)


@pytest.fixture
def scores(tmp_path: Path, make_run: Make) -> Make:
    """Return a maker of scores: the usual ones with the changes asked for."""

    def make(**changes: Any) -> Scores:
        run = make_run(tmp_path / str(len(list(tmp_path.iterdir()))), "nowhere", **changes)
        return next(iter(read_scores(read_json(run / "scores.json"), "scores.json").values()))

    return make


def test_the_headline_says_how_good_it_is(scores: Make) -> None:
    text = headline(scores(), QUANTITY).replace("\u00a0", " ")
    assert text == (
        "The model explains 81 % of the variation in regions it has not seen; the typical error is 30 m2 (mean "
        "absolute error); the 90 % intervals contained 91 % of the held-out truths."
    )


def test_the_headline_does_not_flatter(scores: Make, make_row: Make) -> None:
    useless = headline(scores(rows=[make_row("gp", "model", -0.2)], leaky=True), QUANTITY)
    assert "explains none of the variation" in useless
    assert "it has seen their neighbours" in useless


@pytest.mark.parametrize(
    ("rival", "tone", "said"),
    [(0.6, "good", "Beats"), (0.78, "unclear", "not by more than chance"), (0.81, "bad", "Does not beat")],
)
def test_the_verdict_is_plain(scores: Make, rival: float, tone: str, said: str, make_row: Make) -> None:
    rows = [make_row("gp", "model", 0.81), make_row("location", "baseline", rival), make_row("m", "baseline", -0.1)]
    found = verdict(scores(rows=rows), QUANTITY)
    assert found.tone == tone
    assert said in found.text
    assert "location" in found.text


def test_a_baseline_ahead_by_mae_is_admitted_and_the_ceiling_told(scores: Make, make_row: Make) -> None:
    near = {"r2": [0.5, 0.4, 0.6], "mae": [12.0, 9.0, 14.0]}
    blank = {"r2": [0.9, None, None], "mae": [None, None, None]}
    rows = [make_row("gp", "model", 0.81), make_row("location", "baseline", 0.5, own=near)]
    rows.append(make_row("attainable", "attainable", 0.9, n=None, fitted=blank, own={}))
    found = verdict(scores(rows=rows), QUANTITY).text.replace("\u00a0", " ")
    assert "By mean absolute error the baseline is ahead (12 m2 against 30 m2)" in found
    assert "best attainable R² here is 0.90" in found


def test_indicator_titles_are_words(scores: Make) -> None:
    assert indicator_title(scores(indicator="price_median_usd", unit="USD")) == "Price median"
    assert indicator_title(scores(per="population")) == "Floor space per population"
    assert indicator_title(scores(per="population", unit="share of population")) == "Floor space"


def test_every_split_is_explained() -> None:
    block = split_text({"name": "spatial_block", "block_m": 6000, "buffer_m": 500, "folds": 5}).replace("\u00a0", " ")
    assert "6 km a side" in block
    assert "500 m" in block
    assert "Whole groups" in split_text({"name": "leave_group_out"})
    assert "(published)" in split_text({"name": "given:published"})
    assert "too good" in split_text({"name": "random", "folds": 5})


def test_intervals_that_fail_their_promise_are_called_too_narrow(
    tmp_path: Path, make_run: Make, make_row: Make
) -> None:
    rows = [make_row("gp", "model", 0.5, coverage=[0.7, 0.6, 0.8])]
    assert "too narrow" in interval_text(read_run(make_run(tmp_path / "run", "nowhere", rows=rows)))
