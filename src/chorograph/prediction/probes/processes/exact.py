"""A Gaussian process on fused modalities: one kernel each, weighed by the evidence of the training rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_factor, cho_solve
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from chorograph.ground.arrays import Matrix
from chorograph.prediction.probes.processes.evidence import JITTER, best_evidence

#: Leading components of a group that distances are taken in.
COMPONENTS = 100


class GaussianProcess(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """Additive Gaussian process regression over groups of columns (Rasmussen and Williams 2006, chapters 2 and 5).

    The covariance of two regions is a sum with one term for each group: variance x k(distance / length). `location`
    has the exponential kernel (rough fields, as house prices are), every other group the squared exponential one on
    its first `components` principal components of the standardised columns. Variances, lengths and the noise maximise
    the marginal likelihood of the training rows times weak priors: a standard normal on each log length about the
    median distance, and an exponential on each variance, which lets a group that does not help fade away.

    `groups` maps names to columns of X (None: one group of all). The fit is deterministic. With y of shape (n, k) each
    target has its own variances, lengths and noise, as if it were alone; components and distances are found once.
    Fitted: `fields_`, one `Field` a target; of the first one `variances_` and `lengths_` by group, `noise_`,
    `log_likelihood_`, and the target's `mean_` and `scale_`.
    """

    #: Tells `cross_fit` that `predict` knows how uncertain it is.
    gives_std = True

    def __init__(self, groups: Mapping[str, slice] | None = None, components: int = COMPONENTS) -> None:
        self.groups = groups
        self.components = components

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,) or (n, k); takes O(n³ k) time and O(n² (groups + k)) memory."""
        rows, target = validate_data(
            self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2, multi_output=True
        )
        targets = np.asarray(target, dtype=np.float64).reshape(len(rows), -1)
        self.single_ = np.ndim(target) == 1
        groups = self.groups or {"features": slice(0, rows.shape[1])}
        self.terms_ = [Term.of(name, columns, rows[:, columns], self.components) for name, columns in groups.items()]
        self.rows_ = [term.reduce(rows) for term in self.terms_]
        distances = [cdist(part, part) for part in self.rows_]
        self.fields_ = [Field.of(self.terms_, distances, column) for column in targets.T]
        first, names = self.fields_[0], [term.name for term in self.terms_]
        self.variances_ = {name: float(np.exp(value)) for name, value in zip(names, first.log_variance, strict=True)}
        self.lengths_ = {name: float(np.exp(value)) for name, value in zip(names, first.log_length, strict=True)}
        self.noise_, self.log_likelihood_ = first.noise, first.log_likelihood
        self.mean_, self.scale_ = first.mean, first.scale
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Return predictions (n,) or (n, k), and with `return_std` the standard deviation of a new label at each."""
        check_is_fitted(self)
        distances = self._distances(validate_data(self, X, dtype=np.float64, reset=False))
        each = [field.predict(self.terms_, distances, return_std) for field in self.fields_]
        mean, std = (np.stack(part, axis=1) for part in zip(*each, strict=True))
        if self.single_:
            mean, std = mean[:, 0], std[:, 0]
        return (mean, std) if return_std else mean

    def held_out(self, folds: Sequence[tuple[Any, Any]]) -> Matrix:
        """Return what the training rows would be predicted as without their fold, (n,) or (n, k).

        `folds` are (rows to fit on, rows to predict), which part all rows. Nothing is fitted again: the variances,
        lengths and noise stay those of all training rows, and leaving rows out of a Gaussian process is a division
        (Rasmussen and Williams 2006, eq. 5.12, for more than one row).
        """
        check_is_fitted(self)
        found = np.stack([field.held_out([rows for _, rows in folds]) for field in self.fields_], axis=1)
        return found[:, 0] if self.single_ else found

    def posterior(self, X: ArrayLike) -> tuple[Matrix, float]:
        """Return the posterior covariance of the (first) field at rows X, (n, n), and the noise variance of a label.

        Both in squared units of the target.
        """
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        field = self.fields_[0]
        new = [term.reduce(rows) for term in self.terms_]
        across = field.covariance(self.terms_, self._distances(rows))
        within = field.covariance(self.terms_, [cdist(a, a) for a in new])
        scale = field.scale**2
        return (within - across @ cho_solve(field.factor, across.T)) * scale, field.noise * scale

    def _distances(self, rows: Matrix) -> list[Matrix]:
        return [cdist(term.reduce(rows), known) for term, known in zip(self.terms_, self.rows_, strict=True)]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


@dataclass(frozen=True)
class Field:
    """The fitted process of one target: hyperparameters, Cholesky factor and weights of its training rows.

    `mean`, `scale`: of the training targets, in their unit; all else is in units of `scale`.
    """

    mean: float
    scale: float
    log_variance: Matrix
    log_length: Matrix
    noise: float
    factor: tuple[Matrix, bool]
    weights: Matrix
    z: Matrix

    @classmethod
    def of(cls, terms: list[Term], distances: list[Matrix], target: Matrix) -> Self:
        """Find the hyperparameters of `target` (n,) by its evidence, and factor its covariance."""
        mean, scale = float(target.mean()), float(target.std()) or 1.0
        z = (target - mean) / scale
        log_variance, log_length, noise = best_evidence([term.rough for term in terms], distances, z)
        covariance = _covariance(terms, distances, log_variance, log_length)
        covariance[np.diag_indices(len(z))] += noise + JITTER
        factor = cho_factor(covariance, lower=True)
        return cls(mean, scale, log_variance, log_length, noise, factor, cho_solve(factor, z), z)

    @property
    def log_likelihood(self) -> float:
        """The marginal likelihood of the training targets in units of their standard deviation."""
        number = len(self.z)
        half = 0.5 * self.z @ self.weights + np.log(np.diag(self.factor[0])).sum()
        return float(-half - 0.5 * number * np.log(2 * np.pi))

    def covariance(self, terms: list[Term], distances: list[Matrix]) -> Matrix:
        """Return the covariance of the field at rows of these distances."""
        return _covariance(terms, distances, self.log_variance, self.log_length)

    def predict(self, terms: list[Term], distances: list[Matrix], return_std: bool) -> tuple[Matrix, Matrix]:
        """Return mean and standard deviation of a label at rows of these distances (ones where not asked for)."""
        covariance = self.covariance(terms, distances)
        mean = covariance @ self.weights * self.scale + self.mean
        if not return_std:
            return mean, np.ones(len(mean))
        explained = np.einsum("ij,ji->i", covariance, cho_solve(self.factor, covariance.T))
        variance = np.exp(self.log_variance).sum() + self.noise - explained
        return mean, np.sqrt(np.maximum(variance, JITTER)) * self.scale

    def held_out(self, parts: list[Any]) -> Matrix:
        """Return the mean of each training row without the rows of its part."""
        inverse = cho_solve(self.factor, np.eye(len(self.z)))
        found = np.empty(len(self.z))
        for rows in parts:
            found[rows] = self.z[rows] - np.linalg.solve(inverse[np.ix_(rows, rows)], self.weights[rows])
        return found * self.scale + self.mean


@dataclass(frozen=True)
class Term:
    """One group of columns: how its rows are reduced before distances are taken, and its kernel."""

    name: str
    columns: slice
    centre: Matrix
    scale: Matrix
    axes: Matrix | None

    @classmethod
    def of(cls, name: str, columns: slice, rows: Matrix, components: int) -> Term:
        """Learn centre, scale and leading components of a group from its training rows."""
        if name == "location":
            # Kilometres stay kilometres in every direction.
            return cls(name, columns, rows.mean(0), np.ones(rows.shape[1]), None)
        centre, spread = rows.mean(0), rows.std(0)
        scale = np.where(spread > 1e-12, spread, 1.0) * np.sqrt(rows.shape[1])
        _, _, axes = np.linalg.svd((rows - centre) / scale, full_matrices=False)
        return cls(name, columns, centre, scale, axes[:components].T)

    def reduce(self, rows: Matrix) -> Matrix:
        """Return the group's columns of rows (n, d) as distances are taken in them."""
        scaled = (rows[:, self.columns] - self.centre) / self.scale
        return scaled if self.axes is None else scaled @ self.axes

    @property
    def rough(self) -> bool:
        """Whether the group's field is rough, as house prices are: the exponential kernel, not the squared one."""
        return self.name == "location"

    def kernel(self, distance: Matrix) -> Matrix:
        """Return the kernel at scaled distances."""
        return np.asarray(np.exp(-distance) if self.rough else np.exp(-0.5 * distance**2))


def _covariance(terms: list[Term], distances: list[Matrix], log_variance: Matrix, log_length: Matrix) -> Matrix:
    parts = zip(terms, distances, log_variance, log_length, strict=True)
    return np.asarray(sum(np.exp(v) * term.kernel(d / np.exp(length)) for term, d, v, length in parts))
