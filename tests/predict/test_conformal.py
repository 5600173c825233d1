from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorograph.predict.conformal import cross_conformal, split_conformal


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 1000), number=st.integers(20, 80), level=st.sampled_from([0.8, 0.9]))
def test_equals_the_quantile_written_out(seed: int, number: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    target, predicted, scale = rng.normal(size=number), rng.normal(size=number), rng.uniform(0.5, 2, number)
    new, new_scale = rng.normal(size=7), rng.uniform(0.5, 2, 7)
    lower, upper = split_conformal(target, predicted, scale, new, new_scale, level)
    scores = np.sort(np.abs(target - predicted) / scale)
    half = scores[int(np.ceil((number + 1) * level)) - 1] * new_scale
    assert np.allclose(lower, new - half)
    assert np.allclose(upper, new + half)


def test_too_few_residuals_give_infinite_bounds() -> None:
    few = np.zeros(9)
    lower, upper = split_conformal(few, few, np.ones(9), np.zeros(2), np.ones(2), 0.9)
    assert np.isinf(lower).all()
    assert np.isinf(upper).all()


@pytest.mark.parametrize("level", [0.8, 0.9])
def test_coverage_is_nominal_on_exchangeable_rows(level: float) -> None:
    rng = np.random.default_rng(0)
    target, fold = rng.normal(size=3000), rng.integers(0, 5, 3000)
    lower, upper = cross_conformal(target, np.zeros(3000), np.ones(3000), fold, level)
    assert abs(np.mean((target >= lower) & (target <= upper)) - level) < 0.02


def test_a_fold_never_decides_its_own_interval() -> None:
    rng = np.random.default_rng(1)
    target, fold = rng.normal(size=200), np.repeat(np.arange(5), 40)
    before = cross_conformal(target, np.zeros(200), np.ones(200), fold, 0.9)
    wild = np.where(fold == 2, target * 100, target)
    after = cross_conformal(wild, np.zeros(200), np.ones(200), fold, 0.9)
    assert np.array_equal(before[0][fold == 2], after[0][fold == 2])
    assert not np.array_equal(before[0][fold != 2], after[0][fold != 2])


def test_unlabelled_rows_use_every_fold() -> None:
    rng = np.random.default_rng(2)
    target = np.r_[rng.normal(size=100), np.nan]
    fold = np.r_[np.repeat(np.arange(5), 20), -1]
    lower, upper = cross_conformal(target, np.zeros(101), np.ones(101), fold, 0.9)
    half = np.sort(np.abs(target[:100]))[int(np.ceil(101 * 0.9)) - 1]
    assert np.isclose(upper[-1], half)
    assert np.isclose(lower[-1], -half)
