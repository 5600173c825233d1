"""Cross-fitting: every region is predicted by a probe that was never shown its label, from the modalities it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import get_tags
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from chorograph.area.splits import Folds
from chorograph.ground.arrays import Matrix
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Progress, silent

#: Takes the columns of each modality and the number of training rows, returns an unfitted scikit-learn regressor.
ProbeMaker = Callable[[Mapping[str, slice], int], Any]

_FEWEST_ROWS = 5
_FEW_REGIONS = 5000


@dataclass(frozen=True)
class Fused:
    """The features of n regions: `blocks[name]` is (n, width), with NaN rows where the region lacks that modality."""

    blocks: Mapping[str, Matrix]

    @property
    def present(self) -> NDArray[np.bool_]:
        """(n, modalities) bool: which region has which modality."""
        return np.stack([np.isfinite(block).all(1) for block in self.blocks.values()], axis=1)

    def stacked(self, names: tuple[str, ...], rows: NDArray[np.bool_]) -> Matrix:
        """Return the named blocks side by side, for `rows`."""
        return np.hstack([self.blocks[name][rows] for name in names])

    def columns(self, names: tuple[str, ...]) -> dict[str, slice]:
        """Return which columns of `stacked` each modality takes."""
        columns, start = {}, 0
        for name in names:
            columns[name] = slice(start, start + self.blocks[name].shape[1])
            start += self.blocks[name].shape[1]
        return columns


@dataclass(frozen=True)
class Predictions:
    """Predictions of n regions in the fitted unit, how uncertain the probe said each is, and from what.

    `predicted` and `scale` are (n,), or (n, k) where k targets were fitted at once. `fold`: -1 for regions predicted
    by the model of all labelled regions. `basis`: modalities joined by `+`; empty, with NaN predictions, where a
    region has none of those asked for. `choices`: of a probe that chooses (`auto`), as it was fitted last (on every
    label, where a region has none), the weight of each candidate by name, one mapping a target.
    """

    predicted: NDArray[np.float64]
    scale: NDArray[np.float64]
    fold: NDArray[np.int64]
    basis: NDArray[np.object_]
    choices: tuple[Mapping[str, float], ...] = ()


def cross_fit(
    fused: Fused,
    target: NDArray[np.float64],
    folds: Folds,
    make_probe: ProbeMaker,
    progress: Progress = silent,
    *,
    unlabelled: bool = True,
) -> Predictions:
    """Predict all n regions: labelled ones by the probe of their fold, all others by one fitted on every label.

    With `unlabelled` False those others are not predicted, which spares that fit.

    `target` (n,), or (n, k) for a probe of many targets, is NaN where unlabelled, all k in the same rows; `folds`
    parts the labelled rows, in their order. A region that lacks a modality is predicted by a probe of the modalities
    that it has, fitted on training regions that have them too. Raises `InputError` where fewer than five training
    regions have what a probe needs.
    """
    labelled = np.asarray(np.isfinite(target).reshape(len(target), -1).all(1))
    fold = np.full(len(target), -1, dtype=np.int64)
    fold[labelled] = folds.fold
    predicted, scale = np.full(target.shape, np.nan), np.full(target.shape, np.nan)
    basis = np.full(len(target), "", dtype=object)
    jobs = [(spread(train, labelled), spread(test, labelled)) for _, train, test in folds]
    if unlabelled:
        jobs.append((labelled, fold < 0))
    choices: list[Mapping[str, float]] = []
    for done, (train, test) in enumerate(jobs, start=1):
        for names, rows in _by_pattern(fused, test):
            fitted_on = train & _has(fused, names)
            if fitted_on.sum() < _FEWEST_ROWS:
                raise InputError(
                    f"only {int(fitted_on.sum())} regions that may train have {' and '.join(names)}; ask for fewer "
                    "modalities (--modalities) or fewer folds"
                )
            with _threads(len(target)):
                probe = make_probe(fused.columns(names), int(fitted_on.sum()))
                probe.fit(fused.stacked(names, fitted_on), target[fitted_on])
                predicted[rows], scale[rows] = predict_with(probe, fused.stacked(names, rows))
            basis[rows] = "+".join(names)
            choices = list(getattr(probe, "choices_", choices))
        progress("cross-fitting", done, len(jobs))
    return Predictions(predicted, scale, fold, basis, tuple(choices))


def cross_fit_many(
    fused: Fused,
    targets: Mapping[str, NDArray[np.float64]],
    folds_of: Callable[[NDArray[np.bool_]], Folds],
    make_probe: ProbeMaker,
    progress: Progress = silent,
    *,
    together: bool | None = None,
    unlabelled: bool = True,
) -> dict[str, Predictions]:
    """Predict many targets (each (n,), NaN where unlabelled), as `cross_fit` does one by one, but sooner.

    Targets labelled in the same rows share folds, and with a probe of many targets (ridge, boosting) also the pass
    over the features: what costs most, the decomposition of the training rows, is done once a fold. `folds_of` parts
    the rows that are labelled. `together` says whether the probe takes many targets and treats each as if it were
    alone; None: as its tags say.
    """
    found = {}
    masks = {name: np.isfinite(target) for name, target in targets.items()}
    if together is None:
        together = bool(get_tags(make_probe({}, _FEWEST_ROWS)).target_tags.multi_output)
    for mask in {mask.tobytes(): mask for mask in masks.values()}.values():
        names, folds = [name for name in targets if np.array_equal(masks[name], mask)], folds_of(mask)
        fit = partial(cross_fit, fused, folds=folds, make_probe=make_probe, progress=progress, unlabelled=unlabelled)
        if together and len(names) > 1:
            run = fit(np.stack([targets[name] for name in names], axis=1))
            for column, name in enumerate(names):
                found[name] = replace(
                    run,
                    predicted=run.predicted[:, column],
                    scale=run.scale[:, column],
                    choices=run.choices[column : column + 1],
                )
        else:
            found.update({name: fit(targets[name]) for name in names})
    return {name: found[name] for name in targets}


def predict_with(probe: Any, X: Matrix) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return predictions and their standard deviations, ones where the probe does not know them."""
    if getattr(probe, "gives_std", False):
        mean, std = probe.predict(X, return_std=True)
        return np.asarray(mean), np.asarray(std)
    mean = np.asarray(probe.predict(X))
    return mean, np.ones(mean.shape)


def _threads(regions: int) -> Any:
    """Return a context of one thread of linear algebra for few regions.

    On small matrices a second thread waits more than it works. On a busy machine it spins while it waits: there a run
    took seven times as long.
    """
    return threadpool_limits(1 if regions < _FEW_REGIONS else None, user_api="blas")


def _by_pattern(fused: Fused, rows: NDArray[np.bool_]) -> list[tuple[tuple[str, ...], NDArray[np.bool_]]]:
    """Part `rows` by which modalities they have; rows that have none are left out."""
    present, names = fused.present, list(fused.blocks)
    parts = []
    for pattern in np.unique(present[rows], axis=0):
        if pattern.any():
            chosen = tuple(name for name, has in zip(names, pattern, strict=True) if has)
            parts.append((chosen, rows & (present == pattern).all(1)))
    return parts


def _has(fused: Fused, names: tuple[str, ...]) -> NDArray[np.bool_]:
    columns = [list(fused.blocks).index(name) for name in names]
    return np.asarray(fused.present[:, columns].all(1))


def spread(mask: NDArray[np.bool_], labelled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Bring a mask over the labelled rows to all rows, (n,)."""
    wide = np.zeros(len(labelled), dtype=bool)
    wide[labelled] = mask
    return wide
