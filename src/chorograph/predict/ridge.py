"""Ridge regression over a path of penalties, in closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin

_PENALTIES = tuple(10.0**power for power in np.arange(-3, 6.01, 0.25))


class RidgePath(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Ridge whose penalty is the one of `penalties` with the least leave-one-out error on the training rows.

    One singular value decomposition serves the whole path: with X = U S V', the fit at penalty a has residuals
    e = y - U diag(s² / (s² + a)) U'y, and leaving row i out gives e_i / (1 - 1/n - sum_j u_ij² s_j² / (s_j² + a))
    (Hastie, Tibshirani, Friedman 2009, eq. 7.52). Columns are standardised; with `groups`, each group of columns
    (a modality) is then divided by the root of its width, so that a wide one does not drown a narrow one.

    Fitted: `coef_`, `intercept_`, `penalty_`, `loo_error_` (mean squared, one a penalty).
    """

    def __init__(self, penalties: Sequence[float] = _PENALTIES, groups: Mapping[str, slice] | None = None) -> None:
        self.penalties = penalties
        self.groups = groups

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,)."""
        rows, target = np.asarray(X, dtype=np.float64), np.asarray(y, dtype=np.float64)
        self.mean_, spread = rows.mean(0), rows.std(0)
        width = np.ones(rows.shape[1])
        for columns in (self.groups or {}).values():
            width[columns] = np.sqrt(max(len(width[columns]), 1))
        # A constant column carries nothing; dividing by 1 keeps it at zero.
        self.scale_ = np.where(spread > 1e-12, spread, 1.0) * width
        U, s, Vt = np.linalg.svd((rows - self.mean_) / self.scale_, full_matrices=False)
        self.intercept_ = float(target.mean())
        centred = target - self.intercept_
        projected = U.T @ centred
        self.loo_error_ = np.array([_loo(U, s, projected, centred, penalty) for penalty in self.penalties])
        self.penalty_ = float(self.penalties[int(np.argmin(self.loo_error_))])
        self.coef_ = (Vt.T @ (s / (s**2 + self.penalty_) * projected)) / self.scale_
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return predictions (n,) for X (n, d)."""
        return np.asarray((np.asarray(X, dtype=np.float64) - self.mean_) @ self.coef_ + self.intercept_)


def _loo(U: Any, s: Any, projected: Any, centred: Any, penalty: float) -> float:
    shrink = s**2 / (s**2 + penalty)
    residual = centred - U @ (shrink * projected)
    leverage = 1 / len(centred) + (U**2) @ shrink
    return float(np.mean((residual / np.maximum(1 - leverage, 1e-9)) ** 2))
