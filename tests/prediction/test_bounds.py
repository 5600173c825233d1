"""A share stays within 0 and 1, a count above 0; and no truth is cut off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chorograph.prediction.judging.bounds import Bounds


@pytest.mark.parametrize(
    ("unit", "labels", "low", "high"),
    [
        ("share of population", [0.1, 0.9], 0, 1),
        ("share of population", [0.1, 1.4], 0, np.inf),  # more of it than of its denominator
        ("%", [0.0, 61.5], 0, 100),
        ("%", [12.0, 140.0], 0, np.inf),  # growth, say
        ("%", [-3.0, 10.0], -np.inf, np.inf),
        ("people", [0.0, 12_000.0], 0, np.inf),
        ("USD", [120.0, np.nan], 0, np.inf),
        ("°C", [2.0, 25.0], -np.inf, np.inf),
        ("deprivation (z-score)", [0.1, 0.2], -np.inf, np.inf),
        ("people", [np.nan], -np.inf, np.inf),
    ],
)
def test_bounds_follow_unit_and_labels(unit: str, labels: list[float], low: float, high: float) -> None:
    bounds = Bounds.of(unit, np.array(labels))
    assert (bounds.low, bounds.high) == (low, high)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(-2, 2), st.floats(0, 3))
def test_no_label_leaves_its_interval_and_no_error_grows(labels: list[float], middle: float, half: float) -> None:
    truth = np.array(labels)
    bounds = Bounds.of("share", truth)
    lower, upper = np.full(len(truth), middle - half), np.full(len(truth), middle + half)
    inside = (truth >= lower) & (truth <= upper)
    assert ((truth >= bounds.hold(lower)) & (truth <= bounds.hold(upper)))[inside].all()
    assert (np.abs(truth - bounds.hold(np.full(len(truth), middle))) <= np.abs(truth - middle)).all()


def test_missing_stays_missing() -> None:
    assert np.isnan(Bounds(0.0, 1.0).hold(np.array([np.nan]))).all()
