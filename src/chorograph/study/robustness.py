"""One run of `evaluate robustness`: features of clean and corrupted imagery, and how predictions suffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.splits import LEAKY
from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import atomic_path, write_json
from chorograph.ground.stage import Ledger, Progress
from chorograph.metrics.regression import METRICS
from chorograph.models.encoders.kept import restore_kept
from chorograph.models.encoders.protocols import ImageEncoder
from chorograph.models.encoders.registry import load_encoder
from chorograph.prediction.crossfit import Fused, spread
from chorograph.prediction.features import Features, read_features
from chorograph.prediction.fits import probe_maker
from chorograph.prediction.questions import make_question
from chorograph.prediction.task import Task, build_task, make_split
from chorograph.study.corruptions import CORRUPTIONS, SETS, STRENGTHS, corrupt, of_set
from chorograph.study.settings import RobustnessSettings

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: Takes an image and its id.
Change = Callable[[Pixels, str], Pixels]
#: Images read, corrupted and encoded together.
_BATCH = 64
_SCORES = ("r2", "rmse", "mae")


@dataclass(frozen=True)
class _Place:
    """An area's task, the images of its labelled regions, and which regions have both."""

    task: Task
    images: pd.DataFrame
    usable: NDArray[np.bool_]

    @property
    def area(self) -> Area:
        """The area."""
        return self.task.area


def run_robustness(
    areas: Sequence[Area],
    indicator: str,
    config: RobustnessSettings,
    out: Path,
    ledger: Ledger,
    progress: Progress,
) -> list[Path]:
    """Write robustness.csv, matrix.csv, robustness.md and scores.json; returns them.

    Robustness: the probe is fitted on clean features and tested on corrupted ones of other regions, as when a cloud
    comes over an area whose model is in use. Matrix: it is fitted and tested on the same feature set.
    """
    names = _chosen(config.corruptions)
    places = [_read(area, indicator, config, ledger) for area in areas]
    jobs = len(places) * len(config.model) * (1 + len(names) * len(STRENGTHS) + (len(SETS) - 1) * config.matrix)
    done = 0
    drops: list[dict[str, Any]] = []
    matrix: list[dict[str, Any]] = []

    def count_done(what: str) -> None:
        nonlocal done
        done += 1
        progress(what, done, jobs)

    for place in places:
        for model in config.model:
            encoder = load_encoder(model, config.device)
            _fit(encoder, place, config.seed)
            label = {"area": place.area.name, "model": encoder.name}
            clean = _features(encoder, place, lambda image, _: image, config)
            count_done("clean imagery")
            plain_run = _scores(place, clean, clean, config)
            drops.append({**label, "corruption": "none", "strength": 0, **plain_run, "r2_drop": 0.0})
            for name in names:
                for strength in STRENGTHS:
                    worse = _features(encoder, place, _corruption(name, strength, config.seed), config)
                    found = _scores(place, clean, worse, config)
                    drop = round(plain_run["r2"] - found["r2"], 6)
                    drops.append({**label, "corruption": name, "strength": strength, **found, "r2_drop": drop})
                    count_done(f"imagery with {name}")
            if config.matrix:
                matrix.append({**label, "features": SETS[0], **plain_run})
                for name in SETS[1:]:
                    other = _features(encoder, place, _set(name, config.seed), config)
                    matrix.append({**label, "features": name, **_scores(place, other, other, config)})
                    count_done(f"imagery, {name}")
    ledger.facts["rows"] = {f"{row['model']}, clean": row["r2"] for row in drops if row["strength"] == 0}
    return _write(indicator, config, out, drops, matrix)


def _corruption(name: str, strength: int, seed: int) -> Change:
    return lambda image, image_id: corrupt(image, name, strength, seed, image_id)


def _set(name: str, seed: int) -> Change:
    return lambda image, image_id: of_set(image, name, seed, image_id)


def _chosen(asked: str) -> list[str]:
    if asked in ("all", "none"):
        return list(CORRUPTIONS) if asked == "all" else []
    names = [name.strip() for name in asked.split(",")]
    for name in names:
        if name not in CORRUPTIONS:
            raise UnknownNameError.of("corruption", name, CORRUPTIONS)
    return names


def _read(area: Area, indicator: str, config: RobustnessSettings, ledger: Ledger) -> _Place:
    images = area.images
    images = images[(images["view"] == config.view) & images["uri"].notna() & images["region_id"].notna()]
    anywhere = replace(config, modalities="all")
    question = make_question(area, indicator, config, ledger)
    task = build_task(Features.none(area), question, anywhere, make_split(config), ledger)
    usable = task.labelled & area.regions["region_id"].isin(images["region_id"]).to_numpy()
    if usable.sum() < 10:
        raise InputError(f"{area.path}: only {int(usable.sum())} regions have both {indicator} and an image")
    images = images[images["region_id"].isin(area.regions["region_id"][usable])]
    if config.images > 0:
        shuffled = images.sample(frac=1.0, random_state=config.seed)
        images = shuffled.groupby("region_id", sort=False).head(config.images).sort_index()
    if task.split.leaky:
        ledger.warnings.append(LEAKY)
    ledger.count(f"regions of {area.name}", int(usable.sum()))
    ledger.count(f"images of {area.name}", len(images))
    return _Place(task, images.reset_index(drop=True), usable)


def _fit(encoder: ImageEncoder, place: _Place, seed: int) -> None:
    """Fit what must see the area first, on clean imagery; what `embed` kept of it is taken up."""
    for part in restore_kept(encoder, place.area):
        drawn = place.images.sample(min(512, len(place.images)), random_state=seed)
        part.fit([place.area.read_image(uri) for uri in drawn["uri"]], seed=seed)


def _features(encoder: ImageEncoder, place: _Place, change: Change, config: RobustnessSettings) -> Fused:
    """Return the modalities that the probe reads, from images that are changed first."""
    vectors = np.concatenate([encoder.encode(batch) for batch in _batches(place, change)])
    ids = place.images["image_id"].to_numpy(object)
    unhashed = np.full(len(ids), "", dtype=object)
    embeddings = Embeddings(encoder.name, encoder.fingerprint, ids, unhashed, vectors)
    features = read_features(place.area, embeddings, modalities=config.modalities, pooling=config.pooling)
    return features.fused(config.modalities)


def _batches(place: _Place, change: Change) -> Iterator[list[Pixels]]:
    rows = list(place.images[["uri", "image_id"]].itertuples(index=False, name=None))
    for start in range(0, len(rows), _BATCH):
        yield [change(place.area.read_image(uri), image_id) for uri, image_id in rows[start : start + _BATCH]]


def _scores(place: _Place, fitted: Fused, tested: Fused, config: RobustnessSettings) -> dict[str, float]:
    """Fit on `fitted` features of training regions, score on `tested` features of tested ones.

    Predictions are held within the range of the training labels: far from every clean feature a linear probe may say
    anything, and one region would decide the score.
    """
    maker, names, target = probe_maker(config), tuple(fitted.blocks), place.task.target
    usable = place.usable & fitted.present.all(1) & tested.present.all(1)
    predicted = np.full(len(target), np.nan)
    for _, train, test in place.task.folds:
        trains, tests = (spread(rows, place.task.labelled) & usable for rows in (train, test))
        probe = maker(fitted.columns(names), int(trains.sum()))
        probe.fit(fitted.stacked(names, trains), target[trains])
        low, high = target[trains].min(), target[trains].max()
        predicted[tests] = np.clip(probe.predict(tested.stacked(names, tests)), low, high)
    held = np.isfinite(predicted)
    ones = np.ones(int(held.sum()))
    return {name: round(float(METRICS[name](target[held], predicted[held], ones)), 6) for name in _SCORES}


def _write(
    indicator: str,
    config: RobustnessSettings,
    out: Path,
    drops: list[dict[str, Any]],
    matrix: list[dict[str, Any]],
) -> list[Path]:
    paths = [out / name for name in ("robustness.csv", "matrix.csv", "robustness.md", "scores.json")]
    frames = pd.DataFrame(drops), pd.DataFrame(matrix)
    for path, frame in zip(paths, frames, strict=False):
        with atomic_path(path) as temporary:
            frame.to_csv(temporary, index=False)
    with atomic_path(paths[2]) as temporary:
        temporary.write_text(_markdown(*frames, indicator, config), encoding="utf-8")
    write_json(paths[3], {"indicator": indicator, "rows": drops, "matrix": matrix})
    return paths


def _markdown(drops: pd.DataFrame, matrix: pd.DataFrame, indicator: str, config: RobustnessSettings) -> str:
    lines = [
        f"{indicator}: R2 of {config.probe} on clean imagery, and how much of it each corruption takes away, by "
        "strength. Fitted on clean imagery of other regions.",
        "",
        "| area | model | corruption | " + " | ".join(map(str, STRENGTHS)) + " |",
        "|---" * (3 + len(STRENGTHS)) + "|",
    ]
    for (area, model), rows in drops.groupby(["area", "model"], sort=False):
        clean = rows.loc[rows["strength"] == 0, "r2"].iloc[0]
        lines.append(f"| {area} | {model} | none: R2 {clean:.2f} |" + " |" * len(STRENGTHS))
        for name, part in rows[rows["strength"] > 0].groupby("corruption", sort=False):
            cells = " | ".join(f"{-value:+.2f}" for value in part.sort_values("strength")["r2_drop"])
            lines.append(f"| | | {name} | {cells} |")
    if len(matrix):
        lines += ["", "R2, fitted and tested on the same feature set:", ""]
        lines += ["| area | model | " + " | ".join(SETS) + " |", "|---" * (2 + len(SETS)) + "|"]
        for (area, model), rows in matrix.groupby(["area", "model"], sort=False):
            found = rows.set_index("features")["r2"]
            lines.append(f"| {area} | {model} | " + " | ".join(f"{found[name]:.2f}" for name in SETS) + " |")
    return "\n".join(lines) + "\n"
