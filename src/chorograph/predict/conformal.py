"""Intervals from our own out-of-fold residuals, by MAPIE's split conformal regressor."""

from __future__ import annotations

from typing import Self

import numpy as np
from mapie.regression import SplitConformalRegressor
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin

Vector = NDArray[np.float64]


class _Given(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Predicts its only column: MAPIE takes no out-of-fold predictions, so it is handed them as features."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Do nothing but say that it is fitted."""
        self.n_features_in_ = 1
        return self

    def predict(self, X: ArrayLike) -> Vector:
        """Return the column that was given."""
        return np.asarray(X, dtype=np.float64)[:, 0]


def split_conformal(
    target: Vector, predicted: Vector, scale: Vector, new_predicted: Vector, new_scale: Vector, level: float
) -> tuple[Vector, Vector]:
    """Return (lower, upper) for new rows from the residuals of calibration rows.

    `scale` is how uncertain each prediction is said to be, in the target's unit (ones where the probe does not
    say): residuals are taken in that unit, so that intervals are wide where the probe is unsure (normalised
    conformal prediction, Papadopoulos et al. 2008). With n calibration rows the half-width is the
    ceil((n + 1) level)-th smallest |residual| / scale, times the new row's scale. Infinite where
    n < level / (1 - level): too few residuals for any finite interval of that level.
    """
    # MAPIE raises at n <= 1 / (1 - level); the bound without finite-sample remedy is the infinite one.
    if len(target) <= 1 / (1 - level):
        return np.full(len(new_predicted), -np.inf), np.full(len(new_predicted), np.inf)
    mapie = SplitConformalRegressor(_Given().fit([[0.0]], [0.0]), confidence_level=level, prefit=True)
    mapie.conformalize((predicted / scale)[:, None], target / scale)
    _, intervals = mapie.predict_interval((new_predicted / new_scale)[:, None])
    return intervals[:, 0, 0] * new_scale, intervals[:, 1, 0] * new_scale


def cross_conformal(
    target: Vector, predicted: Vector, scale: Vector, fold: NDArray[np.int64], level: float
) -> tuple[Vector, Vector]:
    """Return (lower, upper) of every row: tested rows from the other folds' residuals, all others from every fold's.

    `target` is NaN where there is no label; `fold` is -1 for rows that no fold tests. A tested row's own fold never
    decides its interval, so the share of truths inside is a fair measure of coverage.
    """
    lower, upper = np.full(len(target), np.nan), np.full(len(target), np.nan)
    known = (fold >= 0) & np.isfinite(target) & np.isfinite(predicted)
    folds = np.unique(fold[known])
    for number in [*folds.tolist(), -1]:
        rows = (fold == number) & np.isfinite(predicted)
        # A single given test fold has no other fold to learn from: it is calibrated on itself, and the caller says so.
        others = known & (fold != number) if len(folds) > 1 or number == -1 else known
        if rows.any():
            lower[rows], upper[rows] = split_conformal(
                target[others], predicted[others], scale[others], predicted[rows], scale[rows], level
            )
    return lower, upper
