"""Kriging of a probe's residuals: what imagery leaves unexplained is carried over from the neighbourhood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.model_selection import cross_val_predict
from sklearn.utils.validation import check_is_fitted, validate_data

from chorograph.prediction.probes.inner import InnerFolds
from chorograph.prediction.probes.processes.scaling import ScalingProcess


class Kriged(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A probe plus a Gaussian process on location of its residuals (regression kriging, Hengl et al. 2007).

    The residuals are those of inner out-of-fold predictions: a probe of a thousand columns leaves none in-sample, and
    kriging would find nothing to carry over. Their covariance is sill x exp(-distance / range) + nugget, the three
    found by marginal likelihood times the weak priors of `GaussianProcess`, so a field that is not there fades away.
    The probe itself is then fitted on all rows. A new region's prediction is the probe's plus the kriged residual; its
    standard deviation is the kriging one, whose nugget holds the probe's own error.

    `columns` names the columns of each modality; without `location` among them the residuals have no place, and give
    the standard deviation alone. Takes O(n³) time in the number of training rows. Fitted: `base_`, `residual_`
    (n,), `field_`.
    """

    #: Tells `cross_fit` that `predict` knows how uncertain it is.
    gives_std = True

    def __init__(
        self,
        base: Any,
        columns: Mapping[str, slice] | None = None,
        block_m: float | None = None,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.base = base
        self.columns = columns
        self.block_m = block_m
        self.folds = folds
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,)."""
        rows, target = validate_data(self, X, y, dtype=(np.float64, np.float32), y_numeric=True, ensure_min_samples=3)
        location = self._location()
        inner = InnerFolds(location, self.block_m, self.folds, self.seed)
        self.residual_ = target - cross_val_predict(self.base, rows, target, cv=inner)
        self.base_ = clone(self.base).fit(rows, target)
        self.field_ = None
        if location is not None:
            self.field_ = ScalingProcess({"location": slice(0, None)}).fit(rows[:, location], self.residual_)
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Return predictions (n,), and with `return_std` the standard deviation of a new label at each row."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        field, std = self._field(rows)
        mean = np.asarray(self.base_.predict(rows)) + field
        return (mean, std) if return_std else mean

    def _location(self) -> slice | None:
        return (self.columns or {}).get("location")

    def _field(self, rows: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.field_ is not None:
            mean, std = self.field_.predict(rows[:, self._location()], return_std=True)
            return mean, std
        ones = np.ones(len(rows))
        return 0.0 * ones, float(np.sqrt(np.mean(self.residual_**2))) * ones
