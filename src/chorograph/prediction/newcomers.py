"""Regions that the area does not have: predicted by the model of a run, with intervals as unlabelled regions get them.

A run keeps no fitted model. Its settings and the area's tables give the same one again, so it is fitted when first
asked for: the residuals of all folds, which intervals rest on, and a probe on every label for each set of modalities.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import CRS
from chorograph.area.splits import Split
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.prediction import modalities as columns
from chorograph.prediction.crossfit import Fused, Predictions, cross_fit, predict_with
from chorograph.prediction.distance.applicability import area_of_applicability
from chorograph.prediction.features import Features, read_features
from chorograph.prediction.fits import Model, make_model
from chorograph.prediction.judging.intervals import conformal_intervals, shift_weights
from chorograph.prediction.questions import make_question
from chorograph.prediction.settings import PredictionSettings
from chorograph.prediction.task import Parted, Task

if TYPE_CHECKING:
    from shapely import Geometry

    from chorograph.area.folder import Area

#: What is known of a region that is only a polygon with pictures.
KNOWN = ("image", "context", "location", "shape")


@dataclass(frozen=True)
class Newcomer:
    """A region that the area does not have: its polygon (EPSG:4326), and the vectors (k, dim) of its k images."""

    geometry: Geometry
    vectors: NDArray[np.float32]


@dataclass(frozen=True)
class Estimate:
    """What a model says of one indicator of a newcomer, in the indicator's unit.

    `lower` and `upper` hold the truth with probability `level`, NaN where residuals are too few; `basis`: the
    modalities it was predicted from; `supported`: whether it resembles regions with a label.
    """

    indicator: str
    title: str
    unit: str
    predicted: float
    lower: float
    upper: float
    level: float
    basis: str
    supported: bool


@dataclass(frozen=True)
class _Fitted:
    """A task, its model, and the predictions of the area's own regions, whose residuals intervals rest on."""

    task: Task
    model: Model
    run: Predictions


class NewcomerModel:
    """Predicts newcomers for the indicators of a run; safe to use from several threads, one of which fits."""

    def __init__(self, features: Features, settings: PredictionSettings, fitted: Sequence[_Fitted]) -> None:
        self._features, self._settings, self._fitted = features, settings, fitted
        self._probes: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._lock = threading.Lock()

    @classmethod
    def fit(
        cls,
        area: Area,
        embeddings: Embeddings | None,
        indicators: Sequence[str],
        settings: PredictionSettings,
        split: Split,
        progress: Progress = silent,
    ) -> NewcomerModel:
        """Fit the model of a run again; raises as `predict_profile` does, and `InputError` for attention pooling."""
        if settings.pooling == "attention":
            raise InputError("a run with --pooling attention attends to tiles of its own regions: it takes no others")
        features = read_features(
            area, embeddings, modalities=settings.modalities, pooling=settings.pooling, texts=settings.texts
        )
        parted = Parted(features, settings, split)
        fitted = []
        for name in indicators:
            ledger = Ledger()
            task = parted.task(make_question(area, name, settings, ledger, settings.neediest), ledger)
            model = make_model(task, settings)
            run = cross_fit(model.features, task.target, task.folds, model.make_probe, progress)
            fitted.append(_Fitted(task, model, run))
        return cls(features, settings, fitted)

    def predict(self, newcomer: Newcomer) -> list[Estimate]:
        """Return what the model says of a newcomer, by indicator.

        Raises `InputError` where it has none of the modalities that the run predicts from.
        """
        rows = newcomer_features(self._features, newcomer, self._settings.pooling)
        with self._lock:
            return [self._estimate(fitted, rows) for fitted in self._fitted]

    def _estimate(self, fitted: _Fitted, rows: dict[str, NDArray[np.float64]]) -> Estimate:
        task, run = fitted.task, fitted.run
        fused = _with_row(fitted.model.features, rows)
        names = tuple(name for name, has in zip(fused.blocks, fused.present[-1], strict=True) if has)
        if not names:
            asked = ", ".join(fitted.model.features.blocks)
            raise InputError(f"this run predicts from {asked}: send pictures of the region, as its images are")
        predicted, scale = predict_with(self._probe(fitted, names), fused.stacked(names, _last(fused)))
        whole = Predictions(
            np.append(run.predicted, predicted),
            np.append(run.scale, scale),
            np.append(run.fold, -1),
            np.append(run.basis, "+".join(names)),
        )
        target = np.append(task.target, np.nan)
        groups = np.append(task.groups, -1)
        compared = _with_row(task.fused, rows)
        weigh = shift_weights(np.hstack(list(compared.blocks.values()))) if self._settings.shift_weights else None
        lower, upper = conformal_intervals(
            target, whole.predicted, whole.scale, whole.fold, self._settings.level, self._settings.interval, weigh,
            whole.basis, groups,
        )  # fmt: skip
        support = area_of_applicability(compared, target, task.folds).supported
        own = task.labels.to_own(np.array([whole.predicted[-1], lower[-1], upper[-1]]))
        value, low, high = (float(number) if np.isfinite(number) else float("nan") for number in own)
        question, level = task.question, self._settings.level
        return Estimate(
            question.indicator, question.title, task.labels.unit, value, low, high, level, "+".join(names),
            bool(support[-1]),
        )  # fmt: skip

    def _probe(self, fitted: _Fitted, names: tuple[str, ...]) -> Any:
        key = (fitted.task.question.indicator, names)
        if key not in self._probes:
            model, task = fitted.model, fitted.task
            rows = task.labelled & np.isfinite(model.features.stacked(names, np.ones(len(task.target), bool))).all(1)
            probe = model.make_probe(model.features.columns(names), int(rows.sum()))
            self._probes[key] = probe.fit(model.features.stacked(names, rows), task.target[rows])
        return self._probes[key]


def newcomer_features(features: Features, newcomer: Newcomer, pooling: str) -> dict[str, NDArray[np.float64]]:
    """Return a newcomer's row (width,) of each modality that a polygon and pictures tell, made as the area's own are.

    Raises `InputError` for vectors that are not as wide as the area's.
    """
    rows: dict[str, NDArray[np.float64]] = {}
    regions = features.regions
    placed = gpd.GeoDataFrame(geometry=[*regions.geometry, newcomer.geometry], crs=CRS)
    embeddings = features.embeddings
    if embeddings is not None and "image" in features.blocks:
        if len(newcomer.vectors) and newcomer.vectors.shape[1] != embeddings.dim:
            raise InputError(f"vectors of {newcomer.vectors.shape[1]} numbers are none of {embeddings.model}")
        image = _pooled(newcomer.vectors, embeddings.dim, pooling)
        rows["image"] = image
        if "context" in features.blocks:
            rows["context"] = columns.context_features(np.vstack([features.blocks["image"], image]), placed)[-1]
    if "location" in features.blocks:
        place = columns.location_features(placed)
        # From the middle of the area's own regions, which the newcomer does not move.
        rows["location"] = place[-1] - np.nanmean(place[:-1], axis=0)
    if "shape" in features.blocks:
        rows["shape"] = columns.shape_features(placed)[-1]
    return rows


def _pooled(vectors: NDArray[np.float32], dim: int, pooling: str) -> NDArray[np.float64]:
    ids = np.array([str(number) for number in range(len(vectors))], dtype=object)
    images = pd.DataFrame({"image_id": ids, "region_id": "new"})
    pooled = columns.image_features(images, ids, vectors.reshape(-1, dim), pd.Series(["new"]), pooling)
    return np.asarray(pooled[0])


def _with_row(fused: Fused, rows: dict[str, NDArray[np.float64]]) -> Fused:
    """Return features with a row more; what is not known of it is NaN."""
    added = {name: rows.get(name, np.full(block.shape[1], np.nan)) for name, block in fused.blocks.items()}
    return replace(fused, blocks={name: np.vstack([block, added[name]]) for name, block in fused.blocks.items()})


def _last(fused: Fused) -> NDArray[np.bool_]:
    rows = np.zeros(len(fused.present), dtype=bool)
    rows[-1] = True
    return rows
