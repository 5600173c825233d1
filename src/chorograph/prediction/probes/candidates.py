"""What `auto` chooses among: the baselines' own estimators, and Gaussian processes and ridge on sets of modalities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.utils.validation import check_is_fitted, validate_data

from chorograph.prediction.probes.auto import AutoProbe, Candidate
from chorograph.prediction.probes.baselines import ROWS_OF_A_TREE, TREES
from chorograph.prediction.probes.inner import InnerFolds
from chorograph.prediction.probes.processes.scaling import ScalingProcess
from chorograph.prediction.probes.ridge import RidgePath

Columns = Mapping[str, slice]

#: Above this many training rows a Gaussian process within `auto` rests on inducing rows: there are up to three of them.
MOST_IN_AUTO = 1000
#: What a process is tried on first and foremost (`features.STANDARD`), and what the strongest baseline reads.
_STANDARD, _PLACE = ("image", "context", "location"), ("location", "shape")


class Forests(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A random forest for each target: what one is predicted as does not depend on which others are asked for.

    Fitted by `fit_unseen`, a part of the trees is grown without each fold, and predicts it; all of them together are
    the forest. Fitted: `forests_`, a list of parts for each target.
    """

    def __init__(self, trees: int = TREES, seed: int = 0) -> None:
        self.trees = trees
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on X (n, d) and y (n,) or (n, k)."""
        self.fit_unseen(X, y, [(slice(None), slice(0))])
        return self

    def fit_unseen(self, X: ArrayLike, y: ArrayLike, folds: Sequence[tuple[Any, Any]]) -> NDArray[np.float64]:
        """Fit, and return what trees grown without a row's fold predict of it, (n,) or (n, k).

        `folds` are (rows to grow trees on, rows to predict).
        """
        rows, target = validate_data(self, X, y, dtype=np.float64, y_numeric=True, multi_output=True)
        self.single_ = np.ndim(target) == 1
        targets = np.asarray(target, dtype=np.float64).reshape(len(rows), -1)
        # A tree stops splitting where the variance is below 2e-16, in whichever unit.
        self.mean_, spread = targets.mean(0), targets.std(0)
        self.scale_ = np.where(spread > 0, spread, 1.0)
        z, trees = (targets - self.mean_) / self.scale_, -(-self.trees // len(folds))
        self.forests_ = [
            [self._grow(rows[train], column[train], trees, part) for part, (train, _) in enumerate(folds)]
            for column in z.T
        ]
        unseen = np.empty_like(z)
        for column, forests in enumerate(self.forests_):
            for forest, (_, test) in zip(forests, folds, strict=True):
                if len(rows[test]):
                    unseen[test, column] = forest.predict(rows[test])
        unseen = unseen * self.scale_ + self.mean_
        return np.asarray(unseen[:, 0] if self.single_ else unseen)

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return predictions (n,) or (n, k)."""
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=np.float64, reset=False)
        each = [np.mean([forest.predict(rows) for forest in forests], axis=0) for forests in self.forests_]
        found = np.stack(each, axis=1) * self.scale_ + self.mean_
        return np.asarray(found[:, 0] if self.single_ else found)

    def _grow(self, rows: NDArray[Any], target: NDArray[np.float64], trees: int, part: int) -> RandomForestRegressor:
        most = ROWS_OF_A_TREE if len(rows) > ROWS_OF_A_TREE else None
        seed = self.seed + part
        return RandomForestRegressor(trees, min_samples_leaf=2, max_samples=most, n_jobs=1, random_state=seed).fit(
            rows, target
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def make_auto(columns: Columns, seed: int, block_m: float | None) -> Any:
    """Return the probe that chooses among the candidates that these modalities allow.

    `block_m`: the side of the run's spatial blocks in metres, None for a split that is not spatial: inner folds are of
    the kind of the outer ones.
    """
    return AutoProbe(candidates(tuple(columns), seed), columns, InnerFolds(columns.get("location"), block_m, seed=seed))


def candidates(modalities: tuple[str, ...], seed: int) -> list[Candidate]:
    """Return what is tried on regions that have these modalities: at most three processes, two ridges, the baselines.

    Gaussian processes on the standard modalities and on everything, and ridge on the standard ones, are the usual ones;
    beside them ridge on everything, a process on location and shape, and what the baselines are. The forest is tried
    where that process is not far behind. With n training rows a fit costs at most three times some tens of steps of
    min(n, 1000)³ and 100 trees, a target, and, shared by targets, twelve of min(n, columns)³.
    """
    standard = tuple(name for name in modalities if name in _STANDARD) or modalities
    sets = list(dict.fromkeys([standard, modalities]))
    place = tuple(name for name in modalities if name in _PLACE)
    found = [Candidate("mean", (), lambda columns, rows: DummyRegressor())]
    if "location" in modalities:
        found.append(Candidate("location", ("location",), _nearest))
    alone = {"region shape": "shape", "POI counts": "poi", "graph": "graph", "graph counts": "graph-degrees"}
    found += [
        Candidate(name, (modality,), _ridge)
        for name, modality in alone.items()
        if modality in modalities and (modality,) not in sets
    ]
    found += [Candidate(f"ridge on {_named(chosen)}", chosen, _ridge, usual=chosen == standard) for chosen in sets]
    found.append(_process_on(standard, seed, usual=True))
    if modalities != standard:
        found.append(_process_on(modalities, seed, usual=True))
    if place and place not in sets:
        found.append(_process_on(place, seed))
    if set(_PLACE) <= set(modalities):
        scout = f"gp on {_named(place)}"
        found.append(Candidate("location + shape", _PLACE, lambda c, n: Forests(TREES, seed), scout=scout))
    return found


def _named(modalities: tuple[str, ...]) -> str:
    return " + ".join(modalities)


def _ridge(columns: Columns, rows: int) -> Any:
    # One modality alone is fitted as its baseline is.
    return RidgePath(groups=columns if len(columns) > 1 else None)


def _nearest(columns: Columns, rows: int) -> Any:
    return KNeighborsRegressor(min(10, rows))


def _process_on(modalities: tuple[str, ...], seed: int, *, usual: bool = False) -> Candidate:
    def make(columns: Columns, rows: int) -> Any:
        return ScalingProcess(columns, MOST_IN_AUTO, seed)

    return Candidate(f"gp on {_named(modalities)}", modalities, make, usual)
