"""Fitting tasks: the model of a run, and beside it every baseline that the area has the features for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chorograph.area.splits import Folds
from chorograph.ground.arrays import Mask
from chorograph.ground.stage import Progress, silent
from chorograph.prediction.crossfit import Fused, Predictions, ProbeMaker, cross_fit_many
from chorograph.prediction.probes.attention import Tiles, tile_weights, with_attention
from chorograph.prediction.probes.baselines import BASELINES, Baseline
from chorograph.prediction.probes.registry import make_probe_maker
from chorograph.prediction.settings import PredictionSettings, TaskSettings
from chorograph.prediction.task import Task


@dataclass(frozen=True)
class Model:
    """What is fitted to a task: features, as the probe reads them, and the maker of the probe.

    `chooses`: whether that is the probe that chooses for itself.
    """

    features: Fused
    make_probe: ProbeMaker
    tiles: Tiles | None = None
    chooses: bool = False

    def tile_weights(self, task: Task, seed: int) -> pd.DataFrame | None:
        """Return what attention weighs each tile with, None where nothing attends."""
        if self.tiles is None:
            return None
        weights = tile_weights(self.tiles, task.target, seed=seed)
        ids = task.features.regions["region_id"].to_numpy(object)
        return weights.assign(region_id=ids[weights.pop("row")])


@dataclass(frozen=True)
class Fits:
    """The predictions of one task: of the model, and of each baseline by name."""

    model: Predictions
    baselines: Mapping[str, Predictions]

    def scored(self, task: Task) -> Mask:
        """Return the rows that every line of the table is scored on.

        They are tested, have every modality, and are predicted by the model and by each baseline.
        """
        rows = (self.model.fold >= 0) & (self.model.fold < task.tested_folds) & task.fused.present.all(1)
        for run in (self.model, *self.baselines.values()):
            rows &= np.isfinite(run.predicted)
        return rows


def make_model(task: Task, settings: PredictionSettings, make_probe: ProbeMaker | None = None) -> Model:
    """Return what the settings fit to a task; `make_probe` stands in for the probe that they name."""
    maker = make_probe or model_maker(settings)
    chooses = settings.probe == "auto" and make_probe is None
    if chooses and settings.modalities == "standard" and settings.pooling != "attention":
        return Model(task.features.fused("choosable"), maker, chooses=True)
    embeddings = task.features.embeddings
    if settings.pooling != "attention" or embeddings is None:
        return Model(task.fused, maker, chooses=chooses)
    tiles = Tiles.of(task.area.images, embeddings.image_ids, embeddings.vectors, task.features.regions["region_id"])
    features, attending = with_attention(task.fused, maker, tiles, seed=settings.seed)
    return Model(features, attending, tiles)


def probe_maker(settings: TaskSettings, *, fusion: str = "concat", kriging: bool = False) -> ProbeMaker:
    """Return the maker of the probe that the settings name."""
    # Inner folds of a stack or of kriging are of the kind of the outer ones.
    block_m = settings.block_m if settings.split in ("spatial_block", "cluster") else None
    return make_probe_maker(settings.probe, seed=settings.seed, kriging=kriging, fusion=fusion, block_m=block_m)


def model_maker(settings: PredictionSettings) -> ProbeMaker:
    """Return the maker of the probe that the settings name, fused and kriged as they say."""
    return probe_maker(settings, fusion=settings.fusion, kriging=settings.kriging)


def fit_tasks(tasks: Sequence[Task], model: Model, seed: int, progress: Progress = silent) -> list[Fits]:
    """Fit the model and the baselines to tasks on the same features; what they share is computed once."""
    models = cross_fit_tasks(tasks, model, progress)
    blocks = tasks[0].features.blocks
    baselines = {
        baseline.name: _cross_fit(
            tasks, _read_by(baseline, tasks[0]), _maker(baseline, seed), together=baseline.together
        )
        for baseline in BASELINES
        if all(name in blocks for name in baseline.modalities)
    }
    return [Fits(run, {name: runs[number] for name, runs in baselines.items()}) for number, run in enumerate(models)]


def cross_fit_tasks(
    tasks: Sequence[Task], model: Model, progress: Progress = silent, *, unlabelled: bool = True
) -> list[Predictions]:
    """Return the model's predictions of each task, in the task's folds; what tasks share is computed once."""
    return _cross_fit(tasks, model.features, model.make_probe, progress, unlabelled=unlabelled)


def _cross_fit(
    tasks: Sequence[Task],
    features: Fused,
    make_probe: ProbeMaker,
    progress: Progress = silent,
    *,
    together: bool | None = None,
    unlabelled: bool = True,
) -> list[Predictions]:
    folds: dict[bytes, Folds] = {task.labelled.tobytes(): task.folds for task in tasks}
    targets = {str(number): task.target for number, task in enumerate(tasks)}
    runs = cross_fit_many(
        features,
        targets,
        lambda mask: folds[mask.tobytes()],
        make_probe,
        progress,
        together=together,
        unlabelled=unlabelled,
    )
    return list(runs.values())


def _read_by(baseline: Baseline, task: Task) -> Fused:
    blocks = {name: task.features.blocks[name] for name in baseline.modalities}
    return Fused(blocks or {"none": np.zeros((len(task.target), 1))})


def _maker(baseline: Baseline, seed: int) -> ProbeMaker:
    return lambda columns, rows: baseline.estimator(rows, seed)
