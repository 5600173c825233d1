"""Ridge regression over a path of penalties, in closed form."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from chorograph.ground.arrays import Matrix

_PENALTIES = tuple(10.0**power for power in np.arange(-3, 6.01, 0.25))
#: Rows taken to float64 at once: bounds the memory of large areas (32 MiB of 1,024 columns).
_CHUNK = 4096


class RidgePath(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge whose penalty is the one of `penalties` with the least leave-one-out error on the training rows.

    One eigendecomposition serves the whole path and any number of targets: with X = U S V' and P = X V = U S, the fit
    at penalty a has residuals e = y - P diag(1 / (s² + a)) P'y, and leaving row i out gives
    e_i / (1 - 1/n - sum_j p_ij² / (s_j² + a)) (Hastie, Tibshirani, Friedman 2009, eq. 7.52). V and s² are taken from
    X'X where there are more rows than columns, U and s² from XX' elsewhere: exact while penalties are far above 1e-16
    times the largest s². Rows may be float32 and are brought to float64 a chunk at a time. Columns are standardised;
    with `groups`, each group of columns (a modality) is then divided by the root of its width, so that a wide one does
    not drown a narrow one.

    Fitted: `coef_`, `intercept_`, `penalty_`, `loo_error_` (mean squared, one a penalty); with y of shape (n, k) each
    target has its own penalty, and these are (k, d), (k,), (k,) and (penalties, k).
    """

    def __init__(self, penalties: Sequence[float] = _PENALTIES, groups: Mapping[str, slice] | None = None) -> None:
        self.penalties = penalties
        self.groups = groups

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,), or (n, k) for k targets at the cost of little more than one."""
        rows, target = validate_data(self, X, y, dtype=(np.float64, np.float32), multi_output=True, y_numeric=True)
        targets = np.asarray(target, dtype=np.float64).reshape(len(rows), -1)
        self.mean_, self.scale_ = self._scales(rows)
        centre = targets.mean(0)
        squares, axes, projected = _decompose(rows, self.mean_, self.scale_, targets - centre)
        penalties = np.asarray(self.penalties, dtype=np.float64)
        shrink = 1 / (squares[:, None] + penalties)
        errors = np.zeros((len(penalties), targets.shape[1]))
        for part, z in _standardised(rows, self.mean_, self.scale_):
            errors += _loo_sums(z @ axes, targets[part] - centre, shrink, projected, len(rows))
        best = errors.argmin(0)
        coefficients = ((axes @ (shrink[:, best] * projected)) / self.scale_[:, None]).T
        single = np.ndim(target) == 1
        self.loo_error_ = errors[:, 0] / len(rows) if single else errors / len(rows)
        self.penalty_ = float(penalties[best[0]]) if single else penalties[best]
        self.intercept_ = float(centre[0]) if single else centre
        self.coef_ = coefficients[0] if single else coefficients
        return self

    def predict(self, X: ArrayLike) -> Matrix:
        """Return predictions for X (n, d): (n,), or (n, k) where k targets were fitted."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        parts = [(rows[part] - self.mean_) @ self.coef_.T for part in _chunks(len(rows))]
        return np.asarray(np.concatenate(parts) + self.intercept_)

    def _scales(self, rows: NDArray[Any]) -> tuple[Matrix, Matrix]:
        """Return the mean of each column, and what it is divided by."""
        mean = sum(rows[part].sum(0, dtype=np.float64) for part in _chunks(len(rows))) / len(rows)
        spread = np.sqrt(sum(((rows[part] - mean) ** 2).sum(0) for part in _chunks(len(rows))) / len(rows))
        width = np.ones(rows.shape[1])
        for columns in (self.groups or {}).values():
            width[columns] = np.sqrt(max(len(width[columns]), 1))
        # A constant column carries nothing; dividing by 1 keeps it at zero.
        return np.asarray(mean), np.where(spread > 1e-12, spread, 1.0) * width

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _decompose(
    rows: NDArray[Any], mean: Matrix, scale: Matrix, centred: Matrix
) -> tuple[NDArray[np.float64], Matrix, Matrix]:
    """Return s² (r,), V (d, r) and P'y (r, k) of the standardised rows, r = min(n, d)."""
    number, width = rows.shape
    if number > width:
        gram, moment = np.zeros((width, width)), np.zeros((width, centred.shape[1]))
        for part, z in _standardised(rows, mean, scale):
            gram += z.T @ z
            moment += z.T @ centred[part]
        squares, axes = np.linalg.eigh(gram)
        return np.maximum(squares, 0.0), axes, axes.T @ moment
    z = (rows - mean) / scale
    squares, left = np.linalg.eigh(z @ z.T)
    # Centring leaves one direction of no length, whose axis is anything: it gets none.
    lengths = np.sqrt(np.where(squares > 1e-15 * max(squares[-1], 1e-300), squares, 0.0))
    inverse = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return lengths**2, z.T @ (left * inverse), lengths[:, None] * (left.T @ centred)


def _loo_sums(P: Matrix, centred: Matrix, shrink: Matrix, projected: Matrix, number: int) -> Matrix:
    """Return the sums over these rows of squared leave-one-out residuals, (penalties, k)."""
    weights = shrink[:, :, None] * projected[:, None, :]
    fitted = (P @ weights.reshape(len(weights), -1)).reshape(len(P), shrink.shape[1], -1)
    kept = np.maximum(1 - 1 / number - P**2 @ shrink, 1e-9)
    return np.asarray((((centred[:, None, :] - fitted) / kept[:, :, None]) ** 2).sum(0))


def _standardised(rows: NDArray[Any], mean: Matrix, scale: Matrix) -> Iterator[tuple[slice, Matrix]]:
    for part in _chunks(len(rows)):
        yield part, (rows[part] - mean) / scale


def _chunks(number: int) -> list[slice]:
    return [slice(start, min(start + _CHUNK, number)) for start in range(0, number, _CHUNK)]
