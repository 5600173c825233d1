"""The probe that chooses for itself: baselines and Gaussian processes on sets of modalities, weighed in the fold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils.validation import check_is_fitted, validate_data

from chorograph.ground.arrays import Matrix
from chorograph.prediction.probes.inner import InnerFolds

Columns = Mapping[str, slice]


@dataclass(frozen=True)
class Candidate:
    """One way to predict: its name, the modalities it reads, and the estimator for their columns.

    `make(columns, rows, trial)` returns an unfitted regressor; `trial` asks for a cheaper one, of which only the
    predictions of rows that it has not seen are used.
    """

    name: str
    modalities: tuple[str, ...]
    make: Callable[[Columns, int, bool], Any]


class AutoProbe(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A weighted mean of candidates, whose weights come from predictions of training rows that they have not seen.

    Weights are not negative and sum to one (Breiman 1996, Stacked regressions; van der Laan et al. 2007, Super
    learner): the mean of the training rows is a candidate, so that weight goes there where nothing predicts anything.
    They are learnt from inner folds of the training rows alone, so that scores of held-out rows stay honest. Candidates
    that can leave rows out without a new fit (`held_out`) do. The standard deviation is that of the mixture: each
    member's own (its inner error where it does not know), and how far members lie apart.

    `candidates` whose modalities are not all among `columns` are left out. With y of shape (n, k) every target has its
    own weights; what members share among targets, they share. Fitted: `members_`, `weights_` (k, members), `errors_`
    (k, members; root mean square of inner residuals), `choices_` (name to weight, one mapping a target).
    """

    #: Tells `cross_fit` that `predict` knows how uncertain it is.
    gives_std = True

    def __init__(self, candidates: Sequence[Candidate], columns: Columns, inner: InnerFolds) -> None:
        self.candidates = candidates
        self.columns = columns
        self.inner = inner

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,) or (n, k)."""
        rows, target = validate_data(
            self, X, y, dtype=(np.float64, np.float32), y_numeric=True, ensure_min_samples=4, multi_output=True
        )
        targets = np.asarray(target, dtype=np.float64).reshape(len(rows), -1)
        self.single_ = np.ndim(target) == 1
        folds = list(self.inner.split(rows))
        self.used_ = [c for c in self.candidates if set(c.modalities) <= set(self.columns)]
        self.members_, unseen = [], []
        for candidate in self.used_:
            part = self._part(candidate, rows)
            member = candidate.make(self._within(candidate), len(rows), False).fit(part, targets)
            unseen.append(_unseen(candidate, member, self._within(candidate), part, targets, folds))
            self.members_.append(member)
        residual = np.stack(unseen) - targets
        self.errors_ = np.sqrt((residual**2).mean(1)).T
        stacked = np.stack(unseen, axis=2)
        self.weights_ = np.array([convex_weights(stacked[:, k], targets[:, k]) for k in range(targets.shape[1])])
        self.choices_ = [
            {c.name: float(w) for c, w in zip(self.used_, weights, strict=True) if w > 0} for weights in self.weights_
        ]
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Any:
        """Return predictions (n,) or (n, k), and with `return_std` the standard deviation of a new label at each."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=(np.float64, np.float32), reset=False)
        mean = np.zeros((len(rows), len(self.weights_)))
        square = np.zeros_like(mean)
        for number, (candidate, member) in enumerate(zip(self.used_, self.members_, strict=True)):
            weight = self.weights_[:, number]
            if not weight.any():
                continue
            own, std = _with_std(member, self._part(candidate, rows), self.errors_[:, number], return_std)
            mean += weight * own
            square += weight * (own**2 + std**2)
        std = np.sqrt(np.maximum(square - mean**2, 0.0))
        if self.single_:
            mean, std = mean[:, 0], std[:, 0]
        return (mean, std) if return_std else mean

    def _part(self, candidate: Candidate, rows: NDArray[Any]) -> NDArray[Any]:
        if not candidate.modalities:
            return np.zeros((len(rows), 1))
        return np.hstack([rows[:, self.columns[name]] for name in candidate.modalities])

    def _within(self, candidate: Candidate) -> dict[str, slice]:
        """Return which columns of `_part` each modality takes."""
        found, start = {}, 0
        for name in candidate.modalities:
            width = self.columns[name].stop - self.columns[name].start
            found[name] = slice(start, start + width)
            start += width
        return found

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def convex_weights(unseen: Matrix, target: Matrix) -> Matrix:
    """Return the weights (members,), none negative, sum one, whose mean of `unseen` (n, members) is nearest target."""
    scale = float(target.std()) or 1.0
    centre = float(target.mean())
    # The sum is held by one row that outweighs all others; rounding is then taken out.
    heavy = 1e3 * np.sqrt(len(target))
    rows = np.vstack([(unseen - centre) / scale, np.full(unseen.shape[1], heavy)])
    weights, _ = nnls(rows, np.r_[(target - centre) / scale, heavy])
    return np.asarray(weights / weights.sum())


def _unseen(
    candidate: Candidate, member: Any, columns: Columns, part: NDArray[Any], targets: Matrix, folds: list[Any]
) -> Matrix:
    """Return what a candidate predicts of each training row (n, k) when fitted without its fold."""
    if hasattr(member, "held_out"):
        return np.asarray(member.held_out(folds)).reshape(targets.shape)
    found = np.empty(targets.shape)
    for train, test in folds:
        trial = clone(candidate.make(columns, len(train), True)).fit(part[train], targets[train])
        found[test] = np.asarray(trial.predict(part[test])).reshape(len(test), -1)
    return found


def _with_std(member: Any, part: NDArray[Any], error: Matrix, wanted: bool) -> tuple[Matrix, Matrix]:
    """Return mean and standard deviation (n, k) of a member's predictions; its inner error where it knows none."""
    if wanted and getattr(member, "gives_std", False):
        mean, std = member.predict(part, return_std=True)
        return np.asarray(mean).reshape(len(part), -1), np.asarray(std).reshape(len(part), -1)
    mean = np.asarray(member.predict(part)).reshape(len(part), -1)
    return mean, np.broadcast_to(error, mean.shape)
