"""Corruptions of images at five strengths: what a cloud, a cheap camera or another map server does to a tile.

All take and return uint8 (height, width, 3) and a generator; the same seed gives the same bytes, and arithmetic is done
in floating point and clipped, so that nothing wraps around from 0 to 255 (the published study's noise does).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from chorograph.ground.arrays import Pixels

STRENGTHS = (1, 2, 3, 4, 5)
#: Each corruption's parameter by strength.
_CLOUD = (0.15, 0.3, 0.45, 0.6, 0.75)  # share of the sky covered
_NOISE = (4.0, 8.0, 16.0, 32.0, 64.0)  # standard deviation, grey levels
_BLUR = (0.5, 1.0, 2.0, 3.0, 4.0)  # standard deviation, pixels of a tile of 256
_BRIGHTNESS = (0.9, 0.75, 0.6, 0.45, 0.3)  # factor
_ROTATION = (5.0, 15.0, 45.0, 90.0, 180.0)  # degrees
_RESOLUTION = (2, 3, 4, 6, 8)  # pixels become one
_JPEG = (50, 30, 15, 8, 4)  # quality


def add_noise(image: Pixels, sigma: float, rng: np.random.Generator) -> Pixels:
    """Add Gaussian noise of `sigma` grey levels to every value."""
    return _as_bytes(image + rng.normal(0.0, sigma, image.shape))


def add_clouds(image: Pixels, cover: float, rng: np.random.Generator) -> Pixels:
    """Blend white clouds over about a share `cover` of the image; their edges are soft."""
    height, width = image.shape[:2]
    sky = np.zeros((height, width))
    for octave in range(2, 7):
        grid = rng.random((2**octave + 1, 2**octave + 1)).astype(np.float32)
        layer = Image.fromarray(grid).resize((width, height), Image.Resampling.BICUBIC)
        sky += np.asarray(layer) / 2 ** (octave - 2)
    edge = np.quantile(sky, 1 - cover)
    opacity = 1 / (1 + np.exp(-(sky - edge) / (0.15 * sky.std() + 1e-9)))
    return _as_bytes(image * (1 - opacity[..., None]) + 245.0 * opacity[..., None])


def blur(image: Pixels, sigma: float) -> Pixels:
    """Blur with a Gaussian of `sigma` pixels."""
    return _as_bytes(ndimage.gaussian_filter(image.astype(np.float64), (sigma, sigma, 0), mode="reflect"))


def dim(image: Pixels, factor: float) -> Pixels:
    """Multiply every value by `factor`."""
    return _as_bytes(image * factor)


def rotate(image: Pixels, degrees: float) -> Pixels:
    """Rotate about the middle; what comes in from outside is mirrored."""
    turned = ndimage.rotate(image.astype(np.float64), degrees, reshape=False, order=1, mode="mirror")
    return _as_bytes(turned)


def coarsen(image: Pixels, factor: int) -> Pixels:
    """Bring the image to a `factor`-th of its size, and back."""
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize((max(width // factor, 1), max(height // factor, 1)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC), dtype=np.uint8)


def recompress(image: Pixels, quality: int) -> Pixels:
    """Encode as JPEG and decode again."""
    encoded = simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=quality, colorspace="RGB")
    return np.asarray(simplejpeg.decode_jpeg(encoded, colorspace="RGB"), dtype=np.uint8)


def _flip(image: Pixels, strength: int) -> Pixels:
    """Left-right, up-down, both, and the two reflections along a diagonal of a square image."""
    if strength == 1:
        return np.ascontiguousarray(image[:, ::-1])
    if strength == 2:
        return np.ascontiguousarray(image[::-1])
    if strength == 3:
        return np.ascontiguousarray(image[::-1, ::-1])
    turned = image.transpose(1, 0, 2)
    return np.ascontiguousarray(turned if strength == 4 else turned[::-1, ::-1])


Corruption = Callable[[Pixels, int, np.random.Generator], Pixels]
CORRUPTIONS: dict[str, Corruption] = {
    "cloud": lambda image, strength, rng: add_clouds(image, _CLOUD[strength - 1], rng),
    "noise": lambda image, strength, rng: add_noise(image, _NOISE[strength - 1], rng),
    "blur": lambda image, strength, _: blur(image, _BLUR[strength - 1] * max(image.shape[:2]) / 256),
    "brightness": lambda image, strength, _: dim(image, _BRIGHTNESS[strength - 1]),
    "flip": lambda image, strength, _: _flip(image, strength),
    "rotation": lambda image, strength, _: rotate(image, _ROTATION[strength - 1]),
    "resolution": lambda image, strength, _: coarsen(image, _RESOLUTION[strength - 1]),
    "jpeg": lambda image, strength, _: recompress(image, _JPEG[strength - 1]),
}


def corrupt(image: Pixels, name: str, strength: int, seed: int, image_id: str) -> Pixels:
    """Return the image with one corruption; seed and image decide every draw, whatever else is corrupted."""
    return CORRUPTIONS[name](image, strength, _generator(seed, image_id, name, strength))


#: The feature sets of the Leiden study of KnowCL's robustness.
SETS = ("original", "cloudy", "augmented", "combined")


def of_set(image: Pixels, name: str, seed: int, image_id: str) -> Pixels:
    """Return the image as it stands in a feature set.

    `cloudy`: clouds over 45 %. `augmented`: flips (each half of the time), dimming by 0.5 to 1 (a fifth), noise of one
    grey level (a tenth), slight blur (a tenth). `combined`: half of the images cloudy, then augmented.
    """
    rng = _generator(seed, image_id, name, 0)
    if name == "cloudy" or (name == "combined" and rng.random() < 0.5):
        image = add_clouds(image, _CLOUD[2], rng)
    if name in ("augmented", "combined"):
        image = image[:, ::-1] if rng.random() < 0.5 else image
        image = image[::-1] if rng.random() < 0.5 else image
        image = dim(image, rng.uniform(0.5, 1.0)) if rng.random() < 0.2 else image
        image = add_noise(image, 1.0, rng) if rng.random() < 0.1 else image
        image = blur(image, 1.0) if rng.random() < 0.1 else image
    return np.ascontiguousarray(image)


def _generator(seed: int, image_id: str, name: str, strength: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(image_id.encode()), zlib.crc32(name.encode()), strength])


def _as_bytes(values: NDArray[np.floating]) -> Pixels:
    clipped: Pixels = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return clipped
