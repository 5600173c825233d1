"""Evaluation images into vectors, one pass: read, hashed, checked, encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.area.images import perceptual_hash, read_rgb
from chorograph.evaluation.examples.checks import check_encoder, check_pixels, photograph
from chorograph.evaluation.examples.layouts import Example
from chorograph.evaluation.examples.seen import Hashed
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.files import sha256_bytes
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.encoders.protocols import FittedEncoder, ImageEncoder
from chorograph.models.encoders.registry import parts_of

_BATCH = 64
#: How many images an encoder such as `rcf` is fitted on, as `embed` fits it.
_FITTED_ON = 512


@dataclass(frozen=True)
class Encoded:
    """Examples that could be read, with what one pass over their images told.

    `vectors` (n, dim); `sha256` of each file's bytes; `hashes` (n,) 64-bit perceptual hashes.
    """

    examples: tuple[Example, ...]
    vectors: NDArray[np.float32]
    sha256: tuple[str, ...]
    hashes: NDArray[np.uint64]
    checks: dict[str, Any]

    def take(self, rows: Sequence[int]) -> Encoded:
        """Return some of the rows."""
        return Encoded(
            tuple(self.examples[row] for row in rows),
            self.vectors[list(rows)],
            tuple(self.sha256[row] for row in rows),
            self.hashes[list(rows)],
            self.checks,
        )

    def hashed(self) -> Hashed:
        """Return what the images are known by."""
        return Hashed(tuple(example.key for example in self.examples), self.sha256, self.hashes)

    def data_hash(self) -> str:
        """Return the SHA-256 of images, classes and captions, in whatever order and place they lie."""
        lines = sorted(
            "\0".join([sha256, example.kind or "", *example.captions])
            for example, sha256 in zip(self.examples, self.sha256, strict=True)
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def encode_examples(
    encoder: ImageEncoder,
    examples: Sequence[Example],
    ledger: Ledger,
    *,
    skip_bad: bool = False,
    progress: Progress = silent,
) -> Encoded:
    """Encode every image, the next batch being read meanwhile.

    The encoder is checked on the first batch (`check_encoder`), the scale of the pixels on all. An image that cannot be
    read is an `InputError` naming it and where it is listed; with `skip_bad` it is counted by its reason.
    """
    kept: list[Example] = []
    vectors, digests, hashes = [], [], []
    checks: dict[str, Any] = {}
    brightest: list[int] = []
    for done, batch in _batches(examples, ledger, skip_bad):
        if batch:
            pixels = [item.pixels for item in batch]
            if not checks:
                checks = check_encoder(encoder, pixels)
            kept += [item.example for item in batch]
            vectors.append(encoder.encode(pixels))
            digests += [item.sha256 for item in batch]
            hashes += [item.hash for item in batch]
            brightest += [int(np.percentile(image, 99)) for image in pixels]
        progress(f"encoding with {encoder.name}", done, len(examples))
    if not kept:
        raise InputError(f"none of the {len(examples)} images could be read")
    checks |= check_pixels(np.array(brightest), kept[0].where)
    return Encoded(tuple(kept), np.concatenate(vectors), tuple(digests), np.array(hashes, dtype=np.uint64), checks)


def fit_encoder(encoder: ImageEncoder, examples: Sequence[Example], seed: int) -> None:
    """Fit the parts of an encoder that must see images first, on a sample of `examples` (never on tested ones)."""
    parts = [part for part in parts_of(encoder) if isinstance(part, FittedEncoder)]
    if not parts:
        return
    drawn = np.random.default_rng(seed).permutation(len(examples))[:_FITTED_ON]
    pixels = [item.pixels for item in _read([examples[row] for row in drawn]) if isinstance(item, _Read)]
    for part in parts:
        part.fit(pixels, seed=seed)


@dataclass(frozen=True)
class _Read:
    example: Example
    pixels: NDArray[np.uint8]
    sha256: str
    hash: np.uint64


def _batches(examples: Sequence[Example], ledger: Ledger, skip_bad: bool) -> Iterator[tuple[int, list[_Read]]]:
    """Yield how many examples were gone through, and the batch that could be read of them."""
    starts = range(0, len(examples), _BATCH)
    with ThreadPoolExecutor(max_workers=1) as reader:
        pending = [reader.submit(_read, examples[start : start + _BATCH]) for start in starts[:1]]
        for start in starts:
            read = pending.pop().result()
            if start + _BATCH < len(examples):
                pending.append(reader.submit(_read, examples[start + _BATCH : start + 2 * _BATCH]))
            for error in read:
                if isinstance(error, ImageError):
                    if not skip_bad:
                        raise InputError(f"{error}; mend it, or go on past bad images with --skip-bad")
                    ledger.drop(f"image {error.reason}")
            yield min(start + _BATCH, len(examples)), [item for item in read if isinstance(item, _Read)]


def _read(examples: Sequence[Example]) -> list[_Read | ImageError]:
    read: list[_Read | ImageError] = []
    for example in examples:
        try:
            data = photograph(example.file)
            pixels = read_rgb(data)
            read.append(_Read(example, pixels, sha256_bytes(data), perceptual_hash(pixels)))
        except (ImageError, OSError) as error:
            where = "" if str(example.file) in example.where else f" ({example.where})"
            reason = error.reason if isinstance(error, ImageError) else "missing"
            read.append(ImageError(reason, f"{example.file}{where}"))
    return read
