"""A Gaussian process for many regions: inducing rows, and what can be shared among targets is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from chorograph.ground.arrays import Matrix
from chorograph.prediction.probes.processes.evidence import JITTER, LOG_NOISE, LOG_VARIANCE, best_evidence
from chorograph.prediction.probes.processes.exact import COMPONENTS, Term

#: Rows that kernels are taken of at once, and rows that components are found from.
_CHUNK, _MOST_FOR_AXES = 2000, 2000


class SparseGaussianProcess(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """The additive process of `GaussianProcess`, approximated so that n rows cost O(n m²) instead of O(n³).

    Each group's kernel is projected on `inducing` of the training rows (the deterministic training conditional,
    Quinonero Candela and Rasmussen 2005, section 5), and what the projection loses is added to the variance of
    predictions. Lengths maximise the mean evidence of all targets on `sample` of the rows; each target then has
    variances and a noise of its own, by its evidence on the same rows. With y of shape (n, k) the kernels, their
    projections and the n x m products are found once for all targets: thirty cost little more than a few.

    `groups` maps names to columns of X. The rows that are drawn depend on `seed`. Fitted: `lengths_` by group,
    `variances_` (k, groups), `noise_` (k,), in units of each target's variance.
    """

    #: Tells `cross_fit` that `predict` knows how uncertain it is.
    gives_std = True

    def __init__(
        self,
        groups: Mapping[str, slice] | None = None,
        components: int = COMPONENTS,
        inducing: int = 500,
        sample: int = 500,
        seed: int = 0,
    ) -> None:
        self.groups = groups
        self.components = components
        self.inducing = inducing
        self.sample = sample
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,) or (n, k)."""
        rows, target = validate_data(
            self, X, y, dtype=(np.float64, np.float32), y_numeric=True, ensure_min_samples=2, multi_output=True
        )
        targets = np.asarray(target, dtype=np.float64).reshape(len(rows), -1)
        self.single_ = np.ndim(target) == 1
        self.mean_, spread = targets.mean(0), targets.std(0)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        self.z_ = (targets - self.mean_) / self.scale_
        order = np.random.default_rng(self.seed).permutation(len(rows))
        self._learn_kernels(rows, order[: self.sample], order[:_MOST_FOR_AXES])
        self._choose_inducing(rows[order[: self.inducing]])
        self.features_ = np.vstack([self._features(part).astype(np.float32) for part in _chunks(rows)])
        gram, moment = self._products(slice(None))
        self.solved_ = [self._solve(gram, moment[:, column], column) for column in range(targets.shape[1])]
        self.gram_, self.moment_ = gram, moment
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Return predictions (n,) or (n, k), and with `return_std` the standard deviation of a new label at each."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        parts = [self._predict(self._features(part), return_std) for part in _chunks(rows)]
        mean, std = (np.concatenate(each) for each in zip(*parts, strict=True))
        if self.single_:
            mean, std = mean[:, 0], std[:, 0]
        return (mean, std) if return_std else mean

    def held_out(self, folds: Sequence[tuple[Any, Any]]) -> Matrix:
        """Return what the training rows would be predicted as without their fold, (n,) or (n, k).

        `folds` are (rows to fit on, rows to predict), which part all rows. Kernels stay those of all training rows; the
        rows left out are subtracted from the products.
        """
        check_is_fitted(self)
        found = np.empty_like(self.z_)
        for _, rows in folds:
            gram, moment = self._products(rows)
            gram, moment = self.gram_ - gram, self.moment_ - moment
            features = self.features_[rows].astype(np.float64)
            for column in range(found.shape[1]):
                found[rows, column] = features @ self._solve(gram, moment[:, column], column)[1]
        found = found * self.scale_ + self.mean_
        return np.asarray(found[:, 0] if self.single_ else found)

    def _learn_kernels(self, rows: NDArray[Any], sample: NDArray[np.int64], wide: NDArray[np.int64]) -> None:
        """Learn components, lengths shared by all targets, and each target's variances and noise."""
        groups = self.groups or {"features": slice(0, rows.shape[1])}
        wide_rows = rows[wide].astype(np.float64)
        self.terms_ = [Term.of(name, part, wide_rows[:, part], self.components) for name, part in groups.items()]
        reduced = [term.reduce(rows[sample].astype(np.float64)) for term in self.terms_]
        distances = [cdist(part, part) for part in reduced]
        rough = [term.rough for term in self.terms_]
        log_variance, self.log_length_, noise = best_evidence(rough, distances, self.z_[sample])
        self.lengths_ = {t.name: float(np.exp(v)) for t, v in zip(self.terms_, self.log_length_, strict=True)}
        kernels = [
            term.kernel(distance / np.exp(length))
            for term, distance, length in zip(self.terms_, distances, self.log_length_, strict=True)
        ]
        start = np.r_[log_variance, np.log(noise)]
        own = np.array([_best_variances(kernels, column, start) for column in self.z_[sample].T])
        self.variances_, self.noise_ = np.exp(own[:, :-1]), np.exp(own[:, -1])

    def _choose_inducing(self, rows: NDArray[Any]) -> None:
        self.inducing_, self.factors_ = [], []
        for term, length in zip(self.terms_, self.log_length_, strict=True):
            points = np.unique(term.reduce(rows.astype(np.float64)), axis=0)
            kernel = term.kernel(cdist(points, points) / np.exp(length))
            self.inducing_.append(points)
            self.factors_.append(np.linalg.cholesky(kernel + JITTER * np.eye(len(points))))
        self.width_ = [len(points) for points in self.inducing_]

    def _features(self, rows: NDArray[Any]) -> Matrix:
        """Return rows projected on the inducing ones, (rows, m of all groups): unit variance where nothing is lost."""
        parts = zip(self.terms_, self.log_length_, self.inducing_, self.factors_, strict=True)
        found = []
        for term, length, points, factor in parts:
            kernel = term.kernel(cdist(term.reduce(rows.astype(np.float64)), points) / np.exp(length))
            found.append(solve_triangular(factor, kernel.T, lower=True, check_finite=False).T)
        return np.hstack(found)

    def _products(self, rows: Any) -> tuple[Matrix, Matrix]:
        """Return the products of the features of `rows` with themselves, (m, m), and with the targets, (m, k)."""
        features, z = self.features_[rows], self.z_[rows]
        gram, moment = 0.0, 0.0
        for start in range(0, len(features), _CHUNK):
            part = features[start : start + _CHUNK].astype(np.float64)
            gram, moment = gram + part.T @ part, moment + part.T @ z[start : start + _CHUNK]
        return np.asarray(gram), np.asarray(moment)

    def _amplitude(self, column: int) -> Matrix:
        """Return the standard deviation of each feature's weight."""
        return np.repeat(np.sqrt(self.variances_[column]), self.width_)

    def _solve(self, gram: Matrix, moment: Matrix, column: int) -> tuple[tuple[Matrix, bool], Matrix]:
        """Return the factor of the weights' precision and the weights (m,) of the features, for one target."""
        amplitude, noise = self._amplitude(column), self.noise_[column] + JITTER
        # Column by column, as LAPACK wants it: nothing of this size is copied.
        precision = np.multiply(gram, amplitude, order="F")
        precision *= amplitude[:, None]
        precision[np.diag_indices(len(gram))] += noise
        factor = cho_factor(precision, lower=True, overwrite_a=True, check_finite=False)
        return factor, amplitude * cho_solve(factor, amplitude * moment, check_finite=False)

    def _predict(self, features: Matrix, return_std: bool) -> tuple[Matrix, Matrix]:
        mean = np.stack([features @ weights for _, weights in self.solved_], axis=1) * self.scale_ + self.mean_
        if not return_std:
            return mean, np.ones(mean.shape)
        starts = np.concatenate([[0], np.cumsum(self.width_)[:-1]])
        kept = np.add.reduceat(features**2, starts, axis=1)
        std = np.empty(mean.shape)
        for column, (factor, _) in enumerate(self.solved_):
            scaled = features * self._amplitude(column)
            lost = np.maximum(1 - kept, 0.0) @ self.variances_[column]
            unsure = (solve_triangular(factor[0], scaled.T, lower=True, check_finite=False) ** 2).sum(0)
            std[:, column] = np.sqrt(lost + (1 + unsure) * (self.noise_[column] + JITTER)) * self.scale_[column]
        return mean, std

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _best_variances(kernels: list[Matrix], z: Matrix, start: Matrix) -> Matrix:
    """Return log variances and log noise, (groups + 1,), that maximise the posterior of z (n,) at these kernels."""

    def loss(theta: Matrix) -> tuple[float, Matrix]:
        variance, noise = np.exp(theta[:-1]), float(np.exp(theta[-1]))
        covariance = np.asarray(sum(v * kernel for v, kernel in zip(variance, kernels, strict=True)))
        covariance[np.diag_indices(len(z))] += noise + JITTER
        factor = cho_factor(covariance, lower=True)
        weights, inverse = cho_solve(factor, z), cho_solve(factor, np.eye(len(z)))
        value = 0.5 * z @ weights + np.log(np.diag(factor[0])).sum() + variance.sum()
        slopes = [0.5 * (np.vdot(inverse, kernel) - weights @ kernel @ weights) for kernel in kernels]
        by_noise = 0.5 * noise * (np.trace(inverse) - weights @ weights)
        return float(value), np.r_[variance * (np.array(slopes) + 1), by_noise]

    bounds = [LOG_VARIANCE] * len(kernels) + [LOG_NOISE]
    return np.asarray(minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 50}).x)


def _chunks(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK]
