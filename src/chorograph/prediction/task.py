"""A task: the labels, features by modality and folds of one question. Built once, taken by all that asks about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chorograph.area.splits import Folds, RandomFolds, SpatialBlocks, Split, parse_split
from chorograph.ground.arrays import Mask
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger
from chorograph.prediction.crossfit import Fused
from chorograph.prediction.features import Features
from chorograph.prediction.labels import Labels, Question, read_labels
from chorograph.prediction.settings import TaskSettings

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.area.folder import Area


@dataclass(frozen=True)
class Task:
    """One question about the n regions of an area, ready to be fitted.

    `fused`: the modalities asked for, of all regions. `folds` parts the labelled regions, in their order; the first
    `tested_folds` of them are scored, any others only give the residuals that intervals rest on. `duplicates`: of the
    labelled regions, equal numbers from 0 for those that share an identical image.
    """

    question: Question
    labels: Labels
    features: Features
    fused: Fused
    split: Split
    folds: Folds
    tested_folds: int
    duplicates: NDArray[np.int64]

    def seen_by(self, features: Features, modalities: str) -> Task:
        """Return the same question, labels and folds with other features."""
        return replace(self, features=features, fused=features.fused(modalities))

    @property
    def area(self) -> Area:
        """The area that is asked about."""
        return self.features.area

    @property
    def target(self) -> NDArray[np.float64]:
        """(n,) labels in the fitted unit, NaN where there are none."""
        return self.labels.fitted

    @property
    def labelled(self) -> Mask:
        """(n,) bool: which regions have a label."""
        return self.labels.known

    @property
    def groups(self) -> NDArray[np.int64]:
        """(n,) int: the block of each labelled region, -1 for the others."""
        groups = np.full(len(self.target), -1, dtype=np.int64)
        groups[self.labelled] = self.folds.groups
        return groups


class Parted:
    """Makes tasks on the same features; questions labelled in the same regions share their folds."""

    def __init__(self, features: Features, settings: TaskSettings, split: Split) -> None:
        self.features, self.settings, self.split = features, settings, split
        self.fused = features.fused(settings.modalities)
        self._parted: dict[bytes, tuple[Folds, int, NDArray[np.int64]]] = {}

    def task(self, question: Question, ledger: Ledger) -> Task:
        """Return the task of a question; `ledger` counts what its labels lose.

        Raises `UnknownNameError` for an indicator that the area does not have, `InputError` where labels or folds do
        not suffice, or all labels are the same; each says what to change.
        """
        labels = read_labels(self.features.area, question, ledger)
        known = labels.own[labels.known]
        if np.ptp(known) == 0:
            raise InputError(
                f"every label of {question.indicator!r} is {known[0]:g} ({len(known)} of them): nothing to predict"
            )
        key = labels.known.tobytes()
        if key not in self._parted:
            self._parted[key] = _part(self.features, labels.known, self.settings, self.split)
        folds, tested, duplicates = self._parted[key]
        ledger.count("regions", len(labels.known))
        ledger.count("labelled", int(labels.known.sum()))
        ledger.count("duplicate image groups", len(np.unique(duplicates[duplicates >= 0])))
        if folds.merged_duplicates:
            ledger.warnings.append(
                f"{folds.merged_duplicates} blocks were joined to others, which hold identical images"
            )
        return Task(question, labels, self.features, self.fused, self.split, folds, tested, duplicates)


def build_task(features: Features, question: Question, settings: TaskSettings, split: Split, ledger: Ledger) -> Task:
    """Return the task of one question; raises as `Parted.task` does, and for modalities that are not there."""
    return Parted(features, settings, split).task(question, ledger)


def make_split(settings: TaskSettings) -> Split:
    """Return the split that the settings name."""
    return parse_split(
        settings.split, block_m=settings.block_m, buffer_m=settings.buffer_m, folds=settings.folds, seed=settings.seed
    )


def _part(
    features: Features, labelled: Mask, settings: TaskSettings, split: Split
) -> tuple[Folds, int, NDArray[np.int64]]:
    duplicates = features.duplicates(labelled)
    regions = features.regions[labelled]
    folds = split.folds(features.area, regions, duplicates)
    tested = len(folds.banned)
    if tested == 1:
        folds = _with_inner_folds(folds, features.area, regions, duplicates, settings)
    return folds, tested, duplicates


def _with_inner_folds(
    folds: Folds, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64], settings: TaskSettings
) -> Folds:
    """Part the training rows of a single given test fold, so that its intervals rest on residuals of their own.

    Inner folds (numbered from 1) never train on tested rows; they are spatial where there are polygons.
    """
    _, train, _tested = next(iter(folds))
    inner_split: Split = SpatialBlocks(settings.block_m, settings.buffer_m, settings.folds, settings.seed)
    if regions.geometry.isna().any():
        inner_split = RandomFolds(settings.folds, settings.seed)
    inner = inner_split.folds(area, regions[train], duplicates[train])
    fold, groups = folds.fold.copy(), folds.groups.copy()
    fold[train] = inner.fold + 1
    banned = [folds.banned[0]]
    for number in range(len(inner.banned)):
        wide = ~train
        wide[np.flatnonzero(train)[inner.banned[number]]] = True
        banned.append(wide)
    return Folds(fold, groups, tuple(banned), folds.merged_duplicates)
