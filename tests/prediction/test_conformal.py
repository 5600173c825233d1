"""Conformal intervals against MAPIE, and against their promise of coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapie.regression import ConformalizedQuantileRegressor, SplitConformalRegressor
from scipy.stats import norm
from sklearn.base import BaseEstimator, RegressorMixin

from chorograph.prediction.judging.intervals import METHODS, conformal_intervals, conformal_quantile, shift_weights


class _Column(RegressorMixin, BaseEstimator):
    """Predicts one column of X: MAPIE takes no out-of-fold predictions, so it is handed them as features."""

    def __init__(self, column: int = 0) -> None:
        self.column = column

    def fit(self, X: np.ndarray, y: np.ndarray) -> _Column:
        self.n_features_in_ = 3
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(X)[:, self.column]


def _given(column: int = 0) -> _Column:
    return _Column(column).fit(np.zeros((1, 3)), np.zeros(1))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), number=st.integers(20, 80), level=st.sampled_from([0.8, 0.9]))
def test_cross_and_split_equal_mapie(seed: int, number: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    target, predicted = rng.normal(size=number), rng.normal(size=number)
    new = rng.normal(size=7)
    mapie = SplitConformalRegressor(_given(), confidence_level=level, prefit=True)
    mapie.conformalize(predicted[:, None], target)
    expected = mapie.predict_interval(new[:, None])[1][:, :, 0]
    # Rows of fold 0 are calibrated on all of fold 1, whichever of the two methods.
    fold = np.r_[np.ones(number, dtype=int), np.zeros(7, dtype=int)]
    both = np.r_[target, np.zeros(7)], np.r_[predicted, new], np.ones(number + 7)
    for method in ("cross", "split"):
        lower, upper = conformal_intervals(*both, fold, level, method)
        assert np.allclose(lower[number:], expected[:, 0])
        assert np.allclose(upper[number:], expected[:, 1])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), level=st.sampled_from([0.8, 0.9]))
def test_quantile_equals_mapie(seed: int, level: float) -> None:
    rng = np.random.default_rng(seed)
    target, predicted, scale = rng.normal(size=60), rng.normal(size=60), rng.uniform(0.2, 1, 60)
    reach = norm.ppf(0.5 + level / 2) * scale
    X = np.stack([predicted - reach, predicted + reach, predicted], axis=1)
    mapie = ConformalizedQuantileRegressor([_given(0), _given(1), _given(2)], confidence_level=level, prefit=True)
    mapie.conformalize(X[:50], target[:50])
    expected = mapie.predict_interval(X[50:], symmetric_correction=True)[1][:, :, 0]
    fold = np.r_[np.ones(50, dtype=int), np.zeros(10, dtype=int)]
    lower, upper = conformal_intervals(target, predicted, scale, fold, level, "quantile")
    assert np.allclose(lower[50:], expected[:, 0])
    assert np.allclose(upper[50:], expected[:, 1])


def test_equal_weights_change_nothing() -> None:
    rng = np.random.default_rng(0)
    scores = rng.exponential(size=83)
    plain = conformal_quantile(scores, 0.9)
    assert np.allclose(conformal_quantile(scores, 0.9, np.full(83, 3.0), np.full(4, 3.0)), plain)


def test_too_few_residuals_give_infinite_bounds() -> None:
    target, fold = np.zeros(12), np.r_[np.zeros(3, dtype=int), np.ones(9, dtype=int)]
    lower, upper = conformal_intervals(target, target, np.ones(12), fold, 0.95)
    assert np.isinf(lower).all()
    assert np.isinf(upper).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("level", [0.8, 0.9])
def test_coverage_is_nominal_on_exchangeable_rows(level: float, method: str) -> None:
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.3, 3, 3000)
    target, fold = scale * rng.normal(size=3000), rng.integers(0, 5, 3000)
    lower, upper = conformal_intervals(target, np.zeros(3000), scale, fold, level, method)
    assert abs(np.mean((target >= lower) & (target <= upper)) - level) < 0.02


def test_weights_keep_coverage_where_the_covariates_shift() -> None:
    rng = np.random.default_rng(3)
    # Errors grow with x; new rows lie where x is large, so unweighted residuals are too small for them.
    x = np.r_[rng.uniform(0, 1, 4000), rng.beta(3, 1, 2000)]
    target = x * rng.normal(size=6000)
    fold = np.r_[rng.integers(0, 5, 4000), np.full(2000, -1)]
    known = np.where(fold >= 0, target, np.nan)
    fixed = known, np.zeros(6000), np.ones(6000), fold, 0.9
    shares = []
    for weigh in (None, shift_weights(x[:, None])):
        lower, upper = conformal_intervals(*fixed, "cross", weigh)
        shares.append(np.mean((target >= lower)[4000:] & (target <= upper)[4000:]))
    assert shares[0] < 0.86
    # The logistic regression can only come near the true ratio, 3 x^2.
    assert abs(shares[1] - 0.9) < 0.03


def test_a_fold_never_decides_its_own_interval() -> None:
    rng = np.random.default_rng(1)
    target, fold = rng.normal(size=200), np.repeat(np.arange(5), 40)
    wild = np.where(fold == 2, target * 100, target)
    for method in METHODS:
        before = conformal_intervals(target, np.zeros(200), np.ones(200), fold, 0.9, method)
        after = conformal_intervals(wild, np.zeros(200), np.ones(200), fold, 0.9, method)
        assert np.array_equal(before[0][fold == 2], after[0][fold == 2])
        assert not np.array_equal(before[0][fold != 2], after[0][fold != 2])


def test_unlabelled_rows_use_every_fold() -> None:
    rng = np.random.default_rng(2)
    target = np.r_[rng.normal(size=100), np.nan]
    fold = np.r_[np.repeat(np.arange(5), 20), -1]
    lower, upper = conformal_intervals(target, np.zeros(101), np.ones(101), fold, 0.9)
    half = np.sort(np.abs(target[:100]))[int(np.ceil(101 * 0.9)) - 1]
    assert np.isclose(upper[-1], half)
    assert np.isclose(lower[-1], -half)


def test_regions_predicted_from_less_do_not_widen_the_others() -> None:
    rng = np.random.default_rng(0)
    poor = np.arange(2000) % 4 == 0
    target = rng.normal(0, np.where(poor, 10.0, 1.0))
    fold, basis = np.arange(2000) // 4 % 5, np.where(poor, "location", "image+location").astype(object)
    nothing = np.zeros(2000), np.ones(2000), fold
    lower, upper = conformal_intervals(target, *nothing, 0.9, basis=basis)
    together = conformal_intervals(target, *nothing, 0.9)
    inside = (lower <= target) & (target <= upper)
    assert np.allclose([inside[poor].mean(), inside[~poor].mean()], 0.9, atol=0.02)
    assert ((together[0] <= target) & (target <= together[1]))[~poor].mean() > 0.98
    # Each kind on its own is the plain interval of its rows.
    alone = conformal_intervals(target[poor], *(values[poor] for values in nothing), 0.9)
    np.testing.assert_array_equal(upper[poor], alone[1])


def test_a_kind_too_rare_for_the_level_borrows_from_all() -> None:
    target, fold = np.linspace(-1, 1, 100), np.arange(100) % 5
    basis = np.where(np.arange(100) < 3, "few", "many").astype(object)
    lower, upper = conformal_intervals(target, np.zeros(100), np.ones(100), fold, 0.9, basis=basis)
    assert np.isfinite([lower, upper]).all()
