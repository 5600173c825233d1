"""A Gaussian process on fused modalities: one kernel each, weighed by the evidence of the training rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

Matrix = NDArray[np.float64]

#: Bounds of log variance and log noise, in units of the target's variance.
_LOG_VARIANCE, _LOG_NOISE = (-9.0, 3.0), (-6.0, 1.0)
#: How far a log length may go from the median distance between training rows.
_LOG_LENGTH_REACH = 4.0
_JITTER = 1e-6


class GaussianProcess(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Additive Gaussian process regression over groups of columns (Rasmussen and Williams 2006, chapters 2 and 5).

    The covariance of two regions is a sum with one term for each group: variance x k(distance / length). `location`
    has the exponential kernel (rough fields, as house prices are), every other group the squared exponential one on
    its first `components` principal components of the standardised columns. Variances, lengths and the noise maximise
    the marginal likelihood of the training rows times weak priors: a standard normal on each log length about the
    median distance, and an exponential on each variance, which lets a group that does not help fade away.

    `groups` maps names to columns of X (None: one group of all). The fit is deterministic. Fitted: `variances_` and
    `lengths_` by group, `noise_`, `log_likelihood_`.
    """

    #: Tells `cross_fit` that `predict` knows how uncertain it is.
    gives_std = True

    def __init__(self, groups: Mapping[str, slice] | None = None, components: int = 40) -> None:
        self.groups = groups
        self.components = components

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,); takes O(n³) time and O(n² groups) memory."""
        rows, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        target = np.asarray(target, dtype=np.float64)
        self.mean_, self.scale_ = float(target.mean()), float(target.std()) or 1.0
        z = (target - self.mean_) / self.scale_
        groups = self.groups or {"features": slice(0, rows.shape[1])}
        self.terms_ = [_Term.of(name, columns, rows[:, columns], self.components) for name, columns in groups.items()]
        self.rows_ = [term.reduce(rows) for term in self.terms_]
        distances = [cdist(part, part) for part in self.rows_]
        centres = np.array([_log_median(distance) for distance in distances])
        start = np.concatenate([np.full(len(centres), -np.log(2 * len(centres))), centres, [np.log(0.3)]])
        bounds = (
            [_LOG_VARIANCE] * len(centres)
            + [(centre - _LOG_LENGTH_REACH, centre + _LOG_LENGTH_REACH) for centre in centres]
            + [_LOG_NOISE]
        )
        found = minimize(
            _negative_log_posterior,
            start,
            args=(self.terms_, distances, centres, z),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": 200},
        )
        self.log_variance_, self.log_length_ = found.x[: len(centres)], found.x[len(centres) : -1]
        self.noise_ = float(np.exp(found.x[-1]))
        self.variances_ = {t.name: float(np.exp(v)) for t, v in zip(self.terms_, self.log_variance_, strict=True)}
        self.lengths_ = {t.name: float(np.exp(v)) for t, v in zip(self.terms_, self.log_length_, strict=True)}
        covariance = self._covariance(distances)
        covariance[np.diag_indices(len(z))] += self.noise_ + _JITTER
        self.factor_ = cho_factor(covariance, lower=True)
        self.weights_ = cho_solve(self.factor_, z)
        self.log_likelihood_ = float(
            -0.5 * z @ self.weights_ - np.log(np.diag(self.factor_[0])).sum() - 0.5 * len(z) * np.log(2 * np.pi)
        )
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Return predictions (n,), and with `return_std` the standard deviation of a new label at each row."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        new = [term.reduce(rows) for term in self.terms_]
        covariance = self._covariance([cdist(a, b) for a, b in zip(new, self.rows_, strict=True)])
        mean = covariance @ self.weights_ * self.scale_ + self.mean_
        if not return_std:
            return mean
        explained = np.einsum("ij,ji->i", covariance, cho_solve(self.factor_, covariance.T))
        variance = np.exp(self.log_variance_).sum() + self.noise_ - explained
        return mean, np.sqrt(np.maximum(variance, _JITTER)) * self.scale_

    def posterior(self, X: ArrayLike) -> tuple[Matrix, float]:
        """Return the posterior covariance of the field at rows X, (n, n), and the noise variance of a label.

        Both in squared units of the target.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        new = [term.reduce(rows) for term in self.terms_]
        across = self._covariance([cdist(a, b) for a, b in zip(new, self.rows_, strict=True)])
        within = self._covariance([cdist(a, a) for a in new])
        return (within - across @ cho_solve(self.factor_, across.T)) * self.scale_**2, self.noise_ * self.scale_**2

    def _covariance(self, distances: list[Matrix]) -> Matrix:
        parts = zip(self.terms_, distances, self.log_variance_, self.log_length_, strict=True)
        return np.asarray(sum(np.exp(v) * term.kernel(d / np.exp(length))[0] for term, d, v, length in parts))


@dataclass(frozen=True)
class _Term:
    """One group of columns: how its rows are reduced before distances are taken, and its kernel."""

    name: str
    columns: slice
    centre: Matrix
    scale: Matrix
    axes: Matrix | None

    @classmethod
    def of(cls, name: str, columns: slice, rows: Matrix, components: int) -> _Term:
        if name == "location":
            # Kilometres stay kilometres in every direction.
            return cls(name, columns, rows.mean(0), np.ones(rows.shape[1]), None)
        centre, spread = rows.mean(0), rows.std(0)
        scale = np.where(spread > 1e-12, spread, 1.0) * np.sqrt(rows.shape[1])
        _, _, axes = np.linalg.svd((rows - centre) / scale, full_matrices=False)
        return cls(name, columns, centre, scale, axes[:components].T)

    def reduce(self, rows: Matrix) -> Matrix:
        scaled = (rows[:, self.columns] - self.centre) / self.scale
        return scaled if self.axes is None else scaled @ self.axes

    def kernel(self, distance: Matrix) -> tuple[Matrix, Matrix]:
        """Return the kernel at scaled distances, and its derivative by the logarithm of the length."""
        if self.name == "location":
            value = np.exp(-distance)
            return value, distance * value
        value = np.exp(-0.5 * distance**2)
        return value, distance**2 * value


def _negative_log_posterior(
    theta: Matrix, terms: list[_Term], distances: list[Matrix], centres: Matrix, z: Matrix
) -> tuple[float, Matrix]:
    """Return the negative log posterior (up to a constant) and its gradient (Rasmussen and Williams 2006, eq. 5.9)."""
    number = len(terms)
    variance, length, noise = np.exp(theta[:number]), theta[number:-1], float(np.exp(theta[-1]))
    kernels = [term.kernel(d / np.exp(el)) for term, d, el in zip(terms, distances, length, strict=True)]
    covariance = sum(v * value for v, (value, _) in zip(variance, kernels, strict=True))
    covariance[np.diag_indices(len(z))] += noise + _JITTER
    try:
        factor = cho_factor(covariance, lower=True)
    except np.linalg.LinAlgError:
        return 1e10, np.zeros_like(theta)
    weights = cho_solve(factor, z)
    outer = np.outer(weights, weights) - cho_solve(factor, np.eye(len(z)))
    value = 0.5 * z @ weights + np.log(np.diag(factor[0])).sum()
    value += variance.sum() + 0.5 * ((length - centres) ** 2).sum()
    by_variance = [-0.5 * v * np.vdot(outer, k) + v for v, (k, _) in zip(variance, kernels, strict=True)]
    by_length = [-0.5 * v * np.vdot(outer, slope) for v, (_, slope) in zip(variance, kernels, strict=True)]
    gradient = np.concatenate([by_variance, by_length + (length - centres), [-0.5 * noise * np.trace(outer)]])
    return float(value), gradient


def _log_median(distance: Matrix) -> float:
    apart = distance[distance > 0]
    return float(np.log(np.median(apart))) if apart.size else 0.0
