"""A Gaussian process for any number of rows: exact while that can be borne, on inducing rows beyond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from chorograph.ground.arrays import Matrix
from chorograph.ground.errors import InputError
from chorograph.prediction.probes.processes.exact import GaussianProcess
from chorograph.prediction.probes.processes.sparse import SparseGaussianProcess

#: Above this many training rows an exact Gaussian process takes minutes a fold and gigabytes.
MOST_FOR_EXACT = 3000


class ScalingProcess(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """`GaussianProcess` for up to `most` training rows, `SparseGaussianProcess` for more. Fitted: `process_`."""

    #: Tells `cross_fit` that `predict` knows how uncertain it is.
    gives_std = True

    def __init__(self, groups: Mapping[str, slice] | None = None, most: int = MOST_FOR_EXACT, seed: int = 0) -> None:
        self.groups = groups
        self.most = most
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,) or (n, k)."""
        number = X.shape[0] if hasattr(X, "shape") and len(X.shape) else len(np.atleast_1d(np.asarray(X)))
        exact = number <= self.most
        self.process_ = GaussianProcess(self.groups) if exact else SparseGaussianProcess(self.groups, seed=self.seed)
        self.process_.fit(X, y)
        self.n_features_in_ = self.process_.n_features_in_
        if hasattr(self.process_, "feature_names_in_"):
            self.feature_names_in_ = self.process_.feature_names_in_
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Return predictions, and with `return_std` the standard deviation of a new label at each row."""
        check_is_fitted(self)
        return self.process_.predict(X, return_std=return_std)

    def fit_unseen(self, X: ArrayLike, y: ArrayLike, folds: Sequence[tuple[Any, Any]]) -> Matrix:
        """Fit, and return what the training rows would be predicted as without their fold, at the same kernels."""
        return self.fit(X, y).process_.held_out(folds)

    def posterior(self, X: ArrayLike) -> tuple[Matrix, float]:
        """Return the posterior covariance at rows X and the noise variance; `InputError` where it is not exact."""
        check_is_fitted(self)
        if not isinstance(self.process_, GaussianProcess):
            raise InputError(
                f"more than {self.most} training regions: the Gaussian process rests on inducing rows, which tell no "
                "covariance between regions; leave --suggest away"
            )
        return self.process_.posterior(X)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
