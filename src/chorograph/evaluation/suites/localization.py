"""Semantic localisation judged on a folder in the layout of AIR-SLT: `annotations/anno.json` and `imgs/`.

AIR-SLT (Yuan et al. 2022, arXiv 2209.06515) has 59 sentences on 22 images of 3,000 x 2,000 px and more; each sentence
speaks of one or more polygons. The score of a data set is the mean over its sentences.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.evaluation.accounting import Rows, account_of
from chorograph.evaluation.examples.checks import check_encoder, check_photograph, check_pixels
from chorograph.evaluation.examples.seen import Hashed, Seen, hash_files
from chorograph.ground.arrays import Vector
from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json, sha256_file, within
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.metrics.localization import localization_scores, region_mask
from chorograph.metrics.regression import BlockBootstrap, Estimate
from chorograph.models.encoders.protocols import ImageTextEncoder
from chorograph.searching.heatmap import mean_similarity
from chorograph.searching.large_image import open_large_image
from chorograph.searching.localize import encode_windows, probability_map
from chorograph.searching.windows import STEPS, windows

METRICS = ("rsu", "rda", "ras", "rmi")
#: The two ways to score: as published, and with what the published code rounds away.
ARITHMETICS = {True: "published", False: "corrected"}


@dataclass(frozen=True)
class Sample:
    """A sentence, its image, and the polygons (n, 2) of x, y in pixels that it speaks of."""

    number: int
    image: Path
    sentence: str
    regions: list[NDArray[np.float64]]


def read_samples(folder: Path) -> list[Sample]:
    """Read the annotations; `InputError` naming the file and the sample where one is wrong or its image is missing."""
    path = folder / "annotations" / "anno.json"
    records = read_json(path)
    if not isinstance(records, list) or not records:
        raise InputError(f"{path} must be a list of samples with caption, jpg_name and points")
    return [_sample(record, number, path, folder / "imgs") for number, record in enumerate(records)]


def data_digest(folder: Path, samples: Sequence[Sample]) -> str:
    """Return the SHA-256 of the annotations and of every image they name."""
    files = [folder / "annotations" / "anno.json", *sorted({sample.image for sample in samples})]
    return hashlib.sha256("".join(sha256_file(file) for file in files).encode()).hexdigest()


def check_samples(encoder: ImageTextEncoder, samples: Sequence[Sample]) -> dict[str, Any]:
    """Try the encoder on windows of the first image, as `check_encoder` does, which raises where its input is amiss."""
    path = samples[0].image
    with open_large_image(path) as image:
        some = windows(image.shape)[:: max(1, len(windows(image.shape)) // 8)]
        pixels = [read for window in some if (read := image.read(tuple(window.tolist()))) is not None]
    if not pixels:
        raise InputError(f"no part of {path} holds data")
    brightest = np.array([np.percentile(window, 99) for window in pixels], dtype=np.int64)
    return {**check_encoder(encoder, pixels), **check_pixels(brightest, str(path))}


def account_samples(
    encoder: ImageTextEncoder,
    folder: Path,
    samples: Sequence[Sample],
    rows: Rows,
    ledger: Ledger,
    *,
    seen: Sequence[Seen] = (),
    **more: Any,
) -> dict[str, Any]:
    """Return the result of a set of samples, with its account: data, checks, images that training saw."""
    files = sorted({sample.image for sample in samples})
    ledger.count("samples", len(samples))
    ledger.count("images", len(files))
    ledger.count("regions", sum(len(sample.regions) for sample in samples))
    judged = {"data": str(folder), "data_sha256": data_digest(folder, samples), **more}
    images = hash_files(files, str(folder), ledger) if seen else Hashed((), (), np.zeros(0, dtype=np.uint64))
    return account_of("localize", encoder, judged, images, rows, ledger, seen=seen)


def score_samples(
    encoder: ImageTextEncoder,
    samples: Sequence[Sample],
    *,
    steps: Sequence[int] = STEPS,
    compat: bool = True,
    arithmetics: Sequence[bool] = (True, False),
    progress: Progress = silent,
) -> pd.DataFrame:
    """Return a row for each sample and arithmetic: sample, image, sentence, regions, arithmetic, rsu, rda, ras, rmi.

    An image is encoded once for all its sentences, its windows cut as `compat` says; each of `arithmetics` (True: as
    published) makes its own map of the same similarities and scores it. Raises `InputError` naming the sample where a
    region lies outside its image, and the image where it cannot be read.
    """
    rows: list[dict[str, Any]] = []
    by_image = groupby(sorted(samples, key=lambda sample: sample.image), key=lambda sample: sample.image)
    for path, group in by_image:
        of_image = list(group)
        with open_large_image(path) as image:
            shape = image.shape
            for sample in of_image:
                _check_regions(sample, shape)
            at, vectors = encode_windows(encoder, image, steps=steps, compat=compat)
        sentences = encoder.encode_texts([sample.sentence for sample in of_image])
        for sample, sentence in zip(of_image, sentences, strict=True):
            similarity = mean_similarity(at, vectors @ sentence, shape)
            described = {"sample": sample.number, "image": path.name, "sentence": sample.sentence}
            for arithmetic in arithmetics:
                probability = probability_map(similarity, steps=steps, compat=arithmetic)
                scores = localization_scores(probability, sample.regions, compat=arithmetic)
                kept = {"regions": len(sample.regions), "arithmetic": ARITHMETICS[arithmetic]}
                rows.append({**described, **kept, **scores})
            progress("localising", len(rows) // len(arithmetics), len(samples))
    return pd.DataFrame(rows).sort_values(["sample", "arithmetic"], ignore_index=True)


def summarise(table: pd.DataFrame, seed: int = 0) -> dict[str, dict[str, Estimate]]:
    """Return each arithmetic's means, and those of "corrected - published", with 95 % intervals over the samples.

    Samples of one image share its windows, so whole images are drawn.
    """
    wide = {name: frame.set_index("sample") for name, frame in table.groupby("arithmetic")}
    if len(wide) == 2:
        published, corrected = wide["published"], wide["corrected"]
        wide["corrected - published"] = corrected.assign(**{n: corrected[n] - published[n] for n in METRICS})
    bootstrap = BlockBootstrap(seed=seed)
    return {
        str(arithmetic): {
            name: bootstrap.estimate(_mean, values := frame[name].to_numpy(float), values, _codes(frame["image"]))
            for name in METRICS
        }
        for arithmetic, frame in wide.items()
    }


def _mean(values: Vector, _: Vector, weight: Vector) -> Vector:
    return np.asarray((weight @ values) / weight.sum(-1))


def _codes(images: pd.Series[str]) -> NDArray[np.int64]:
    return np.asarray(pd.factorize(images)[0], dtype=np.int64)


def _sample(record: Any, number: int, path: Path, images: Path) -> Sample:
    where = f"{path}, sample {number}"
    try:
        sentence, name = str(record["caption"]).strip(), str(record["jpg_name"])
        regions = [np.asarray(polygon, dtype=np.float64) for polygon in record["points"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{where} needs caption, jpg_name and points (polygons of x and y): {error!r}") from error
    if not sentence:
        raise InputError(f"{where} has an empty caption")
    try:
        image = within(images, name)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    if not image.is_file():
        raise InputError(f"{where} names the image {name}, which is not in {images}")
    check_photograph(image)
    return Sample(number, image, sentence, regions)


def _check_regions(sample: Sample, shape: tuple[int, int]) -> None:
    try:
        region_mask(shape, sample.regions)
    except InputError as error:
        raise InputError(f"sample {sample.number} ({sample.image.name}): {error}") from error
