"""From the similarities of windows to a map of pixels, exactly and without a loop over pixels.

A mean over windows only changes where a window begins or ends, so it is held as a small grid of cells: its cost is the
number of windows, whatever the size of the image. Pixels appear only in the smoothed map.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Indices

#: Cosines of one plain picture at several sizes differ by about a tenth of this, by rounding.
_ROUNDING = 1e-4


@dataclass(frozen=True)
class CellMap:
    """A map that is constant on the cells of a grid: `values[i, j]` from row_edges[i] to row_edges[i + 1]."""

    row_edges: NDArray[np.int64]
    column_edges: NDArray[np.int64]
    values: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, int]:
        """The height and width of the image, in pixels."""
        return int(self.row_edges[-1]), int(self.column_edges[-1])

    def at(self, row: int, column: int) -> float:
        """Return the value at a pixel."""
        i = np.searchsorted(self.row_edges, row, side="right") - 1
        j = np.searchsorted(self.column_edges, column, side="right") - 1
        return float(self.values[i, j])

    def pixels(self) -> NDArray[np.float64]:
        """Return the map as (height, width)."""
        rows = np.repeat(self.values, np.diff(self.row_edges), axis=0)
        return np.repeat(rows, np.diff(self.column_edges), axis=1)


def mean_similarity(windows: Indices, similarities: NDArray[np.float64], shape: tuple[int, int]) -> CellMap:
    """Return for each pixel the mean similarity of the windows over it.

    `windows`: (n, 4) of row, end of row, column, end of column. Pixels that no window covers get the lowest mean.
    """
    rows = np.unique(np.r_[0, windows[:, :2].ravel(), shape[0]])
    columns = np.unique(np.r_[0, windows[:, 2:].ravel(), shape[1]])
    top, bottom = np.searchsorted(rows, windows[:, 0]), np.searchsorted(rows, windows[:, 1])
    left, right = np.searchsorted(columns, windows[:, 2]), np.searchsorted(columns, windows[:, 3])
    # A rectangle is four corners of a difference array; two cumulative sums fill it.
    change = np.zeros((2, len(rows), len(columns)))
    for row, column, sign in ((top, left, 1), (top, right, -1), (bottom, left, -1), (bottom, right, 1)):
        np.add.at(change[0], (row, column), sign * np.asarray(similarities, dtype=np.float64))
        np.add.at(change[1], (row, column), sign)
    total, count = change.cumsum(axis=1).cumsum(axis=2)[:, :-1, :-1]
    covered = np.rint(count) > 0
    mean = total / np.where(covered, count, 1.0)
    return CellMap(rows, columns, np.where(covered, mean, mean[covered].min()))


def probability(similarity: CellMap, *, compat: bool = False) -> CellMap:
    """Return the map stretched to 0..1; a flat one becomes 0 everywhere, for nothing stands out.

    `compat`: cut down to whole numbers of 0..255, as published.
    """
    values = similarity.values - similarity.values.min()
    top = values.max()
    # Rounding of single precision through a tower is no difference between places.
    flat = top <= _ROUNDING * max(1.0, float(np.abs(similarity.values).max()))
    values = np.zeros_like(values) if flat else values / top
    return replace(similarity, values=np.floor(255 * values) if compat else values)


def median_size(smallest: int) -> int:
    """Return the side of the median's window: the published 251 px at a smallest step of 256, else in proportion."""
    return 2 * round(0.49 * smallest) + 1


def smooth(cells: CellMap, size: int, dtype: type[np.number] = np.float32) -> NDArray[Any]:
    """Return the median over size x size pixels, at every pixel; borders repeat. Exact, as OpenCV's `medianBlur` is.

    The window of a pixel holds a few cells, each with an area that is the product of two lengths. Within a block of
    pixels whose windows hold the same cells these lengths are linear in the position, so the area up to a value is
    extreme at the block's corners. The corners settle most blocks, and leave the others a few values to choose from.
    """
    out = np.empty(cells.shape, dtype=dtype)
    half = (size * size + 1) // 2
    blocks = _phases(cells.column_edges, size)
    width = max(block.last - block.first for block in blocks)
    held = np.arange(width) + np.array([[block.first] for block in blocks])
    beyond = held >= np.array([[block.last] for block in blocks])
    held = np.minimum(held, len(cells.column_edges) - 2)
    ends = np.zeros((len(blocks), 2, width), np.float32)
    for end, block in zip(ends, blocks, strict=True):
        end[:, : block.last - block.first] = block.lengths[[0, -1]]
    for rows in _phases(cells.row_edges, size):
        values = cells.values[rows.first : rows.last, held]
        values = np.where(beyond, np.inf, values).swapaxes(0, 1).reshape(len(blocks), -1)
        areas = np.einsum("yi,bxj->byxij", rows.lengths[[0, -1]], ends).reshape(len(blocks), 4, -1)
        order = values.argsort(axis=1)
        values = np.take_along_axis(values, order, axis=1)
        reached = np.take_along_axis(areas, order[:, None], axis=2).cumsum(axis=2) >= half
        rank = reached.argmax(axis=2)
        lowest, highest = rank.min(axis=1).tolist(), rank.max(axis=1).tolist()
        for block, value, low, high in zip(blocks, values, lowest, highest, strict=True):
            target = out[rows.start : rows.stop, block.start : block.stop]
            target[:] = value[low]
            cell = cells.values[rows.first : rows.last, block.first : block.last]
            for k in range(low, high):
                if value[k] < value[k + 1]:
                    area = rows.lengths @ (cell <= value[k]) @ block.lengths.T
                    np.copyto(target, value[k + 1], where=area < half, casting="unsafe")
    return out


@dataclass(frozen=True)
class _Phase:
    """Positions from `start` to `stop` whose windows hold the cells from `first` to `last`, and how much of each."""

    start: int
    stop: int
    first: int
    last: int
    lengths: NDArray[np.float32]


def _phases(edges: NDArray[np.int64], size: int) -> list[_Phase]:
    """Cut an axis where a window of `size` pixels begins or ceases to hold a cell."""
    reach, length = size // 2, int(edges[-1])
    lower, upper = edges[:-1].copy(), edges[1:].copy()
    lower[0], upper[-1] = -size, length + size  # the borders repeat
    breaks = np.unique(np.clip(np.r_[0, edges[1:-1] - reach, edges[1:-1] + reach, length], 0, length))
    phases = []
    for start, stop in zip(breaks[:-1].tolist(), breaks[1:].tolist(), strict=True):
        first = int(np.searchsorted(upper, start - reach, side="right"))
        last = int(np.searchsorted(lower, start + reach, side="right"))
        at = np.arange(start, stop)[:, None]
        lengths = np.minimum(at + reach + 1, upper[first:last]) - np.maximum(at - reach, lower[first:last])
        phases.append(_Phase(start, stop, first, last, lengths.astype(np.float32)))
    return phases
