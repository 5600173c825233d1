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

#: How many rows the usual weights count for.
STRENGTH = 30.0
#: How much larger than the least error a scout's may be for what it scouts for to be tried.
FAR_BEHIND = 1.05


@dataclass(frozen=True)
class Candidate:
    """One way to predict: its name, the modalities it reads, and the estimator for their columns.

    `make(columns, rows)` returns an unfitted regressor. `usual`: weight goes here, shared with the other usual ones,
    where the training rows do not tell otherwise. `scout`: an earlier candidate that reads the same for less; where its
    inner error is more than `FAR_BEHIND` times the least so far, this one is not tried.
    """

    name: str
    modalities: tuple[str, ...]
    make: Callable[[Columns, int], Any]
    usual: bool = False
    scout: str | None = None


class AutoProbe(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A weighted mean of candidates, whose weights come from predictions of training rows that they have not seen.

    Weights are not negative and sum to one (Breiman 1996, Stacked regressions; van der Laan et al. 2007, Super
    learner): the mean of the training rows is a candidate, so that weight goes there where nothing predicts anything.
    Few rows tell candidates apart badly, so weights are drawn to equal ones of the usual candidates, as if by
    `STRENGTH` rows more. They are learnt from inner folds of the training rows alone, so that scores of held-out rows
    stay honest. Candidates that can tell what they would predict of rows left out while they are fitted
    (`fit_unseen`) are fitted once. No candidate predicts further
    outside the training targets than their standard deviation: of a region unlike all others ridge says anything, which
    even a small weight does not forgive. The standard deviation is that of the mixture: each member's own (its inner
    error where it does not know), and how far members lie apart.

    `candidates` whose modalities are not all among `columns` are left out. With y of shape (n, k) every target has its
    own weights; what members share among targets, they share. Fitted: `members_` (by the number of the candidate, with
    the targets it predicts), `weights_` (k, members), `bounds_` of predictions (lower and upper, (k,) each), `errors_`
    (k, members; root mean square of inner residuals, infinite where not tried), `choices_` (name to weight, one mapping
    a target).
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
        self.bounds_ = targets.min(0) - targets.std(0), targets.max(0) + targets.std(0)
        folds = list(self.inner.split(rows))
        self.used_ = [c for c in self.candidates if set(c.modalities) <= set(self.columns)]
        unseen = np.full((len(self.used_), *targets.shape), np.nan)
        self.errors_ = np.full((targets.shape[1], len(self.used_)), np.inf)
        self.members_: dict[int, tuple[Any, NDArray[np.bool_]]] = {}
        for number, candidate in enumerate(self.used_):
            tried = self._worth_trying(candidate)
            if tried.any():
                unseen[number][:, tried] = self._bounded(self._unseen(number, rows, targets, tried, folds), tried)
                self.errors_[tried, number] = np.sqrt(((unseen[number] - targets)[:, tried] ** 2).mean(0))
        self.weights_ = np.array([self._weights(unseen[:, :, k], targets[:, k]) for k in range(targets.shape[1])])
        for number, weight in enumerate(self.weights_.T):
            if weight.any() and number not in self.members_:
                self.members_[number] = (self._fitted(number, rows, targets, weight > 0), weight > 0)
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
        for number, (member, held) in self.members_.items():
            weight = self.weights_[held, number]
            own, std = _with_std(member, self._part(self.used_[number], rows), self.errors_[held, number], return_std)
            own = self._bounded(own, held)
            mean[:, held] += weight * own
            square[:, held] += weight * (own**2 + std**2)
        std = np.sqrt(np.maximum(square - mean**2, 0.0))
        if self.single_:
            mean, std = mean[:, 0], std[:, 0]
        return (mean, std) if return_std else mean

    def _bounded(self, predicted: Matrix, which: NDArray[np.bool_]) -> Matrix:
        """Return predictions (n, targets in `which`) brought to where the training targets say they may lie."""
        lower, upper = self.bounds_
        return np.asarray(np.clip(predicted, lower[which], upper[which]))

    def _worth_trying(self, candidate: Candidate) -> NDArray[np.bool_]:
        """Return for which targets (k,) a candidate is tried: where its scout is not far behind the best so far."""
        names = [used.name for used in self.used_]
        if candidate.scout not in names:
            return np.ones(len(self.errors_), dtype=bool)
        return np.asarray(self.errors_[:, names.index(candidate.scout)] <= FAR_BEHIND * self.errors_.min(1))

    def _fitted(self, number: int, rows: NDArray[Any], targets: Matrix, which: NDArray[np.bool_]) -> Any:
        """Return a candidate fitted on all training rows, for some of the targets."""
        candidate = self.used_[number]
        made = candidate.make(self._within(candidate), len(rows))
        return made.fit(self._part(candidate, rows), targets[:, which])

    def _unseen(
        self, number: int, rows: NDArray[Any], targets: Matrix, which: NDArray[np.bool_], folds: list[Any]
    ) -> Matrix:
        """Return what a candidate predicts of each training row when fitted without its fold, (n, targets tried).

        One that tells so while it is fitted on all of them is kept.
        """
        candidate = self.used_[number]
        columns, part, tried = self._within(candidate), self._part(candidate, rows), targets[:, which]
        member = candidate.make(columns, len(rows))
        if hasattr(member, "fit_unseen"):
            self.members_[number] = (member, which)
            return np.asarray(member.fit_unseen(part, tried, folds)).reshape(tried.shape)
        found = np.empty(tried.shape)
        for train, test in folds:
            trial = clone(candidate.make(columns, len(train))).fit(part[train], tried[train])
            found[test] = np.asarray(trial.predict(part[test])).reshape(len(test), -1)
        return found

    def _weights(self, unseen: Matrix, target: Matrix) -> Matrix:
        """Return the weights (members,) of one target; none for members that were not tried."""
        tried = np.isfinite(unseen).all(1)
        usual = np.array([candidate.usual for candidate in self.used_])[tried].astype(np.float64)
        weights = np.zeros(len(unseen))
        weights[tried] = convex_weights(unseen[tried].T, target, usual / usual.sum() if usual.any() else None)
        return weights

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


def convex_weights(unseen: Matrix, target: Matrix, prior: Matrix | None = None) -> Matrix:
    """Return the weights (members,), none negative, sum one, whose mean of `unseen` (n, members) is nearest target.

    Least squares in standard deviations of the target, plus `STRENGTH` times the squared distance of the weights from
    `prior` (members,), where there is one.
    """
    scale = float(target.std()) or 1.0
    centre = float(target.mean())
    # The sum is held by one row that outweighs all others; rounding is then taken out.
    heavy = 1e3 * np.sqrt(len(target))
    pull = 0.0 if prior is None else np.sqrt(STRENGTH)
    kept = np.zeros(unseen.shape[1]) if prior is None else prior
    rows = np.vstack([(unseen - centre) / scale, pull * np.eye(unseen.shape[1]), np.full(unseen.shape[1], heavy)])
    weights, _ = nnls(rows, np.r_[(target - centre) / scale, pull * kept, heavy])
    return np.asarray(weights / weights.sum())


def _with_std(member: Any, part: NDArray[Any], error: Matrix, wanted: bool) -> tuple[Matrix, Matrix]:
    """Return mean and standard deviation (n, k) of a member's predictions; its inner error where it knows none."""
    if wanted and getattr(member, "gives_std", False):
        mean, std = member.predict(part, return_std=True)
        return np.asarray(mean).reshape(len(part), -1), np.asarray(std).reshape(len(part), -1)
    mean = np.asarray(member.predict(part)).reshape(len(part), -1)
    return mean, np.broadcast_to(error, mean.shape)
