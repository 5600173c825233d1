"""Hand-made features of aerial images: how bright, how coloured, how green, how rough at which scale."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chorograph.ground.arrays import Pixels

_VERSION = "colour-1"
#: Images are brought to this many pixels a side, so that scales mean the same on every tile of an area.
SIDE = 128
_BINS = 16
_ORIENTATIONS = 8
_SCALES = 4


@dataclass(frozen=True)
class Colour:
    """Colour histograms (RGB and HSV, 16 bins a channel), edges and roughness at four scales, and greenness.

    An image is brought to 128 x 128 px first. Edge orientations are sorted by strength, so that a street grid gives the
    same features whichever way it lies. 159 numbers, none of them learnt.
    """

    name: str = "colour"
    dim: int = 2 * 3 * _BINS + _SCALES * (_ORIENTATIONS + 6) + 7

    @property
    def fingerprint(self) -> str:
        """Changes with the definition of a feature."""
        return hashlib.sha256(_VERSION.encode()).hexdigest()

    def encode(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Return (n, 159) float32 for n uint8 (height, width, 3) images of any size."""
        if not images:
            return np.empty((0, self.dim), dtype=np.float32)
        return np.stack([_features(image) for image in images]).astype(np.float32)


def downsize(image: Pixels, side: int = SIDE) -> Image.Image:
    """Return an image averaged over boxes to `side` x `side` px."""
    return Image.fromarray(image).resize((side, side), Image.Resampling.BOX)


def _features(image: Pixels) -> NDArray[np.float64]:
    small = downsize(image)
    rgb, hsv = np.asarray(small), np.asarray(small.convert("HSV"))
    values = rgb.astype(np.float64)
    blocks = [_histograms(rgb), _histograms(hsv), _greenness(values)]
    grey = values.mean(2)
    for _ in range(_SCALES):
        blocks.append(_edges(grey))
        grey = grey.reshape(grey.shape[0] // 2, 2, grey.shape[1] // 2, 2).mean((1, 3))
    return np.concatenate(blocks)


def _histograms(channels: Pixels) -> NDArray[np.float64]:
    """Return the share of pixels in each of 16 bins, channel after channel."""
    bins = (channels.reshape(-1, 3) // (256 // _BINS)).astype(np.intp) + np.arange(3) * _BINS
    return np.bincount(bins.reshape(-1), minlength=3 * _BINS) / len(bins)


def _greenness(rgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return mean, spread and shares of excess green (2G - R - B, Woebbecke et al. 1995); brightness, its extremes."""
    excess, grey = 2 * rgb[..., 1] - rgb[..., 0] - rgb[..., 2], rgb.mean(2)
    return np.array(
        [
            excess.mean(),
            excess.std(),
            (excess > 10).mean(),
            (excess > 25).mean(),
            grey.mean(),
            (grey < 50).mean(),
            (grey > 200).mean(),
        ]
    )


def _edges(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sorted gradient energy by orientation, and mean, spread and quantiles of the gradient; spread of grey."""
    across, down = np.diff(grey, axis=1)[:-1], np.diff(grey, axis=0)[:, :-1]
    strength = np.hypot(across, down)
    turn = np.arctan2(down, across) % np.pi
    bins = np.minimum((turn * (_ORIENTATIONS / np.pi)).astype(np.intp), _ORIENTATIONS - 1)
    energy = np.bincount(bins.reshape(-1), strength.reshape(-1), _ORIENTATIONS) / strength.size
    quantiles = np.percentile(strength, [50, 90, 99])
    return np.concatenate([np.sort(energy)[::-1], [strength.mean(), strength.std()], quantiles, [grey.std()]])
