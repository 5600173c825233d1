"""Scores of semantic localisation: how well a map of probability finds the regions that a sentence speaks of.

Yuan et al. 2022, "Learning to evaluate performance of multi-modal semantic localization" (arXiv 2209.06515), in the
arithmetic of the published code. A map is (height, width) in 0..1; a region is a polygon of (x, y) vertices in pixels.

`compat` is the published arithmetic to the last step. Without it, what that code rounds away is kept:

=====================  ==============================================  ===========================================
step                   compat                                          default
=====================  ==============================================  ===========================================
smoothing              5 boxes of 50 px, 8 bits: moves peaks by 2 px   5 boxes of 51 px, 16 bits: moves none
neighbourhood          1000 px, one more before than after             1001 px
centres and radii      cut down to whole pixels                        as they are
a flat map             one centre, in the middle, where it is >= 0.5   no centre
regions that overlap   their overlap is outside the mask               the mask is their union
=====================  ==============================================  ===========================================

In both, a radius is at least one pixel, and a mask without pixels is an error: the published code divides by zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from chorograph.ground.arrays import HeatMap, Mask, Matrix
from chorograph.ground.errors import InputError

#: (n, 2) of x, y.

#: A centre of attention has at least this probability.
_LEVEL = 0.5


def localization_scores(
    probability: HeatMap, regions: Sequence[ArrayLike], *, compat: bool = False
) -> dict[str, float]:
    """Return `rsu`, `rda`, `ras` and `rmi` of a map against its regions.

    Raises `InputError` where a region has fewer than three vertices, or no pixel inside the image.
    """
    mask = region_mask(probability.shape, regions, compat=compat)
    circles = region_circles(regions, compat=compat)
    centres = attention_centres(probability, compat=compat)
    scores = {"rsu": rsu(probability, mask), "rda": rda(circles, centres), "ras": ras(circles, centres)}
    return {**scores, "rmi": rmi(scores["rsu"], scores["ras"], scores["rda"])}


def rsu(probability: HeatMap, mask: Mask) -> float:
    """Return the salient area's share: 1 - exp(-0.707 x odds of a map's mass to lie inside / odds of a pixel's)."""
    inside = float(probability.sum(where=mask, dtype=np.float64))
    outside = float(probability.sum(dtype=np.float64)) - inside
    area = int(mask.sum())
    return float(1.0 - np.exp(-0.707 * inside / (outside + 1e-7) * (mask.size - area) / area))


def ras(circles: NDArray[np.float64], centres: Matrix) -> float:
    """Return the shift of attention, 0 to 1, lower is better: mean distance of a circle's centres by its radius.

    A circle without centres counts as one radius; (e^3x - 1) / (e^3 - 1) stretches the mean x over circles.
    """
    shifts = [
        distances.mean() / radius if len(distances) else 1.0 for distances, radius, _ in _inside(circles, centres)
    ]
    return float(np.expm1(3.0 * np.mean(shifts)) / np.expm1(3.0))


def rda(circles: NDArray[np.float64], centres: Matrix) -> float:
    """Return how undivided attention is, 0 to 1: 0 for a circle without centres, 1 with one, about a half with more."""

    def single(radius: float, inside: Matrix) -> float:
        if len(inside) <= 1:
            return float(len(inside))
        spread = np.linalg.norm(inside - inside.mean(axis=0), axis=1).mean() / radius
        return float(0.5 * (1.0 - spread) + np.exp(-0.5 * (len(inside) + 2)))

    return float(np.mean([single(radius, inside) for _, radius, inside in _inside(circles, centres)]))


def rmi(rsu: float, ras: float, rda: float) -> float:
    """Return the mean indicator: 0.4 rsu + 0.35 (1 - ras) + 0.25 rda."""
    return 0.4 * rsu + 0.35 * (1.0 - ras) + 0.25 * rda


def region_circles(regions: Sequence[ArrayLike], *, compat: bool = False) -> NDArray[np.float64]:
    """Return (n, 3) of x, y, radius: the mean of a region's vertices, and 1.5 times their mean distance to it."""
    circles = []
    for region in regions:
        vertices = np.asarray(region, dtype=np.float64)
        centre = vertices.mean(axis=0)
        if compat:
            centre = np.trunc(centre)
        radius = 1.5 * np.linalg.norm(vertices - centre, axis=1).mean()
        circles.append([*centre, max(np.trunc(radius) if compat else radius, 1.0)])
    return np.array(circles)


def region_mask(shape: tuple[int, ...], regions: Sequence[ArrayLike], *, compat: bool = False) -> Mask:
    """Return the pixels of the regions, their outlines included; vertices are cut down to whole pixels.

    Equal to OpenCV's `fillPoly` where all vertices are in the image. Raises `InputError` where a region has fewer than
    three vertices, or no pixel inside the image.
    """
    if not regions:
        raise InputError("there is no region to localise")
    odd, drawn = np.zeros(shape, bool), np.zeros(shape, bool)
    for number, region in enumerate(regions, start=1):
        vertices = np.asarray(region, dtype=np.float64)
        if vertices.ndim != 2 or vertices.shape[1] != 2 or len(vertices) < 3 or not np.isfinite(vertices).all():
            raise InputError(f"region {number} is not a polygon: it needs three or more vertices of x and y")
        if np.abs(vertices).max() > 100 * max(shape):  # its outline alone would take gigabytes
            raise InputError(f"region {number} lies far outside of the image of {shape[1]} x {shape[0]} px")
        filled, outline = _fill(shape, vertices.astype(np.int64))
        if not (filled.any() or outline.any()):
            raise InputError(f"region {number} has no pixel inside the image of {shape[1]} x {shape[0]} px")
        odd = odd ^ filled if compat else odd | filled
        drawn |= outline
    return odd | drawn


def attention_centres(probability: HeatMap, *, compat: bool = False) -> Matrix:
    """Return (n, 2) of x, y of the smoothed map's peaks, the most probable first; each has at least 0.5."""
    if not compat and probability.max() == probability.min():
        return np.empty((0, 2))
    smooth = _smooth_compat(probability) if compat else _smooth(probability)
    highest = ndimage.maximum_filter(smooth, size=1000 if compat else 1001)
    peaks, count = ndimage.label((smooth == highest) & (smooth > 0), structure=np.ones((3, 3)))
    del smooth, highest
    centres = np.array(
        [
            # The mean of a box's true pixels, in the coordinates of the map.
            [np.mean(where) + part.start for where, part in zip(np.nonzero(peaks[box] == label), box, strict=True)]
            for label, box in enumerate(ndimage.find_objects(peaks, count), start=1)
        ]
    ).reshape(-1, 2)
    if compat:
        centres = np.trunc(centres)
    row, column = np.rint(centres).astype(np.int64).T
    value = probability[row, column]
    order = np.argsort(-value, kind="stable")
    found: Matrix = centres[order][value[order] >= _LEVEL][:, ::-1]
    return found


def _inside(circles: NDArray[np.float64], centres: Matrix) -> list[tuple[NDArray[np.float64], float, Matrix]]:
    """Return for each circle the distances of the centres inside it, its radius, and those centres."""
    found = []
    for x, y, radius in circles:
        distances = np.linalg.norm(centres - [x, y], axis=1)
        inside = distances <= radius
        found.append((distances[inside], float(radius), centres[inside]))
    return found


def _smooth_compat(probability: HeatMap) -> NDArray[np.uint8]:
    """Return what five of OpenCV's 50 x 50 box filters make of the map in 8 bits; an even box lies half a pixel off."""
    smooth = (probability * 255.0).astype(np.uint8)
    for _ in range(5):
        mean = ndimage.uniform_filter(smooth, 50, output=np.float32, mode="mirror")
        # The sums of 2,500 whole numbers, then OpenCV's multiplication in single precision, ties to even.
        total = np.rint(mean * np.float32(2500))
        smooth = np.rint(total * np.float32(1 / 2500)).astype(np.uint8)
    return smooth


def _smooth(probability: HeatMap) -> NDArray[np.uint16]:
    """Return the same with a centred box and 16 bits; whole numbers, so that a plateau stays one."""
    smooth = np.rint(probability * 65535).astype(np.uint16)
    for _ in range(5):
        mean = ndimage.uniform_filter(smooth, 51, output=np.float64, mode="mirror")
        smooth = np.rint(mean, out=mean).astype(np.uint16)  # 51 x 51 is odd: there are no ties
    return smooth


def _fill(shape: tuple[int, ...], vertices: NDArray[np.int64]) -> tuple[Mask, Mask]:
    """Return the pixels whose centres are inside a polygon (even-odd rule), and those of its outline."""
    height, width = shape
    crossings, outline = np.zeros((height, width + 1), bool), np.zeros((height, width), bool)
    for a, b in zip(vertices.tolist(), np.roll(vertices, -1, axis=0).tolist(), strict=True):
        x, y = _line(*min(a, b), *max(a, b))
        seen = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        outline[y[seen], x[seen]] = True
        (x0, y0), (x1, y1) = sorted((a, b), key=lambda vertex: vertex[1])
        if y0 < y1:
            y = np.arange(max(y0, 0), min(y1, height))
            x = x0 - (y - y0) * (x0 - x1) // (y1 - y0)  # rounded up: the first centre beyond the edge
            crossings[y, np.clip(x, 0, width)] ^= True
    return np.logical_xor.accumulate(crossings, axis=1)[:, :width], outline


def _line(x0: int, y0: int, x1: int, y1: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pixels of a line (Bresenham's); halfway between two, the one nearer to where it starts."""
    length = max(abs(x1 - x0), abs(y1 - y0), 1)
    step = np.arange(length + 1)

    def along(start: int, change: int) -> NDArray[np.int64]:
        return np.asarray(start + np.sign(change) * ((2 * abs(change) * step + length - 1) // (2 * length)))

    return along(x0, x1 - x0), along(y0, y1 - y0)
