"""How well the unlabelled regions are likely predicted: folds that test as far from labels as those regions lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from chorograph.area.splits import DistanceMatched, Folds, inner_points, to_sphere
from chorograph.area.splits.matched import Matching, distances, distances_of_tests
from chorograph.ground.arrays import Vector
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Progress, silent
from chorograph.metrics.regression import coverage
from chorograph.prediction.crossfit import Predictions
from chorograph.prediction.fits import Model, cross_fit_tasks
from chorograph.prediction.judging.scoring import Scoring
from chorograph.prediction.settings import PredictionSettings
from chorograph.prediction.task import Task

#: Fewer unlabelled regions have no distribution of distances to speak of.
_FEWEST_UNLABELLED = 10
#: Classes of distance that coverage is told in.
_CLASSES = 3


@dataclass(frozen=True)
class AtDistance:
    """A task fitted a second time, in folds that test at the distances of the unlabelled regions."""

    run: Predictions
    folds: Folds
    matching: Matching

    def scores(self, task: Task, scoring: Scoring) -> dict[str, Any]:
        """Return R2 (fitted unit) and coverage, each with its interval, and how far apart the distances are."""
        groups = np.full(len(task.target), -1, dtype=np.int64)
        groups[task.labelled] = self.folds.groups
        judged = replace(scoring, groups=groups, scored=scoring.scored & np.isfinite(self.run.predicted))
        lower, upper = (bound[judged.scored] for bound in judged.interval(self.run))
        own, blocks = task.labels.own[judged.scored], groups[judged.scored]
        inside = ((own >= lower) & (own <= upper)).astype(np.float64)
        bounded = bool(np.isfinite(lower).all() and np.isfinite(upper).all())
        return {
            "split": "distance_matched",
            "n": int(judged.scored.sum()),
            "r2": judged.r2(self.run).as_list(),
            "coverage": scoring.bootstrap.estimate(coverage, inside, inside, blocks).as_list() if bounded else None,
            "w_m": round(self.matching.w, 1),
            "use_m": _quartiles(self.matching.use),
            "tested_m": _quartiles(self.matching.tested),
        }


def fit_at_distance(
    tasks: Sequence[Task], model: Model, settings: PredictionSettings, progress: Progress = silent
) -> list[AtDistance | None]:
    """Fit each task again at the distances of its unlabelled regions; None where that says nothing.

    That is where fewer than ten regions are unlabelled, where regions have no geometry, or where the labelled ones are
    too few to be parted.
    """
    parted: dict[bytes, tuple[Folds, Matching] | None] = {}
    for task in tasks:
        key = task.labelled.tobytes()
        if key not in parted:
            parted[key] = _part(task, settings)
    again = [(task, found) for task in tasks if (found := parted[task.labelled.tobytes()]) is not None]
    parted_again = [replace(task, folds=folds) for task, (folds, _) in again]
    runs = cross_fit_tasks(parted_again, model, progress, unlabelled=False) if again else []
    fitted = {id(task): AtDistance(run, *found) for (task, found), run in zip(again, runs, strict=True)}
    return [fitted.get(id(task)) for task in tasks]


def intervals_by_distance(task: Task, run: Predictions, scoring: Scoring) -> pd.DataFrame:
    """Return coverage and mean width of the intervals by distance to the nearest label that the model had.

    Classes hold equally many scored regions. Columns: from_m, to_m, regions, coverage, mean_width, unlabelled (how many
    unlabelled regions lie in the class, those beyond the last class in it). Empty without geometry.
    """
    columns = ["from_m", "to_m", "regions", "coverage", "mean_width", "unlabelled"]
    away = _distances(task)
    rows = scoring.scored & np.isfinite(away)
    if not rows.any():
        return pd.DataFrame(columns=columns)
    lower, upper = scoring.interval(run)
    inside = (task.labels.own >= lower) & (task.labels.own <= upper)
    edges = np.unique(np.quantile(away[rows], np.linspace(0, 1, _CLASSES + 1)[1:-1]))
    of_class = np.searchsorted(edges, away, side="left")
    limits = [0.0, *edges.tolist(), float(away[np.isfinite(away)].max())]
    found = []
    for number in range(len(edges) + 1):
        tested = rows & (of_class == number)
        new = ~task.labelled & np.isfinite(away) & (of_class == number)
        found.append(
            (
                round(limits[number], 1),
                round(limits[number + 1], 1),
                int(tested.sum()),
                round(float(inside[tested].mean()), 4) if tested.any() else np.nan,
                float(np.mean((upper - lower)[tested])) if tested.any() else np.nan,
                int(new.sum()),
            )
        )
    return pd.DataFrame(found, columns=columns)


def _part(task: Task, settings: PredictionSettings) -> tuple[Folds, Matching] | None:
    regions, labelled = task.features.regions, task.labelled
    if regions.geometry.isna().any() or regions.geometry.is_empty.any() or (~labelled).sum() < _FEWEST_UNLABELLED:
        return None
    split = DistanceMatched(settings.folds, settings.block_m, settings.seed)
    try:
        folds = split.folds(task.area, regions[labelled], task.duplicates)
    except InputError:
        return None
    positions = to_sphere(*inner_points(regions))
    use = distances(positions[~labelled], positions[labelled])
    return folds, Matching(use, distances_of_tests(positions[labelled], folds.fold))


def _distances(task: Task) -> Vector:
    """Return how far each region lies from the nearest one that its prediction was trained on, in metres."""
    regions, labelled = task.features.regions, task.labelled
    away = np.full(len(labelled), np.nan)
    if regions.geometry.isna().any() or regions.geometry.is_empty.any():
        return away
    positions = to_sphere(*inner_points(regions))
    index = np.flatnonzero(labelled)
    for _, train, tested in task.folds:
        away[index[tested]] = distances(positions[index[tested]], positions[index[train]])
    others = np.flatnonzero(~np.isin(np.arange(len(labelled)), index[task.folds.fold >= 0]))
    away[others] = distances(positions[others], positions[index])
    away[labelled & ~np.isin(np.arange(len(labelled)), index[task.folds.fold >= 0])] = np.nan
    return away


def _quartiles(values: Vector) -> list[float]:
    return [round(float(value), 1) for value in np.percentile(values, [25, 50, 75])]
