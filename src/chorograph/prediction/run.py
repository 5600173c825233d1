"""Predicting indicators: tasks are built, fitted, given intervals, scored, and framed, in that order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone

from chorograph.area.embeddings import Embeddings
from chorograph.area.splits import LEAKY, Split
from chorograph.ground.arrays import Mask
from chorograph.ground.errors import ChorographError, InputError, LeakError
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.metrics.regression import BlockBootstrap
from chorograph.prediction.crossfit import Predictions, cross_fit
from chorograph.prediction.distance.applicability import area_of_applicability
from chorograph.prediction.distance.unlabelled import AtDistance, fit_at_distance, intervals_by_distance
from chorograph.prediction.features import read_features
from chorograph.prediction.fits import Fits, Model, fit_tasks, make_model, probe_maker
from chorograph.prediction.judging.ablation import ablate
from chorograph.prediction.judging.intervals import shift_weights
from chorograph.prediction.judging.leakage import Finding, labels_among_features, leaks_between_folds
from chorograph.prediction.judging.scores import Row, Scores, attainable_row
from chorograph.prediction.judging.scoring import Scoring
from chorograph.prediction.judging.suggest import as_frame, suggest
from chorograph.prediction.probes.baselines import BASELINES
from chorograph.prediction.probes.registry import said_of_size
from chorograph.prediction.profile import Prediction, Profile
from chorograph.prediction.questions import indicators_asked, make_question
from chorograph.prediction.settings import PredictionSettings
from chorograph.prediction.task import Parted, Task

if TYPE_CHECKING:
    from chorograph.area.folder import Area

_MEANING = {baseline.name: baseline.meaning for baseline in BASELINES}


def predict_profile(
    area: Area,
    embeddings: Embeddings | NDArray[Any] | None,
    indicators: Sequence[str],
    settings: PredictionSettings,
    split: Split,
    ledger: Ledger,
    progress: Progress = silent,
    *,
    estimator: Any = None,
) -> Profile:
    """Predict the indicators named, or all, for every region of the area, and score each beside the baselines.

    `embeddings` of images, or an array with a row for each region. `estimator`, a scikit-learn regressor, stands in for
    the probe that the settings name. Where several are asked for, one that cannot be predicted is left out by name and
    reason, and the others go on. Raises `InputError` where labels, folds or modalities do not suffice, and `LeakError`
    where the answer could have been known; each says what to change.
    """
    features = read_features(
        area, embeddings, modalities=settings.modalities, pooling=settings.pooling, texts=settings.texts
    )
    if embeddings is not None and "image" not in features.blocks:
        ledger.warnings.append(
            f"imagery was asked for, but none of {len(embeddings)} images lies in a region of {area.path}: predicted "
            f"from {', '.join(features.blocks) or 'nothing'}; `chorograph area info` tells where the images lie"
        )
    tasks: list[tuple[Task, Ledger, list[Finding]]] = []
    left_out: dict[str, str] = {}
    parted = Parted(features, settings, split)
    between: dict[bytes, list[Finding]] = {}
    names = indicators_asked(area, indicators)
    for name in names:
        own = Ledger()
        try:
            question = make_question(area, name, settings, own, settings.neediest)
            task = parted.task(question, own)
            tasks.append((task, own, _look_for_leaks(task, between, settings.allow_leaks, own)))
        except ChorographError as error:
            if len(names) == 1:
                raise
            left_out[name] = str(error)
    if not tasks:
        raise InputError("no indicator can be predicted: " + "; ".join(f"{n}: {why}" for n, why in left_out.items()))
    model = make_model(tasks[0][0], settings, None if estimator is None else lambda *_: clone(estimator))
    fits = fit_tasks([task for task, _, _ in tasks], model, settings.seed, progress)
    asked = [task for task, _, _ in tasks] if settings.unlabelled else []
    apart = fit_at_distance(asked, model, settings, progress) or [None] * len(tasks)
    predictions = {
        task.question.indicator: _judge(task, fit, model, other, settings, own, leaks, progress)
        for (task, own, leaks), fit, other in zip(tasks, fits, apart, strict=True)
    }
    _account(ledger, {task.question.indicator: own for task, own, _ in tasks}, left_out)
    return Profile(area, predictions, left_out)


def _judge(
    task: Task,
    fits: Fits,
    model: Model,
    apart: AtDistance | None,
    settings: PredictionSettings,
    ledger: Ledger,
    leaks: Sequence[Finding],
    progress: Progress,
) -> Prediction:
    """Return one indicator's predictions with intervals, scores and tables."""
    scored = fits.scored(task)
    if not scored.any():
        raise InputError("no labelled region has every modality asked for, so nothing can be scored")
    support = area_of_applicability(task.fused, task.target, task.folds).supported
    _count(task, fits, scored, support, settings.probe, ledger)
    scoring = Scoring(
        task.labels,
        scored,
        task.groups,
        settings.level,
        settings.interval,
        task.question.need,
        BlockBootstrap(seed=settings.seed),
        shift_weights(np.hstack(list(task.fused.blocks.values()))) if settings.shift_weights else None,
    )
    embeddings = task.features.embeddings
    scores = Scores(
        indicator=task.question.indicator,
        unit=task.labels.unit,
        fitted_unit=task.labels.fitted_unit,
        scale=task.labels.scale.name,
        per=task.question.per,
        level=settings.level,
        interval=settings.interval,
        probe=settings.probe,
        embeddings=embeddings.model if embeddings is not None and "image" in task.fused.blocks else None,
        neediest=task.question.need,
        leaky=task.split.leaky or any(finding.leak for finding in leaks),
        split=_describe(task.split),
        counts=ledger.counts,
        rows=tuple(_rows(task, fits, scoring, settings)),
        dropped=dict(ledger.dropped),
        warnings=tuple(ledger.warnings),
        leaks=tuple(finding.as_dict() for finding in leaks),
        repeats=tuple(_repeat(task, model, settings, scoring)),
        unlabelled=apart.scores(task, scoring) if apart else {},
        title=task.question.title,
        kind=task.question.kind,
        plus=task.labels.scale.plus,
    )
    frame = _frame(task, fits, scoring, support, settings.level)
    return Prediction(frame, scores, _tables(task, fits, model, scoring, settings, progress))


def _look_for_leaks(task: Task, between: dict[bytes, list[Finding]], allowed: bool, ledger: Ledger) -> list[Finding]:
    """Stop at a leak unless it is allowed; put everything found among the warnings, which every output shows.

    `between` keeps what was found between folds: tasks that are labelled in the same regions share it.
    """
    labelled = task.labelled
    if (key := labelled.tobytes()) not in between:
        between[key] = leaks_between_folds(
            task.area,
            task.features.regions[labelled].reset_index(drop=True),
            task.folds,
            task.split,
            task.duplicates,
            task.features.embeddings if "image" in task.fused.blocks else None,
        )
    blocks = {name: block[labelled] for name, block in task.fused.blocks.items()}
    found = between[key] + labels_among_features(blocks, task.target[labelled])
    stopping = [finding.what for finding in found if finding.leak]
    if stopping and not allowed:
        raise LeakError(f"{'; '.join(stopping)}. --allow-leaks goes on, and says so in the report")
    ledger.warnings += [f"leak, allowed: {what}" for what in stopping]
    ledger.warnings += [finding.what for finding in found if not finding.leak]
    return found


def _count(task: Task, fits: Fits, scored: Mask, support: Mask, probe: str, ledger: Ledger) -> None:
    """Count what was scored and predicted, and warn of what a reader must know."""
    model = fits.model
    ledger.count("scored", int(scored.sum()))
    ledger.count("predicted", int(np.isfinite(model.predicted).sum()))
    ledger.count("unlabelled", int((~task.labelled).sum()))
    tested = (model.fold >= 0) & (model.fold < task.tested_folds)
    if partial := int((task.labelled & tested & ~scored).sum()):
        ledger.warnings.append(f"{partial} labelled regions lack a modality: predicted from what they have, not scored")
    if task.split.leaky:
        ledger.warnings.append(LEAKY)
    if said := said_of_size(probe, int(task.labelled.sum())):
        ledger.warnings.append(said)
    if outside := int((np.isfinite(model.predicted) & ~support).sum()):
        ledger.warnings.append(f"{outside} predicted regions resemble no training region: look at `supported`, abstain")


def _rows(task: Task, fits: Fits, scoring: Scoring, settings: PredictionSettings) -> list[Row]:
    """Return the table of scores: the model, the baselines, and what anybody could reach where that is known."""
    how = "" if settings.fusion == "concat" else f", {settings.fusion} fusion,"
    title = f"{settings.probe}{how}{', kriged,' if settings.kriging else ''} on {' + '.join(task.fused.blocks)}"
    if fits.model.choices:
        title = settings.probe
    rows = [scoring.score(fits.model, title, "model", _told(fits.model))]
    rows += [scoring.score(run, name, "baseline", _MEANING[name]) for name, run in fits.baselines.items()]
    attainable = task.area.facts.get("attainable_r2", {}).get(task.question.indicator)
    if attainable is not None and task.labels.scale.name == "log" and task.question.per is None:
        rows.append(attainable_row(float(attainable)))
    return rows


def _told(model: Predictions) -> str:
    """Say what the model of a run is, and what it chose where it chooses."""
    if not model.choices:
        return "the model of this run"
    weights = sorted(model.choices[0].items(), key=lambda item: -item[1])
    chosen = ", ".join(f"{weight:.2f} {name}" for name, weight in weights if weight >= 0.005)
    return f"the model of this run: a weighted mean of {chosen}"


def _repeat(task: Task, model: Model, settings: PredictionSettings, scoring: Scoring) -> list[float | None]:
    """Return R2 of the model under other deals of the same split, one for each repeat after the first."""
    if settings.repeats > 1 and not hasattr(task.split, "seed"):
        raise InputError(f"{task.split.name} has only one way to part the regions; leave --repeats away")
    values = []
    for number in range(1, settings.repeats):
        other = replace(task.split, seed=settings.seed + number)  # type: ignore[type-var]
        folds = other.folds(task.area, task.features.regions[task.labelled], task.duplicates)
        values.append(scoring.r2(cross_fit(model.features, task.target, folds, model.make_probe)).as_list()[0])
    return values


def _tables(
    task: Task, fits: Fits, model: Model, scoring: Scoring, settings: PredictionSettings, progress: Progress
) -> dict[str, pd.DataFrame]:
    """Return what else the settings ask for, by the name of its file."""
    tables = {"intervals_by_place": _by_place(task, fits, scoring)}
    by_distance = intervals_by_distance(task, fits.model, scoring)
    if len(by_distance):
        tables["intervals_by_distance"] = by_distance
    weights = model.tile_weights(task, settings.seed)
    if weights is not None:
        tables["tile_weights"] = weights
    if settings.ablate:
        # Of a probe that chooses among more, the modalities asked for: all subsets of six would be 63 fits a fold.
        features = task.fused if model.chooses else model.features
        tables["ablation"] = ablate(features, task.target, task.folds, model.make_probe, scoring, progress)
    if settings.suggest:
        tables["suggested"] = _suggest(task, model, settings)
    return tables


def _by_place(task: Task, fits: Fits, scoring: Scoring) -> pd.DataFrame:
    """Return coverage and width of the intervals by block and, where regions have one, by group."""
    places = {"block": task.groups.astype(object)}
    group = task.features.regions["group"]
    if group.notna().all():
        places["group"] = group.to_numpy(object)
    rows = [{"kind": kind, **row} for kind, place in places.items() for row in scoring.by_place(fits.model, place)]
    return pd.DataFrame(rows)


def _suggest(task: Task, model: Model, settings: PredictionSettings) -> pd.DataFrame:
    """Return the unlabelled regions to survey next, among those that have every modality.

    `auto` is a mean of probes, whose doubt is not that of one map: a Gaussian process on the same task stands in.
    """
    features, make_probe = model.features, model.make_probe
    if settings.probe == "auto" and model.chooses:
        features, make_probe = task.fused, probe_maker(replace(settings, probe="gp"))
    whole = features.present.all(1)
    known, new = whole & task.labelled, whole & ~task.labelled
    if not new.any():
        raise InputError("every region that has all modalities is labelled already; leave --suggest away")
    names = tuple(features.blocks)
    probe = make_probe(features.columns(names), int(known.sum()))
    if not hasattr(probe, "posterior"):
        raise InputError("--suggest needs a probe that knows how uncertain the whole map is; use --probe gp")
    probe.fit(features.stacked(names, known), task.target[known])
    covariance, noise = probe.posterior(features.stacked(names, new))
    rows, gone = suggest(covariance, noise, settings.suggest)
    return as_frame(task.features.regions["region_id"][new].to_numpy(object), rows, gone)


def _frame(task: Task, fits: Fits, scoring: Scoring, support: Mask, level: float) -> gpd.GeoDataFrame:
    """Return a row a region, in the indicator's own unit; `Prediction` says what the columns are."""
    regions, model = task.features.regions, fits.model
    lower, upper = scoring.interval(model)
    fold = pd.array(model.fold, dtype="Int64")
    fold[np.asarray((model.fold < 0) | (model.fold >= task.tested_folds))] = pd.NA
    return gpd.GeoDataFrame(
        {
            "region_id": regions["region_id"].to_numpy(),
            "indicator": task.question.indicator,
            "fold": fold,
            "target": task.labels.own,
            "predicted": task.labels.to_own(model.predicted),
            # An infinite bound says "too few residuals"; in a table that is a missing value.
            "lower": np.where(np.isfinite(lower), lower, np.nan),
            "upper": np.where(np.isfinite(upper), upper, np.nan),
            "level": level,
            "basis": model.basis,
            # False: outside the support of the training data, where it is wiser to abstain.
            "supported": support,
            "n_images": task.features.n_images,
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


def _account(ledger: Ledger, by_indicator: dict[str, Ledger], left_out: dict[str, str]) -> None:
    """Bring what each indicator counted into the run's ledger; of several, each line names its indicator."""
    alone = len(by_indicator) == 1
    warned: dict[str, list[str]] = {}
    for indicator, own in by_indicator.items():
        before = "" if alone else f"{indicator}, "
        for name, number in own.counts.items():
            ledger.count(f"{before}{name}", number)
        for reason, number in own.dropped.items():
            ledger.drop(f"{before}{reason}", number)
        for warning in own.warnings:
            warned.setdefault(warning, []).append(indicator)
    # What is true of several indicators is said once.
    ledger.warnings += [what if alone else f"{', '.join(names)}: {what}" for what, names in warned.items()]
    for indicator, why in left_out.items():
        ledger.warnings.append(f"{indicator} is left out: {why}")
