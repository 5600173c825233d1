"""One run of `predict`: labels, features, folds, probe, intervals, baselines, scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chorograph.area.errors import InputError, UnknownNameError
from chorograph.area.splits import LEAKY, Folds, RandomFolds, SpatialBlocks, Split, duplicate_groups, parse_split
from chorograph.area.stage import Ledger, Progress, silent
from chorograph.metrics.regression import METRICS, BlockBootstrap, coverage
from chorograph.predict import modalities
from chorograph.predict.baselines import BASELINES, Baseline
from chorograph.predict.config import MODALITIES, STANDARD, PredictConfig
from chorograph.predict.conformal import cross_conformal
from chorograph.predict.crossfit import Fused, Matrix, Predictions, ProbeMaker, cross_fit
from chorograph.predict.gaussian_process import GaussianProcess
from chorograph.predict.labels import Labels, read_labels
from chorograph.predict.mlp import UrbanClipMlp
from chorograph.predict.result import Prediction
from chorograph.predict.ridge import RidgePath

if TYPE_CHECKING:
    from chorograph.area.folder import Area
    from chorograph.embed.vectors import Embeddings

#: Above this many labelled regions an exact Gaussian process takes minutes a fold and gigabytes.
_MOST_FOR_GP = 3000


def run_predict(
    area: Area,
    embeddings: Embeddings | None,
    config: PredictConfig,
    split: Split,
    ledger: Ledger,
    progress: Progress = silent,
) -> Prediction:
    """Predict one indicator for every region of the area, and score it beside the baselines.

    Raises `InputError` where labels, folds or modalities do not suffice; each says what to change.
    """
    regions = area.regions
    labels = read_labels(area, config.indicator, ledger, log=config.log, per=config.per, year=config.year)
    labelled = np.isfinite(labels.fitted)
    available = read_modalities(area, embeddings, config.pooling)
    fused = Fused({name: available[name] for name in _chosen(config.modalities, available, area)})
    duplicates = duplicate_groups(area.images, regions["region_id"][labelled])
    ledger.count("regions", len(regions))
    ledger.count("labelled", int(labelled.sum()))
    ledger.count("duplicate image groups", len(np.unique(duplicates[duplicates >= 0])))
    folds = split.folds(area, regions[labelled], duplicates)
    if folds.merged_duplicates:
        ledger.warnings.append(f"{folds.merged_duplicates} blocks were joined to others, which hold identical images")
    scored_folds = len(folds.banned)
    if scored_folds == 1:
        folds = _with_inner_folds(folds, area, regions[labelled], duplicates, config)
    if config.probe == "gp" and labelled.sum() > _MOST_FOR_GP:
        raise InputError(f"{int(labelled.sum())} labelled regions are too many for --probe gp; use --probe ridge")
    model = cross_fit(fused, labels.fitted, folds, _probe(config), progress)
    runs = {f"{config.probe} on {' + '.join(fused.blocks)}": model}
    meanings = {next(iter(runs)): "the model of this run"}
    for baseline in BASELINES:
        if all(name in available for name in baseline.modalities):
            blocks = {name: available[name] for name in baseline.modalities} or {"none": np.zeros((len(regions), 1))}
            runs[baseline.name] = cross_fit(Fused(blocks), labels.fitted, folds, _baseline(baseline, config.seed))
            meanings[baseline.name] = baseline.meaning
    scored = _scored_rows(runs, model, fused, scored_folds)
    if not scored.any():
        raise InputError("no labelled region has every modality asked for, so nothing can be scored")
    ledger.count("scored", int(scored.sum()))
    ledger.count("predicted", int(np.isfinite(model.predicted).sum()))
    ledger.count("unlabelled", int((~labelled).sum()))
    if partial := int((labelled & (model.fold >= 0) & (model.fold < scored_folds) & ~scored).sum()):
        ledger.warnings.append(f"{partial} labelled regions lack a modality: predicted from what they have, not scored")
    if split.leaky:
        ledger.warnings.append(LEAKY)
    groups = np.full(len(regions), -1, dtype=np.int64)
    groups[labelled] = folds.groups
    rows = [
        {
            "name": name,
            "kind": "model" if run is model else "baseline",
            "meaning": meanings[name],
            **_score(labels, run, scored, groups, config),
        }
        for name, run in runs.items()
    ]
    attainable = area.facts.get("attainable_r2", {}).get(config.indicator)
    if attainable is not None and config.log and config.per is None:
        rows.append(_attainable_row(float(attainable)))
    return Prediction(
        frame=_frame(area, embeddings, labels, model, scored_folds, config),
        scores={
            "indicator": config.indicator,
            "unit": labels.unit,
            "fitted_unit": labels.fitted_unit,
            "log": config.log,
            "per": config.per,
            "level": config.level,
            "probe": config.probe,
            "embeddings": embeddings.model if embeddings is not None and "image" in fused.blocks else None,
            "leaky": split.leaky,
            "split": _describe(split),
            "counts": ledger.counts,
            "dropped": dict(ledger.dropped),
            "rows": rows,
            "warnings": ledger.warnings,
        },
        area=area,
    )


def make_split(config: PredictConfig) -> Split:
    """Return the split that the configuration names."""
    return parse_split(
        config.split, block_m=config.block_m, buffer_m=config.buffer_m, folds=config.folds, seed=config.seed
    )


def read_modalities(area: Area, embeddings: Embeddings | None, pooling: str) -> dict[str, Matrix]:
    """Return the features of every modality the area has: (regions, width), NaN rows where a region lacks it."""
    regions = area.regions
    ids = regions["region_id"]
    blocks: dict[str, Matrix] = {}
    if embeddings is not None:
        blocks["image"] = modalities.image_features(area.images, embeddings.image_ids, embeddings.vectors, ids, pooling)
    if regions.geometry.notna().any():
        if "image" in blocks:
            blocks["context"] = modalities.context_features(blocks["image"], regions)
        blocks["location"] = modalities.location_features(regions)
        blocks["shape"] = modalities.shape_features(regions)
    if area.has("poi_counts"):
        blocks["poi"] = modalities.poi_features(area.read("poi_counts"), ids)
    if area.has("triples"):
        blocks["graph"] = modalities.graph_features(area.triples, area.entities, ids)
    return {name: block for name, block in blocks.items() if np.isfinite(block).all(1).any()}


def _chosen(asked: str, available: Mapping[str, Matrix], area: Area) -> list[str]:
    if asked == "all":
        return list(available)
    if asked == "standard":
        # An area with a graph alone is predicted from that.
        return [name for name in STANDARD if name in available] or list(available)
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in MODALITIES:
            raise UnknownNameError.of("modality", name, MODALITIES)
        if name not in available:
            raise InputError(f"{area.path} has no {name} features; it has {', '.join(available)}")
    return names


def _probe(config: PredictConfig) -> ProbeMaker:
    makers: dict[str, ProbeMaker] = {
        "ridge": lambda columns, rows: RidgePath(groups=columns),
        "gp": lambda columns, rows: GaussianProcess(groups=columns),
        "mlp": lambda columns, rows: make_pipeline(StandardScaler(), UrbanClipMlp(seed=config.seed)),
    }
    return makers[config.probe]


def _baseline(baseline: Baseline, seed: int) -> ProbeMaker:
    return lambda columns, rows: baseline.estimator(rows, seed)


def _with_inner_folds(
    folds: Folds, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64], config: PredictConfig
) -> Folds:
    """Part the training rows of a single given test fold, so that its intervals rest on residuals of their own.

    Inner folds (numbered from 1) never train on tested rows; they are spatial where there are polygons.
    """
    _, train, _tested = next(iter(folds))
    inner_split: Split = SpatialBlocks(config.block_m, config.buffer_m, config.folds, config.seed)
    if regions.geometry.isna().any():
        inner_split = RandomFolds(config.folds, config.seed)
    inner = inner_split.folds(area, regions[train], duplicates[train])
    fold, groups = folds.fold.copy(), folds.groups.copy()
    fold[train] = inner.fold + 1
    banned = [folds.banned[0]]
    for number in range(len(inner.banned)):
        wide = ~train
        wide[np.flatnonzero(train)[inner.banned[number]]] = True
        banned.append(wide)
    return Folds(fold, groups, tuple(banned), folds.merged_duplicates)


def _scored_rows(
    runs: Mapping[str, Predictions], model: Predictions, fused: Fused, scored_folds: int
) -> NDArray[np.bool_]:
    """Return the rows that every line of the table is scored on: tested, with all modalities, predicted by all."""
    rows = (model.fold >= 0) & (model.fold < scored_folds) & fused.present.all(1)
    for run in runs.values():
        rows &= np.isfinite(run.predicted)
    return rows


def _score(
    labels: Labels, run: Predictions, scored: NDArray[np.bool_], groups: NDArray[np.int64], config: PredictConfig
) -> dict[str, Any]:
    bootstrap = BlockBootstrap(seed=config.seed)
    blocks = groups[scored]
    fitted_target, fitted = labels.fitted[scored], run.predicted[scored]
    own_target, own = labels.own[scored], labels.to_own(fitted)
    lower, upper = _interval(labels, run, config.level)
    held = np.isfinite(lower[scored]) & np.isfinite(upper[scored])
    inside = ((own_target >= lower[scored]) & (own_target <= upper[scored])).astype(np.float64)
    return {
        "n": int(scored.sum()),
        "fitted": {n: bootstrap.estimate(m, fitted_target, fitted, blocks).as_list() for n, m in METRICS.items()},
        "own": {n: bootstrap.estimate(m, own_target, own, blocks).as_list() for n, m in METRICS.items()},
        "coverage": bootstrap.estimate(coverage, inside, inside, blocks).as_list() if held.all() else None,
        "mean_width": float(np.mean((upper - lower)[scored])) if held.all() else None,
    }


def _interval(labels: Labels, run: Predictions, level: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lower and upper bounds of all rows, in the indicator's own unit."""
    lower, upper = cross_conformal(labels.fitted, run.predicted, run.scale, run.fold, level)
    return labels.to_own(lower), labels.to_own(upper)


def _frame(
    area: Area,
    embeddings: Embeddings | None,
    labels: Labels,
    model: Predictions,
    scored_folds: int,
    config: PredictConfig,
) -> gpd.GeoDataFrame:
    regions = area.regions
    lower, upper = _interval(labels, model, config.level)
    fold = pd.array(model.fold, dtype="Int64")
    fold[np.asarray((model.fold < 0) | (model.fold >= scored_folds))] = pd.NA
    images = area.images
    counts = images[images["uri"].notna()]["region_id"].value_counts()
    return gpd.GeoDataFrame(
        {
            "region_id": regions["region_id"].to_numpy(),
            "indicator": config.indicator,
            "fold": fold,
            "target": labels.own,
            "predicted": labels.to_own(model.predicted),
            # An infinite bound says "too few residuals"; in a table that is a missing value.
            "lower": np.where(np.isfinite(lower), lower, np.nan),
            "upper": np.where(np.isfinite(upper), upper, np.nan),
            "level": config.level,
            "basis": model.basis,
            "n_images": regions["region_id"].map(counts).fillna(0).astype(int).to_numpy(),
        },
        geometry=regions.geometry.to_numpy(),
        crs=regions.crs,
    )


def _attainable_row(value: float) -> dict[str, Any]:
    nothing: list[float | None] = [None, None, None]
    blank = dict.fromkeys(METRICS, nothing)
    return {
        "name": "attainable",
        "kind": "attainable",
        "meaning": "1 - known noise variance / variance of the labels: what a perfect reader of the city would reach",
        "n": None,
        "fitted": {**blank, "r2": [round(value, 6), None, None]},
        "own": blank,
        "coverage": None,
        "mean_width": None,
    }


def _describe(split: Split) -> dict[str, Any]:
    described = asdict(split)  # type: ignore[call-overload]
    described["name"] = split.name
    described.pop("leaky", None)
    if "number" in described:
        described["folds"] = described.pop("number")
    return dict(described)
