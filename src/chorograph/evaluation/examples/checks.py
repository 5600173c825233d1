"""Checks of the input scale: what a model is given must be what it takes, or the evaluation stops."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.area.images import read_encoded
from chorograph.ground.errors import InputError
from chorograph.models.encoders.protocols import ImageEncoder
from chorograph.models.encoders.registry import parts_of

_SAMPLE = 8
#: Relative change of a vector that rounding does not make.
_SAME = 1e-3
#: Relative distance from the vector of a black image. Photographs are at 1 and more; divided by 255 twice, below 0.006
#: (a trained CoCa and an untrained ViT-B/32, on RSICD).
_BLACK = 0.02
#: Grey levels of 255: photographs have brighter places, however dark the scene.
_DARK = 30
#: How the press names what an algorithm made (IPTC, digital source type), as `generate` writes it into its pictures.
_MADE = b"trainedAlgorithmicMedia"
#: Where metadata stand in a file: before the pixels.
_HEAD = 2**16


def photograph(place: Path) -> bytes:
    """Return the bytes of an image that a model may be judged on.

    Raises `InputError` for one whose metadata say that it is generated, `ImageError` for one that is not there.
    """
    data = read_encoded(place)
    _refuse_made(data[:_HEAD], place)
    return data


def check_photograph(file: Path) -> None:
    """Raise `InputError` for a file of an image, however large, whose metadata say that it is generated."""
    with file.open("rb") as opened:
        _refuse_made(opened.read(_HEAD), file)


def _refuse_made(head: bytes, place: Path) -> None:
    if _MADE in head:
        raise InputError(f"{place} is a generated image, as its metadata say; a model is not judged on those")


def check_encoder(encoder: ImageEncoder, images: Sequence[NDArray[np.uint8]]) -> dict[str, Any]:
    """Return the preprocessing of an encoder, having tried it on some images; `InputError` where its input is amiss.

    Wrong input scales pass silently through most models and cost most of the score: normalising constants must be of
    images in 0..1, and the vectors must tell photographs from black and from each other. They must also be finite, the
    same a second time and alone (a model in training mode is neither), and of unit length from an image-text model.
    """
    sample = list(images[:_SAMPLE])
    settings = [part.loaded.preprocessing.settings() for part in parts_of(encoder) if hasattr(part, "loaded")]
    for setting in settings:
        if max(setting["mean"]) > 1 or max(setting["std"]) > 1:
            raise InputError(
                f"{encoder.name} normalises by mean {setting['mean']} and std {setting['std']}, which are of images in "
                "0..255; its input is scaled to 0..1 first, so divide them by 255"
            )
    vectors = encoder.encode(sample)
    if vectors.shape != (len(sample), encoder.dim) or not np.isfinite(vectors).all():
        raise InputError(f"{encoder.name} gave {vectors.shape} vectors of {len(sample)} images, or some not finite")
    length = np.linalg.norm(vectors, axis=1)
    if hasattr(encoder, "encode_texts") and not np.allclose(length, 1, atol=1e-3):
        raise InputError(f"{encoder.name} gave vectors of length {length.min():g} to {length.max():g}, not 1")
    scale = max(float(length.max()), 1e-12)
    for again, how in ((encoder.encode(sample), "a second time"), (encoder.encode(sample[:1]), "alone")):
        if np.abs(again - vectors[: len(again)]).max() > _SAME * scale:
            raise InputError(f"{encoder.name} gives another vector for the same image {how}; is it in training mode?")
    blank = encoder.encode([np.full_like(sample[0], 0)])
    spread = float(np.linalg.norm(vectors - blank, axis=1).max() / scale)
    if spread < _BLACK:
        raise InputError(
            f"{encoder.name} gives photographs the vector of a black image (they differ by {spread:.1g} of their "
            "length); is its input divided by 255 twice?"
        )
    return {"preprocessing": settings or None, "input": "uint8 0..255, RGB", "distance from black": round(spread, 4)}


def check_pixels(brightest: NDArray[np.int64], where: str) -> dict[str, Any]:
    """Check the 99th percentile of each image's values; `InputError` where all images are nearly black.

    So are images whose floats of 0..1 were saved as integers, and 16-bit reflectance that uses a corner of its range.
    """
    if brightest.max() <= _DARK:
        raise InputError(
            f"the images are nearly black: 99 % of the values of each are at most {brightest.max()} of 255 (for "
            f"example {where}); stretch them to 0..255 first"
        )
    return {"brightest values, median": int(np.median(brightest))}
