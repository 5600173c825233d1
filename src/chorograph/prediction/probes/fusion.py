"""Late fusion: a probe on each modality alone, and what their predictions weigh, learnt inside the training rows.

The other way, all modalities side by side with each group scaled, is the probes' own (`groups`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import softmax
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

from chorograph.ground.arrays import Matrix
from chorograph.prediction.probes.inner import InnerFolds

Columns = Mapping[str, slice]


class LateFusion(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """One member a modality; their weights come from predictions of rows that the members had not seen.

    `members` are unfitted regressors by modality, each of which gets the columns `columns[name]` of X. With `attend`
    False a member has one weight everywhere, not negative (Breiman 1996, Stacked regressions). With `attend` True it
    has one for each region: a softmax over members of a linear function of the first `components` principal
    components of all its features (a mixture of experts, Jacobs et al. 1991), drawn towards equal weights by a
    standard normal prior on every coefficient. Fitted: `members_`, and `weights_` (a linear regression) or
    `gate_` and `coef_`.
    """

    def __init__(
        self, members: Mapping[str, Any], columns: Columns, inner: InnerFolds, attend: bool = False, components: int = 4
    ) -> None:
        self.members = members
        self.columns = columns
        self.inner = inner
        self.attend = attend
        self.components = components

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,)."""
        rows, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=4)
        target = np.asarray(target, dtype=np.float64)
        # Folds are drawn once, from all columns: where a row lies decides its fold for every member.
        folds = list(self.inner.split(rows))
        unseen = np.stack(
            [cross_val_predict(clone(m), rows[:, self.columns[name]], target, cv=folds) for name, m in self._items()],
            axis=1,
        )
        if self.attend:
            self.gate_ = make_pipeline(StandardScaler(), PCA(min(self.components, *rows.shape)), StandardScaler())
            self.coef_ = _gate(self._gated(self.gate_.fit_transform(rows)), unseen, target)
        else:
            self.weights_ = LinearRegression(positive=True).fit(unseen, target)
        self.members_ = {name: clone(m).fit(rows[:, self.columns[name]], target) for name, m in self._items()}
        return self

    def predict(self, X: ArrayLike) -> Matrix:
        """Return predictions (n,)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        each = np.stack([m.predict(rows[:, self.columns[name]]) for name, m in self.members_.items()], axis=1)
        if self.attend:
            return np.asarray((self.attention(rows) * each).sum(1))
        return np.asarray(self.weights_.predict(each))

    def attention(self, X: ArrayLike) -> Matrix:
        """Return how much each member weighs in each row, (n, members); rows sum to one."""
        return np.asarray(softmax(self._gated(self.gate_.transform(X)) @ self.coef_, axis=1))

    def _items(self) -> list[tuple[str, Any]]:
        return list(self.members.items())

    @staticmethod
    def _gated(components: Matrix) -> Matrix:
        return np.column_stack([np.ones(len(components)), components])


def _gate(features: Matrix, unseen: Matrix, target: Matrix) -> Matrix:
    """Return the coefficients (features, members) whose mixture of `unseen` (n, members) is nearest to the target.

    Least squares in units of the best member's error variance, plus half the squared length of the coefficients.
    """
    noise = ((unseen - target[:, None]) ** 2).mean(0).min() or 1.0
    shape = features.shape[1], unseen.shape[1]

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        weight = softmax(features @ flat.reshape(shape), axis=1)
        mixed = (weight * unseen).sum(1)
        error = (mixed - target) / noise
        slope = features.T @ (error[:, None] * weight * (unseen - mixed[:, None]))
        return 0.5 * float(error @ (mixed - target)) + 0.5 * float(flat @ flat), slope.ravel() + flat

    found = minimize(loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 500})
    return np.asarray(found.x.reshape(shape))


def late_fusion(
    make_one: Callable[[Columns, int], Any], columns: Columns, rows: int, inner: InnerFolds, *, attend: bool
) -> Any:
    """Return a `LateFusion` of one probe a modality; of a single modality, its probe."""
    if len(columns) == 1:
        return make_one(columns, rows)
    members = {name: make_one({name: slice(0, part.stop - part.start)}, rows) for name, part in columns.items()}
    return LateFusion(members, columns, inner, attend)
