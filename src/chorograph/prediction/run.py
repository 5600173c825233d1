"""One run of `predict`: labels, features, folds, probe, intervals, baselines, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.splits import LEAKY, Folds, RandomFolds, SpatialBlocks, Split, duplicate_groups, parse_split
from chorograph.ground.errors import InputError, LeakError, UnknownNameError
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.metrics.regression import BlockBootstrap
from chorograph.models.encoders.registry import resolve
from chorograph.prediction import modalities
from chorograph.prediction.ablation import ablate
from chorograph.prediction.config import GRAPH_PARTS, MODALITIES, STANDARD, STREET, PredictConfig
from chorograph.prediction.crossfit import Fused, Matrix, Predictions, ProbeMaker, cross_fit
from chorograph.prediction.intervals import shift_weights
from chorograph.prediction.labels import Labels, read_labels
from chorograph.prediction.leakage import Finding, look_for_leaks
from chorograph.prediction.probes.attention import Tiles, tile_weights, with_attention
from chorograph.prediction.probes.baselines import BASELINES, Baseline
from chorograph.prediction.probes.registry import make_probe_maker
from chorograph.prediction.result import Prediction
from chorograph.prediction.scoring import Interval, Scoring, attainable_row
from chorograph.prediction.suggest import as_frame, suggest
from chorograph.prediction.support import supported

if TYPE_CHECKING:
    from chorograph.area.folder import Area


def run_predict(
    area: Area,
    embeddings: Embeddings | None,
    config: PredictConfig,
    split: Split,
    ledger: Ledger,
    progress: Progress = silent,
) -> Prediction:
    """Predict one indicator for every region of the area, and score it beside the baselines.

    Raises `InputError` where labels, folds or modalities do not suffice, and `LeakError` where the answer could have
    been known; each says what to change.
    """
    regions = area.regions
    labels = read_labels(
        area, config.indicator, ledger, log=config.log, per=config.per, year=config.year, plus=config.plus
    )
    labelled = np.isfinite(labels.fitted)
    available = read_modalities(area, embeddings, config)
    fused = Fused({name: available[name] for name in _chosen(config.modalities, available, area)})
    duplicates = duplicate_groups(area.images, regions["region_id"][labelled])
    ledger.count("regions", len(regions))
    ledger.count("labelled", int(labelled.sum()))
    ledger.count("duplicate image groups", len(np.unique(duplicates[duplicates >= 0])))
    folds = split.folds(area, regions[labelled], duplicates)
    if folds.merged_duplicates:
        ledger.warnings.append(f"{folds.merged_duplicates} blocks were joined to others, which hold identical images")
    leaks = look_for_leaks(
        area,
        regions[labelled].reset_index(drop=True),
        labels.fitted[labelled],
        folds,
        split,
        duplicates,
        {name: block[labelled] for name, block in fused.blocks.items()},
        embeddings if "image" in fused.blocks else None,
    )
    _judge(leaks, config.allow_leaks, ledger)
    scored_folds = len(folds.banned)
    if scored_folds == 1:
        folds = _with_inner_folds(folds, area, regions[labelled], duplicates, config)
    features, make_probe = fused, probe_maker(config)
    tables = {}
    if config.pooling == "attention" and embeddings is not None:
        tiles = Tiles.of(area.images, embeddings.image_ids, embeddings.vectors, regions["region_id"])
        features, make_probe = with_attention(fused, make_probe, tiles, seed=config.seed)
        weights = tile_weights(tiles, labels.fitted, seed=config.seed)
        tables["tile_weights"] = weights.assign(region_id=regions["region_id"].to_numpy(object)[weights.pop("row")])
    model = cross_fit(features, labels.fitted, folds, make_probe, progress)
    runs = {_title(config, fused): model}
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
    scoring = Scoring(
        labels,
        scored,
        groups,
        config.level,
        config.interval,
        config.neediest,
        BlockBootstrap(seed=config.seed),
        shift_weights(np.hstack(list(fused.blocks.values()))) if config.shift_weights else None,
    )
    kinds = {name: "model" if run is model else "baseline" for name, run in runs.items()}
    rows = [
        {"name": name, "kind": kinds[name], "meaning": meanings[name], **scoring.score(run)}
        for name, run in runs.items()
    ]
    attainable = area.facts.get("attainable_r2", {}).get(config.indicator)
    if attainable is not None and config.log and config.per is None:
        rows.append(attainable_row(float(attainable)))
    support = supported(fused, labelled, folds)
    if outside := int((np.isfinite(model.predicted) & ~support).sum()):
        ledger.warnings.append(f"{outside} predicted regions resemble no training region: look at `supported`, abstain")
    tables["intervals_by_place"] = _by_place(scoring, model, regions, groups)
    if config.ablate:
        tables["ablation"] = ablate(features, labels.fitted, folds, make_probe, scoring, progress)
    if config.suggest:
        tables["suggested"] = _suggest(features, labels.fitted, make_probe, regions["region_id"], config.suggest)
    return Prediction(
        frame=_frame(area, labels, model, scoring.interval(model), support, scored_folds, config),
        scores={
            "indicator": config.indicator,
            "unit": labels.unit,
            "fitted_unit": labels.fitted_unit,
            "log": config.log,
            "per": config.per,
            "level": config.level,
            "interval": config.interval,
            "probe": config.probe,
            "embeddings": embeddings.model if embeddings is not None and "image" in fused.blocks else None,
            "neediest": config.neediest,
            "leaky": split.leaky or any(finding.leak for finding in leaks),
            "leaks": [finding.as_dict() for finding in leaks],
            "split": _describe(split),
            "repeats": _repeat(area, features, make_probe, duplicates, config, split, scoring),
            "counts": ledger.counts,
            "dropped": dict(ledger.dropped),
            "rows": rows,
            "warnings": ledger.warnings,
        },
        area=area,
        tables=tables,
    )


def _judge(leaks: Sequence[Finding], allowed: bool, ledger: Ledger) -> None:
    """Stop at a leak unless it is allowed; put everything found among the warnings, which every output shows."""
    stopping = [finding.what for finding in leaks if finding.leak]
    if stopping and not allowed:
        raise LeakError(f"{'; '.join(stopping)}. --allow-leaks goes on, and says so in the report")
    ledger.warnings += [f"leak, allowed: {what}" for what in stopping]
    ledger.warnings += [finding.what for finding in leaks if not finding.leak]


def _repeat(
    area: Area,
    fused: Fused,
    make_probe: ProbeMaker,
    duplicates: NDArray[np.int64],
    config: PredictConfig,
    split: Split,
    scoring: Scoring,
) -> list[float | None]:
    """Return R2 of the model under other deals of the same split, one for each repeat after the first."""
    if config.repeats > 1 and not hasattr(split, "seed"):
        raise InputError(f"{split.name} has only one way to part the regions; leave --repeats away")
    target = scoring.labels.fitted
    values = []
    for number in range(1, config.repeats):
        other = replace(split, seed=config.seed + number)  # type: ignore[type-var]
        folds = other.folds(area, area.regions[np.isfinite(target)], duplicates)
        values.append(scoring.r2(cross_fit(fused, target, folds, make_probe))[0])
    return values


def _by_place(
    scoring: Scoring, model: Predictions, regions: gpd.GeoDataFrame, groups: NDArray[np.int64]
) -> pd.DataFrame:
    """Return coverage and width of the intervals by block and, where regions have one, by group."""
    places = {"block": groups.astype(object)}
    if regions["group"].notna().all():
        places["group"] = regions["group"].to_numpy(object)
    rows = [{"kind": kind, **row} for kind, place in places.items() for row in scoring.by_place(model, place)]
    return pd.DataFrame(rows)


def _suggest(
    fused: Fused, target: Matrix, make_probe: ProbeMaker, region_ids: pd.Series[str], number: int
) -> pd.DataFrame:
    """Return the unlabelled regions to survey next, among those that have every modality."""
    whole = fused.present.all(1)
    known, new = whole & np.isfinite(target), whole & ~np.isfinite(target)
    if not new.any():
        raise InputError("every region that has all modalities is labelled already; leave --suggest away")
    names = tuple(fused.blocks)
    probe = make_probe(fused.columns(names), int(known.sum()))
    if not hasattr(probe, "posterior"):
        raise InputError("--suggest needs a probe that knows how uncertain the whole map is; use --probe gp")
    probe.fit(fused.stacked(names, known), target[known])
    covariance, noise = probe.posterior(fused.stacked(names, new))
    rows, gone = suggest(covariance, noise, number)
    return as_frame(region_ids[new].to_numpy(object), rows, gone)


def make_split(config: PredictConfig) -> Split:
    """Return the split that the configuration names."""
    return parse_split(
        config.split, block_m=config.block_m, buffer_m=config.buffer_m, folds=config.folds, seed=config.seed
    )


def read_modalities(area: Area, embeddings: Embeddings | None, config: PredictConfig) -> dict[str, Matrix]:
    """Return the features of every modality the area has: (regions, width), NaN rows where a region lacks it.

    Pooled as the configuration says. Captions, street views, parts of the graph and its vectors are among them only
    where the configuration names them.
    """
    regions = area.regions
    ids = regions["region_id"]
    blocks: dict[str, Matrix] = {}
    if embeddings is not None:
        # Attention pools anew in every fold; what is compared before that takes the mean.
        how = "mean" if config.pooling == "attention" else config.pooling
        blocks["image"] = modalities.image_features(area.images, embeddings.image_ids, embeddings.vectors, ids, how)
    if regions.geometry.notna().any():
        if "image" in blocks:
            blocks["context"] = modalities.context_features(blocks["image"], regions)
        blocks["location"] = modalities.location_features(regions)
        blocks["shape"] = modalities.shape_features(regions)
    if area.has("poi_counts"):
        blocks["poi"] = modalities.poi_features(area.read("poi_counts"), ids)
    if area.has("triples"):
        blocks["graph"] = modalities.graph_features(area.triples, area.entities, ids)
    for name in map(str.strip, config.modalities.split(",")):
        if name in GRAPH_PARTS or name.startswith("graph:"):
            blocks[name] = modalities.graph_part(area, name)
        elif name == STREET and embeddings is not None:
            blocks[name] = modalities.street_features(area, embeddings.model, ids)
    if config.texts is not None:
        texts = Embeddings.read(area.embeddings_path(f"text:{resolve(config.texts)}"))
        blocks["text"] = modalities.image_features(area.images, texts.image_ids, texts.vectors, ids, "mean")
    return {name: block for name, block in blocks.items() if np.isfinite(block).all(1).any()}


def _chosen(asked: str, available: Mapping[str, Matrix], area: Area) -> list[str]:
    if asked == "all":
        return list(available)
    if asked == "standard":
        # An area with a graph alone is predicted from that.
        return [name for name in STANDARD if name in available] or list(available)
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in (*MODALITIES, STREET, *GRAPH_PARTS) and not name.startswith("graph:"):
            raise UnknownNameError.of("modality", name, (*MODALITIES, STREET, *GRAPH_PARTS, "graph:NAME"))
        if name not in available:
            raise InputError(f"{area.path} has no {name} features; it has {', '.join(available)}")
    return names


def _title(config: PredictConfig, fused: Fused) -> str:
    """Name a run in the table of scores."""
    how = "" if config.fusion == "concat" else f", {config.fusion} fusion,"
    return f"{config.probe}{how}{', kriged,' if config.kriging else ''} on {' + '.join(fused.blocks)}"


def probe_maker(config: PredictConfig) -> ProbeMaker:
    """Return the maker of the probe that the configuration names."""
    # Inner folds of a stack or of kriging are of the kind of the outer ones.
    block_m = config.block_m if config.split in ("spatial_block", "cluster") else None
    return make_probe_maker(
        config.probe, seed=config.seed, kriging=config.kriging, fusion=config.fusion, block_m=block_m
    )


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


def _frame(
    area: Area,
    labels: Labels,
    model: Predictions,
    interval: Interval,
    support: NDArray[np.bool_],
    scored_folds: int,
    config: PredictConfig,
) -> gpd.GeoDataFrame:
    regions = area.regions
    lower, upper = interval
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
            # False: outside the support of the training data, where it is wiser to abstain.
            "supported": support,
            "n_images": regions["region_id"].map(counts).fillna(0).astype(int).to_numpy(),
        },
        geometry=regions.geometry.to_numpy(),
        crs=regions.crs,
    )


def _describe(split: Split) -> dict[str, Any]:
    described = asdict(split)  # type: ignore[call-overload]
    described["name"] = split.name
    described.pop("leaky", None)
    if "number" in described:
        described["folds"] = described.pop("number")
    return dict(described)
