"""Where in a large image is what a sentence says: from windows and their similarities to a map and its peaks.

The method of Yuan et al. 2022 (arXiv 2209.06515): windows of several sizes, their cosine similarity to the sentence,
the mean over each pixel's windows, stretched to 0..1, and a median that takes the windows' edges away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
import shapely.affinity
from numpy.typing import NDArray
from scipy import ndimage

from chorograph.ground.arrays import HeatMap, Indices, Pixels
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Progress, silent
from chorograph.models.encoders.protocols import ImageTextEncoder
from chorograph.searching.heatmap import CellMap, median_size, probability, smooth
from chorograph.searching.large_image import LargeImage
from chorograph.searching.windows import STEPS, windows

#: Windows that are read and encoded together.
_BATCH = 32


@dataclass(frozen=True)
class Peak:
    """A connected high part of the map; `outline` and `centre` (x, y) in pixels from the upper left corner."""

    outline: shapely.Geometry
    centre: tuple[float, float]
    probability: float
    similarity: float
    area_px: int


def encode_windows(
    encoder: ImageTextEncoder,
    image: LargeImage,
    *,
    steps: Sequence[int] = STEPS,
    compat: bool = False,
    progress: Progress = silent,
) -> tuple[Indices, NDArray[np.float32]]:
    """Return the windows of an image that hold data, and their vectors (n, dim).

    `compat`: each window is first brought to 256 x 256 px as published; else the encoder scales it, once. Raises
    `InputError` where no window holds data.
    """
    every = windows(image.shape, steps)
    kept, vectors = [], []
    for start in range(0, len(every), _BATCH):
        batch = every[start : start + _BATCH]
        read = [(window, image.read(tuple(window.tolist()))) for window in batch]
        held = [(window, _to_256(pixels) if compat else pixels) for window, pixels in read if pixels is not None]
        if held:
            kept += [window for window, _ in held]
            vectors.append(encoder.encode([pixels for _, pixels in held]))
        progress(f"encoding windows with {encoder.name}", start + len(batch), len(every))
    if not kept:
        raise InputError("no part of the image holds data")
    return np.stack(kept), np.concatenate(vectors)


def probability_map(similarity: CellMap, *, steps: Sequence[int] = STEPS, compat: bool = False) -> HeatMap:
    """Return the smoothed map of 0..1 for every pixel: float32, or in `compat` float64 of whole 255ths as published."""
    stretched = probability(similarity, compat=compat)
    if compat:
        return np.asarray(smooth(stretched, median_size(min(STEPS)), np.uint8) / 255.0)
    shortest = min(min(steps), *similarity.shape)
    return smooth(stretched, median_size(shortest))


def find_peaks(probability: HeatMap, similarity: CellMap, level: float, smallest_px: int = 0) -> list[Peak]:
    """Return the connected parts of the map at `level` x its maximum or above, the highest first; none if it is flat.

    Parts of fewer than `smallest_px` pixels are left out, but for the highest.
    """
    if probability.max() == probability.min():
        return []
    parts, _ = ndimage.label(probability >= level * probability.max())
    peaks = []
    for label, box in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[box] == label
        top, left = box[0].start, box[1].start
        values = np.where(part, probability[box], -1.0)
        row, column = (float(where.mean()) for where in np.nonzero(values == values.max()))
        outline = shapely.affinity.translate(_outline(part), left, top)
        peaks.append(
            Peak(
                outline=outline,
                centre=(left + column + 0.5, top + row + 0.5),
                probability=float(values.max()),
                similarity=similarity.at(round(top + row), round(left + column)),
                area_px=int(part.sum()),
            )
        )
    highest, *others = sorted(peaks, key=lambda peak: (-peak.probability, -peak.area_px))
    return [highest, *(peak for peak in others if peak.area_px >= smallest_px)]


def _outline(part: NDArray[np.bool_]) -> shapely.Geometry:
    """Return the polygon of a part's pixels, its steps smoothed by at most a pixel."""
    change = np.diff(part.astype(np.int8), axis=1, prepend=0, append=0)
    row, left = np.nonzero(change == 1)
    _, right = np.nonzero(change == -1)
    return shapely.union_all(shapely.box(left, row, right, row + 1)).simplify(1.0)


def _to_256(pixels: Pixels) -> Pixels:
    """Return pixels at 256 x 256 as OpenCV's INTER_CUBIC makes them: four neighbours, however large the image is."""
    row, row_weight = _cubic(pixels.shape[0])
    column, column_weight = _cubic(pixels.shape[1])
    resized = np.einsum("ok,okwc->owc", row_weight, pixels[row].astype(np.float32))
    resized = np.einsum("ok,wokc->woc", column_weight, resized[:, column])
    return np.asarray(np.rint(np.clip(resized, 0, 255)), dtype=np.uint8)


@lru_cache(maxsize=16)
def _cubic(length: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return which four of `length` pixels each of 256 is made of, and how much of each (Keys 1981, a = -0.75)."""
    at = (np.arange(256) + 0.5) * length / 256 - 0.5
    near = np.floor(at).astype(np.int64)[:, None] + np.arange(-1, 3)
    d, a = np.abs(at[:, None] - near), -0.75
    weight = np.where(d <= 1, ((a + 2) * d - (a + 3)) * d * d + 1, a * (((d - 5) * d + 8) * d - 4))
    return np.clip(near, 0, length - 1), weight.astype(np.float32)
