"""One run of `evaluate robustness`: features of clean and corrupted imagery, and how predictions suffer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load_file

from chorograph.area.splits import Folds, RandomFolds, duplicate_groups, parse_split
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import atomic_path, write_json
from chorograph.ground.stage import Ledger, Progress
from chorograph.metrics.regression import METRICS
from chorograph.models.encoders.protocols import FittedEncoder, ImageEncoder
from chorograph.models.encoders.registry import load_encoder, parts_of
from chorograph.prediction.labels import read_labels
from chorograph.prediction.modalities import image_features
from chorograph.prediction.probes.registry import make_probe_maker
from chorograph.study.corruptions import CORRUPTIONS, SETS, STRENGTHS, Pixels, corrupt, of_set

if TYPE_CHECKING:
    from chorograph.area.folder import Area
    from chorograph.study.config import RobustnessConfig

Matrix = NDArray[np.float64]
#: Takes an image and its id.
Change = Callable[[Pixels, str], Pixels]
#: Images read, corrupted and encoded together.
_BATCH = 64
_SCORES = ("r2", "rmse", "mae")


@dataclass(frozen=True)
class _Place:
    """An area's images, the labels of the regions that have one, and their folds."""

    area: Area
    images: pd.DataFrame
    regions: pd.Series[str]
    target: Matrix
    folds: Folds


def run_robustness(areas: Sequence[Area], config: RobustnessConfig, ledger: Ledger, progress: Progress) -> list[Path]:
    """Write robustness.csv, matrix.csv, robustness.md and scores.json; returns them.

    Robustness: the probe is fitted on clean features and tested on corrupted ones of other regions, as when a cloud
    comes over an area whose model is in use. Matrix: it is fitted and tested on the same feature set.
    """
    names = _chosen(config.corruptions)
    places = [_read(area, config, ledger) for area in areas]
    jobs = len(places) * len(config.model) * (1 + len(names) * len(STRENGTHS) + (len(SETS) - 1) * config.matrix)
    done = 0
    drops: list[dict[str, Any]] = []
    matrix: list[dict[str, Any]] = []

    def told(what: str) -> None:
        nonlocal done
        done += 1
        progress(what, done, jobs)

    for place in places:
        for model in config.model:
            encoder = load_encoder(model, config.device)
            _fit(encoder, place, config.seed)
            label = {"area": place.area.name, "model": encoder.name}
            clean = _features(encoder, place, lambda image, _: image)
            told("clean imagery")
            plain_run = _scores(place, clean, clean, config)
            drops.append({**label, "corruption": "none", "strength": 0, **plain_run, "r2_drop": 0.0})
            for name in names:
                for strength in STRENGTHS:
                    worse = _features(encoder, place, _corruption(name, strength, config.seed))
                    found = _scores(place, clean, worse, config)
                    drop = round(plain_run["r2"] - found["r2"], 6)
                    drops.append({**label, "corruption": name, "strength": strength, **found, "r2_drop": drop})
                    told(f"imagery with {name}")
            if config.matrix:
                matrix.append({**label, "features": SETS[0], **plain_run})
                for name in SETS[1:]:
                    other = _features(encoder, place, _set(name, config.seed))
                    matrix.append({**label, "features": name, **_scores(place, other, other, config)})
                    told(f"imagery, {name}")
    ledger.facts["rows"] = {f"{row['model']}, clean": row["r2"] for row in drops if row["strength"] == 0}
    return _write(config, drops, matrix)


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


def _read(area: Area, config: RobustnessConfig, ledger: Ledger) -> _Place:
    images = area.images
    images = images[(images["view"] == config.view) & images["uri"].notna() & images["region_id"].notna()]
    labels = read_labels(area, config.indicator, ledger, log=config.log, per=config.per, plus=config.plus)
    usable = np.isfinite(labels.fitted) & area.regions["region_id"].isin(images["region_id"]).to_numpy()
    if usable.sum() < 10:
        raise InputError(f"{area.path}: only {int(usable.sum())} regions have both {config.indicator} and an image")
    regions = area.regions[usable].reset_index(drop=True)
    images = images[images["region_id"].isin(regions["region_id"])]
    if config.images > 0:
        shuffled = images.sample(frac=1.0, random_state=config.seed)
        images = shuffled.groupby("region_id", sort=False).head(config.images).sort_index()
    split = parse_split(config.split, block_m=config.block_m, buffer_m=0.0, folds=config.folds, seed=config.seed)
    if isinstance(split, RandomFolds):
        ledger.warnings.append("random folds are leaky: neighbours stand on both sides")
    folds = split.folds(area, regions, duplicate_groups(images, regions["region_id"]))
    ledger.count(f"regions of {area.name}", len(regions))
    ledger.count(f"images of {area.name}", len(images))
    return _Place(area, images.reset_index(drop=True), regions["region_id"], labels.fitted[usable], folds)


def _fit(encoder: ImageEncoder, place: _Place, seed: int) -> None:
    """Fit what must see the area first, on clean imagery; what `embed` kept of it is taken up."""
    for part in parts_of(encoder):
        if not isinstance(part, FittedEncoder):
            continue
        path = place.area.embeddings_path(part.name).with_suffix(".safetensors")
        if path.is_file():
            part.restore(load_file(path))
        else:
            drawn = place.images.sample(min(512, len(place.images)), random_state=seed)
            part.fit([place.area.read_image(uri) for uri in drawn["uri"]], seed=seed)


def _features(encoder: ImageEncoder, place: _Place, change: Change) -> Matrix:
    """Return the mean vector of each region's images (regions, width), each image changed first."""
    vectors = np.concatenate([encoder.encode(batch) for batch in _batches(place, change)])
    ids = place.images["image_id"].to_numpy(object)
    return image_features(place.images, ids, vectors, place.regions, "mean")


def _batches(place: _Place, change: Change) -> Iterator[list[Pixels]]:
    rows = list(place.images[["uri", "image_id"]].itertuples(index=False, name=None))
    for start in range(0, len(rows), _BATCH):
        yield [change(place.area.read_image(uri), image_id) for uri, image_id in rows[start : start + _BATCH]]


def _scores(place: _Place, fitted: Matrix, tested: Matrix, config: RobustnessConfig) -> dict[str, float]:
    """Fit on `fitted` features of training regions, score on `tested` features of tested ones.

    Predictions are held within the range of the training labels: far from every clean feature a linear probe may say
    anything, and one region would decide the score.
    """
    maker = make_probe_maker(config.probe, seed=config.seed)
    predicted = np.full(len(place.target), np.nan)
    for _, train, test in place.folds:
        probe = maker({"image": slice(0, fitted.shape[1])}, int(train.sum()))
        probe.fit(fitted[train], place.target[train])
        low, high = place.target[train].min(), place.target[train].max()
        predicted[test] = np.clip(probe.predict(tested[test]), low, high)
    held = np.isfinite(predicted)
    ones = np.ones(int(held.sum()))
    return {name: round(float(METRICS[name](place.target[held], predicted[held], ones)), 6) for name in _SCORES}


def _write(config: RobustnessConfig, drops: list[dict[str, Any]], matrix: list[dict[str, Any]]) -> list[Path]:
    paths = [config.out / name for name in ("robustness.csv", "matrix.csv", "robustness.md", "scores.json")]
    frames = pd.DataFrame(drops), pd.DataFrame(matrix)
    for path, frame in zip(paths, frames, strict=False):
        with atomic_path(path) as temporary:
            frame.to_csv(temporary, index=False)
    with atomic_path(paths[2]) as temporary:
        temporary.write_text(_markdown(*frames, config), encoding="utf-8")
    write_json(paths[3], {"indicator": config.indicator, "rows": drops, "matrix": matrix})
    return paths


def _markdown(drops: pd.DataFrame, matrix: pd.DataFrame, config: RobustnessConfig) -> str:
    lines = [
        f"{config.indicator}: R2 of {config.probe} on clean imagery, and how much of it each corruption takes away, by "
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
