from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from chorograph.metrics.regression import METRICS, BlockBootstrap, Estimate, mae, r2, rmse, spearman

REFERENCES = {
    "r2": r2_score,
    "rmse": root_mean_squared_error,
    "mae": mean_absolute_error,
    "spearman": lambda target, predicted: spearmanr(target, predicted).statistic,
}


@pytest.mark.parametrize("name", METRICS)
@given(seed=st.integers(0, 1000), size=st.integers(5, 40), ties=st.booleans())
def test_metrics_equal_the_reference_also_when_resampled(name: str, seed: int, size: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    target, predicted = rng.normal(size=size), rng.normal(size=size)
    if ties:
        target, predicted = np.round(target), np.round(predicted)
    weight = rng.multinomial(size, np.full(size, 1 / size), size=3).astype(float)
    ours = METRICS[name](target, predicted, weight)
    for row, count in enumerate(weight):
        drawn = np.repeat(np.arange(size), count.astype(int))
        if np.ptp(target[drawn]) == 0 or np.ptp(predicted[drawn]) == 0:
            continue
        assert np.isclose(ours[row], REFERENCES[name](target[drawn], predicted[drawn]), atol=1e-8)


def test_worked_values() -> None:
    target, predicted, ones = np.array([1.0, 2, 3, 4]), np.array([1.1, 1.9, 3.2, 3.7]), np.ones(4)
    assert np.isclose(r2(target, predicted, ones), 0.97)
    assert np.isclose(rmse(target, predicted, ones), 0.193649, atol=1e-6)
    assert np.isclose(mae(target, predicted, ones), 0.175)
    assert np.isclose(spearman(target, predicted, ones), 1.0)


def test_a_target_that_does_not_vary_has_no_r2() -> None:
    assert np.isnan(r2(np.full(5, 0.1), np.arange(5.0), np.ones(5)))


def test_blocks_widen_the_interval() -> None:
    # Ten blocks of twenty equal rows hold ten facts, not two hundred.
    rng = np.random.default_rng(0)
    target = np.repeat(rng.normal(size=10), 20)
    predicted = target + np.repeat(rng.normal(size=10), 20)
    bootstrap = BlockBootstrap(replicates=500)
    by_block = bootstrap.estimate(rmse, target, predicted, np.repeat(np.arange(10), 20))
    by_row = bootstrap.estimate(rmse, target, predicted, np.arange(200))
    assert by_block.value == by_row.value
    assert by_block.lower < by_block.value < by_block.upper
    assert by_block.upper - by_block.lower > 2 * (by_row.upper - by_row.lower)


def test_one_block_has_no_interval() -> None:
    estimate = BlockBootstrap().estimate(rmse, np.arange(4.0), np.zeros(4), np.zeros(4, dtype=np.int64))
    assert estimate.as_list()[1:] == [None, None]


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_numbers_are_told_in_any_unit(unit: float) -> None:
    listed = Estimate(1.2345678 * unit, 1.1 * unit, np.nan).as_list()
    assert listed[0] == pytest.approx(1.234568 * unit, rel=1e-6)
    assert listed[1:] == [pytest.approx(1.1 * unit), None]
    # Rounding noise beside a real interval is zero.
    assert Estimate(1e-17, -0.2, 0.3).as_list() == [0.0, -0.2, 0.3]
