"""Gradient boosting on the leading components of each modality."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

_FEW_ROWS = 10_000


class ComponentBoosting(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """scikit-learn's histogram gradient boosting on at most `components` principal components of each group.

    Trees split on one column at a time, which a thousand correlated embedding columns and a few hundred regions do not
    bear. `location` is left as it is: blocks of the map are what trees find. Components are those of the standardised
    training rows. With y of shape (n, k) they are found once, and each target has its own trees.

    Fitted: `reduce_` (the components), `trees_` (one regressor a target).
    """

    def __init__(
        self,
        groups: Mapping[str, slice] | None = None,
        components: int = 20,
        trees: int = 150,
        lr: float = 0.05,
        leaves: int = 8,
        seed: int = 0,
    ) -> None:
        self.groups = groups
        self.components = components
        self.trees = trees
        self.lr = lr
        self.leaves = leaves
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,), or (n, k) for k targets."""
        rows, target = validate_data(
            self, X, y, dtype=(np.float64, np.float32), multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        self.single_ = np.ndim(target) == 1
        self.reduce_ = self._components(*rows.shape)
        reduced = self.reduce_.fit_transform(rows)
        targets = np.asarray(target, dtype=np.float64).reshape(len(rows), -1)
        with _threads(len(rows)):
            self.trees_ = [self._boosting(len(rows)).fit(reduced, column) for column in targets.T]
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return predictions for X (n, d): (n,), or (n, k) where k targets were fitted."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        reduced = self.reduce_.transform(rows)
        with _threads(len(rows)):
            predicted = np.stack([trees.predict(reduced) for trees in self.trees_], axis=1)
        return predicted[:, 0] if self.single_ else predicted

    def _components(self, number: int, width: int) -> ColumnTransformer:
        parts = []
        for name, columns in (self.groups or {"features": slice(0, width)}).items():
            kept = min(self.components, number - 1, len(range(width)[columns]))
            pca = make_pipeline(StandardScaler(), PCA(kept, svd_solver="randomized", random_state=self.seed))
            parts.append((name, "passthrough" if name == "location" else pca, columns))
        return ColumnTransformer(parts)

    def _boosting(self, number: int) -> HistGradientBoostingRegressor:
        # A leaf of twenty rows, the default, leaves a few hundred regions hardly any leaves.
        return HistGradientBoostingRegressor(
            max_iter=self.trees,
            learning_rate=self.lr,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=min(10, max(1, number // 10)),
            max_features=0.5,
            early_stopping=False,
            random_state=self.seed,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _threads(rows: int) -> Any:
    """Return a context of one OpenMP thread for few rows: a second waits more than it works, and spins meanwhile."""
    return threadpool_limits(1 if rows < _FEW_ROWS else None, user_api="openmp")
