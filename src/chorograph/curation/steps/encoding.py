"""Vectors of images and scores from them: `encode`, `relevance`, `detector`. The models come from above."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from chorograph.area.images import read_rgb
from chorograph.curation.packs import read_packed
from chorograph.curation.pictures import read_pictures
from chorograph.curation.rows import Context, Drop, Row
from chorograph.curation.steps.detector import read_detector
from chorograph.curation.steps.duplicates import pack_vector, unpack_vectors
from chorograph.ground.arrays import Vectors
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.stage import Ledger, Progress

_NOUNS = ("a remote sensing image", "an aerial image", "a satellite image")
_ADJECTIVES = (
    "low resolution", "bad", "cropped", "bright", "dark", "close-up", "black and white", "jpeg corrupted", "blurry",
    "good",
)  # fmt: skip
#: Zhang et al. 2024: 11 patterns (plain and ten adjectives) of 3 nouns.
TEMPLATES = tuple(
    template
    for noun in _NOUNS
    for template in (f"{noun}.", *(f"a {adjective} {noun.partition(' ')[2]}." for adjective in _ADJECTIVES))
)
_BATCH = 64


class Encoder(Protocol):
    """What this room needs of a model; `chorograph.models` has them."""

    @property
    def name(self) -> str:
        """The full name that loads it again."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vector of any image would."""

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> Vectors:
        """Return (n, dim) for n uint8 (height, width, 3) images."""


class TextEncoder(Encoder, Protocol):
    """An encoder with a text tower of the same space; vectors of unit length."""

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Return (n, dim) for n texts."""


def encode_pictures(path: Path, encoder: Encoder, ledger: Ledger, progress: Progress) -> Vectors:
    """Return the vectors of the pictures at a path that decode."""
    vectors: list[Vectors] = []
    batch: list[NDArray[np.uint8]] = []
    done = 0

    def flush() -> None:
        if batch:
            vectors.append(encoder.encode(batch))
            batch.clear()

    for picture in read_pictures(path, ledger.drop):
        try:
            batch.append(read_rgb(picture.data))
        except ImageError as error:
            ledger.drop(f"image {error.reason}")
            continue
        done += 1
        if len(batch) == _BATCH:
            flush()
            progress(f"encoding {path.name}, images so far", done, done)
    flush()
    if not vectors:
        raise InputError(f"{path} holds no image that decodes")
    return np.concatenate(vectors)


def relevance(images: Vectors, texts: Vectors) -> NDArray[np.float64]:
    """Return the cosine of each image's vector and the mean of the texts' unit vectors: the published s.

    In double precision, so that the score of an image does not depend on those beside it.
    """
    wide = images.astype(np.float64)
    mean = (texts / np.linalg.norm(texts, axis=1, keepdims=True)).mean(axis=0, dtype=np.float64)
    lengths = np.linalg.norm(wide, axis=1) * np.linalg.norm(mean)
    return np.asarray(wide @ mean / np.maximum(lengths, 1e-12))


@dataclass(frozen=True)
class Encode:
    """Fill `vector`: what `embedding_duplicates` compares, and what later steps with the same model start from."""

    name: ClassVar[str] = "encode"

    model: str

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Encode images that decode; others leave with their reason."""
        vectors, drops = _vectors(rows, self.model, context)
        for row, vector in zip((r for r, d in zip(rows, drops, strict=True) if d is None), vectors, strict=True):
            row.update(vector=pack_vector(vector), vector_model=self.model)
        return drops

    def describe(self) -> str:
        """Say what it does."""
        return f"a vector an image, by {self.model}"


@dataclass(frozen=True)
class Relevance:
    """Fill `relevance`: how near an image is to the mean of templates (the published 33 by default)."""

    name: ClassVar[str] = "relevance"

    model: str
    templates: tuple[str, ...] = TEMPLATES
    least: float | None = None

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Score images; below `least` they leave (`quantiles` chooses by share instead)."""
        return _scored(rows, self.model, context, "relevance", self.least, self._score)

    def _score(self, encoder: Encoder, vectors: Vectors) -> NDArray[np.float64]:
        if not hasattr(encoder, "encode_texts"):
            raise InputError(
                f"relevance: {self.model} has no text tower; name a model that has one, as open_clip:NAME/TAG"
            )
        return relevance(vectors, _texts(cast(TextEncoder, encoder), self.templates))

    def describe(self) -> str:
        """Say what it does."""
        least = "" if self.least is None else f", at least {self.least:g}"
        return f"cosine of {self.model} with the mean of {len(self.templates)} templates{least}"


@dataclass(frozen=True)
class DetectorScore:
    """Fill `detector`: the probability that an image shows the topic, by a head that `curate fit-detector` made."""

    name: ClassVar[str] = "detector"

    head: Path
    least: float | None = None

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Score images; below `least` they leave (`quantiles` chooses by share instead)."""
        head = read_detector(self.head)

        def score(encoder: Encoder, vectors: Vectors) -> NDArray[np.float64]:
            if encoder.fingerprint != head.fingerprint:
                raise InputError(f"{self.head} was fitted on another state of {head.model}; fit it again")
            return head.probability(vectors)

        return _scored(rows, head.model, context, "detector", self.least, score)

    def describe(self) -> str:
        """Say what it does."""
        least = "" if self.least is None else f", at least {self.least:g}"
        return f"probability by the head {self.head}{least}"


def _scored(
    rows: Sequence[Row],
    model: str,
    context: Context,
    column: str,
    least: float | None,
    score: Callable[[Encoder, Vectors], NDArray[np.float64]],
) -> list[Drop | None]:
    vectors, drops = _vectors(rows, model, context)
    places = [place for place, drop in enumerate(drops) if drop is None]
    if not places:
        return drops
    for place, number in zip(places, score(_encoder(context, model), vectors).tolist(), strict=True):
        rows[place][column] = number
        if least is not None and number < least:
            drops[place] = Drop(f"{column} below {least:g}", number)
    return drops


def _vectors(rows: Sequence[Row], model: str, context: Context) -> tuple[Vectors, list[Drop | None]]:
    """Return the vectors of rows that have one, and why the others have none; stored vectors are taken up."""
    drops: list[Drop | None] = [None] * len(rows)
    if all(row["vector_model"] == model for row in rows):
        return unpack_vectors([row["vector"] for row in rows]), drops
    encoder = _encoder(context, model)
    parts: list[Vectors] = []
    for start in range(0, len(rows), _BATCH):
        images = []
        for place, row in enumerate(rows[start : start + _BATCH], start=start):
            try:
                if row["pack"] is None:
                    raise ImageError("missing", row["key"])
                images.append(read_rgb(read_packed(context.packs, row)))
            except ImageError as error:
                drops[place] = Drop(f"image {error.reason}")
        if images:
            parts.append(encoder.encode(images))
    return np.concatenate(parts) if parts else np.empty((0, 1), np.float32), drops


#: One model a process, whatever number of batches it sees.
_LOADED: dict[str, Encoder] = {}
_TEXTS: dict[tuple[str, tuple[str, ...]], Vectors] = {}


def _encoder(context: Context, model: str) -> Encoder:
    if model not in _LOADED:
        if context.load_encoder is None:
            raise InputError(f"no model can be loaded here, and a step asks for {model}")
        _LOADED[model] = cast(Encoder, context.load_encoder(model))
    return _LOADED[model]


def _texts(encoder: TextEncoder, templates: tuple[str, ...]) -> Vectors:
    key = (encoder.fingerprint, templates)
    if key not in _TEXTS:
        _TEXTS[key] = encoder.encode_texts(list(templates))
    return _TEXTS[key]
