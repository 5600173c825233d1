"""Scores of a regression, each with an interval from resampling whole blocks of regions.

All functions take (target, predicted) in scikit-learn's order; `weight` counts how often a row is taken and may be a
(replicates, n) matrix, which gives one score a replicate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Vector

Metric = Callable[[Vector, Vector, Vector], Vector]

#: Replicates x rows that one chunk of the bootstrap holds at once (40 MB of float64).
_CHUNK = 5_000_000


def r2(target: Vector, predicted: Vector, weight: Vector) -> Vector:
    """Return 1 - SSE / SST; NaN where the target does not vary."""
    total = weight.sum(-1)
    mean = (weight @ target) / total
    spread = weight @ target**2 - total * mean**2
    error = weight @ (target - predicted) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        # Rounding leaves about eps x SST of a constant target; that is no variation.
        flat = spread <= 1e-12 * np.maximum(weight @ target**2, 1e-300)
        return np.asarray(np.where(flat, np.nan, 1.0 - error / spread))


def rmse(target: Vector, predicted: Vector, weight: Vector) -> Vector:
    """Return the root of the mean squared error, in the target's unit."""
    return np.asarray(np.sqrt((weight @ (target - predicted) ** 2) / weight.sum(-1)))


def mae(target: Vector, predicted: Vector, weight: Vector) -> Vector:
    """Return the mean absolute error, in the target's unit."""
    return np.asarray((weight @ np.abs(target - predicted)) / weight.sum(-1))


def spearman(target: Vector, predicted: Vector, weight: Vector) -> Vector:
    """Return the rank correlation, ties at their mean rank; NaN where either side does not vary."""
    a, b = _ranks(target, weight), _ranks(predicted, weight)
    total = weight.sum(-1, keepdims=True)
    a, b = a - (weight * a).sum(-1, keepdims=True) / total, b - (weight * b).sum(-1, keepdims=True) / total
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.sqrt((weight * a**2).sum(-1) * (weight * b**2).sum(-1))
        return np.asarray(np.where(scale > 0, (weight * a * b).sum(-1) / scale, np.nan))


METRICS: dict[str, Metric] = {"r2": r2, "rmse": rmse, "mae": mae, "spearman": spearman}


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % block-bootstrap interval; the interval is NaN where there are too few blocks."""

    value: float
    lower: float
    upper: float

    @property
    def bounded(self) -> bool:
        """Whether there is an interval: with one group of rows there is none."""
        return bool(np.isfinite(self.lower) and np.isfinite(self.upper))

    def as_list(self) -> list[float | None]:
        """Return [value, lower, upper] with null for NaN, as JSON holds it.

        Rounded to seven significant digits of the largest of the three, so that no unit is too small to be told.
        """
        numbers = (self.value, self.lower, self.upper)
        largest = max((abs(v) for v in numbers if np.isfinite(v)), default=0.0)
        decimals = 6 - int(np.floor(np.log10(largest))) if largest > 0 else 6
        return [round(float(v), max(decimals, 6)) if np.isfinite(v) else None for v in numbers]


@dataclass(frozen=True)
class BlockBootstrap:
    """Resamples whole groups of rows, because neighbours are not independent draws (Lahiri 2003, chapter 2)."""

    replicates: int = 1000
    seed: int = 0

    def weights(self, groups: NDArray[np.int64]) -> Iterator[Vector]:
        """Yield (replicates, n) chunks of how often each row is taken."""
        rng = np.random.default_rng(self.seed)
        _, member = np.unique(groups, return_inverse=True)
        number = int(member.max()) + 1
        rows = max(1, _CHUNK // len(groups))
        for start in range(0, self.replicates, rows):
            count = min(rows, self.replicates - start)
            drawn = rng.multinomial(number, np.full(number, 1 / number), size=count)
            yield drawn[:, member].astype(np.float64)

    def estimate(self, metric: Metric, target: Vector, predicted: Vector, groups: NDArray[np.int64]) -> Estimate:
        """Return the metric over all rows, with its 95 % interval over the replicates."""
        return self.estimates({"": metric}, target, predicted, groups)[""]

    def estimates(
        self, metrics: Mapping[str, Metric], target: Vector, predicted: Vector, groups: NDArray[np.int64]
    ) -> dict[str, Estimate]:
        """Return each metric by name, as `estimate` does one; the replicates are drawn once for all."""
        drawn: dict[str, list[Vector]] = {name: [] for name in metrics}
        if len(np.unique(groups)) > 1:
            for weight in self.weights(groups):
                for name, metric in metrics.items():
                    drawn[name].append(metric(target, predicted, weight))
        whole = np.ones(len(target))
        return {
            name: Estimate(float(metric(target, predicted, whole)), *_bounds(drawn[name]))
            for name, metric in metrics.items()
        }


def _bounds(drawn: list[Vector]) -> tuple[float, float]:
    """Return the middle 95 % of what was drawn, NaN where nothing was."""
    values = np.concatenate([*drawn, np.empty(0)])
    lower, upper = np.nanpercentile(values, [2.5, 97.5]) if np.isfinite(values).any() else (np.nan, np.nan)
    return float(lower), float(upper)


def coverage(inside: Vector, _: Vector, weight: Vector) -> Vector:
    """Return the share of rows whose interval held the truth; a metric on `inside` (1 or 0) for the bootstrap."""
    return np.asarray((weight @ inside) / weight.sum(-1))


def _ranks(values: Vector, weight: Vector) -> Vector:
    """Return mean ranks of `values`, where row i stands `weight[..., i]` times; shape of `weight`."""
    _, tie = np.unique(values, return_inverse=True)
    order = np.argsort(tie, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(tie[order]) > 0])
    size = np.add.reduceat(weight[..., order], starts, axis=-1)
    below = np.cumsum(size, axis=-1) - size
    return np.asarray((below + (size + 1) / 2)[..., tie])
