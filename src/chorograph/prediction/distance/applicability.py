"""The area of applicability: where a prediction rests on regions like it (Meyer and Pebesma 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from chorograph.area.splits import Folds
from chorograph.ground.arrays import Indices, Matrix
from chorograph.prediction.crossfit import Fused

#: Rows that distances are taken of at once: bounds the memory of large areas.
_CHUNK = 1000
#: Labelled rows that the mean distance and the weights are taken from.
_MOST_PAIRED = 1500
#: Wider modalities are reduced to this many principal components.
_COMPONENTS = 40


@dataclass(frozen=True)
class Applicability:
    """How unlike its training regions each of n regions is.

    `dissimilarity`: (n,) distance to the nearest training region in weighted standardised features, in units of the
    mean distance between training regions; infinite where nothing can be compared. `threshold`: the largest value that
    is no outlier among labelled regions, each compared with those its fold trained on. `weights`: of each modality.
    """

    dissimilarity: NDArray[np.float64]
    threshold: float
    weights: dict[str, float]

    @property
    def supported(self) -> NDArray[np.bool_]:
        """Whether each region lies inside the area of applicability, (n,) bool."""
        return np.asarray(self.dissimilarity <= self.threshold)


def area_of_applicability(fused: Fused, target: Matrix, folds: Folds, weigh: bool = True) -> Applicability:
    """Return the dissimilarity index of every region and its threshold (Meyer and Pebesma 2021, eq. 1 to 4).

    `target` (n,), or (n, k) for one answer for k targets labelled in the same rows, is NaN where unlabelled. Columns
    are standardised by the labelled rows; of a wide modality the leading principal components are compared. A modality
    weighs as much as its distances tell how far targets lie apart (`importance`; all equally with `weigh` False). The
    threshold is the upper whisker: the greatest value below the third quartile plus 1.5 times the interquartile range.
    A region that lacks a modality is compared in those it has.
    """
    targets = target.reshape(len(target), -1)
    index = np.flatnonzero(np.isfinite(targets).all(1))
    paired = index[np.linspace(0, len(index) - 1, min(len(index), _MOST_PAIRED)).astype(int)]
    scaled = {name: _standardised(block, index, paired) for name, block in fused.blocks.items()}
    weights = importance({name: block[paired] for name, block in scaled.items()}, targets[paired])
    if not weigh or not sum(weights.values()):
        weights = dict.fromkeys(scaled, 1.0)
    total = sum(weights.values())
    weights = {name: weight / total for name, weight in weights.items()}
    apart = _mean_distance(scaled, weights, paired)
    nearest = np.full(len(target), np.inf)
    for _, train, tested in folds:
        nearest[index[tested]] = _nearest(scaled, weights, index[tested], index[train])
    others = np.flatnonzero(~np.isin(np.arange(len(target)), index[folds.fold >= 0]))
    nearest[others] = _nearest(scaled, weights, others, index)
    dissimilarity = nearest / apart
    return Applicability(dissimilarity, _whisker(dissimilarity[index[folds.fold >= 0]]), weights)


def importance(blocks: dict[str, Matrix], targets: Matrix) -> dict[str, float]:
    """Return for each modality the correlation of its distances with those of a target, 0 where it is negative.

    Mantel's statistic (Mantel 1967) over all pairs of rows that have the modality, the mean of those of the columns of
    `targets` (rows, k). It stands where Meyer and Pebesma have a model's variable importance: it needs no model, and
    every probe is judged alike.
    """
    found = {}
    for name, block in blocks.items():
        whole = np.isfinite(block).all(1)
        distance = pdist(block[whole]) if whole.sum() > 2 else np.zeros(0)
        found[name] = float(np.mean([max(0.0, _correlation(distance, column[whole])) for column in targets.T]))
    return found


def _correlation(distance: Matrix, target: Matrix) -> float:
    apart = pdist(target[:, None])
    if not distance.size or not distance.std() > 0 or not apart.std() > 0:
        return 0.0
    return float(np.corrcoef(distance, apart)[0, 1])


def _standardised(block: Matrix, index: Indices, paired: Indices) -> Matrix:
    """Return the columns in standard deviations of the labelled rows over the root of their number, or components."""
    known = block[index][np.isfinite(block[index]).all(1)]
    if not len(known):
        return block
    spread = known.std(0)
    scaled = (block - known.mean(0)) / (np.where(spread > 1e-12, spread, 1.0) * np.sqrt(block.shape[1]))
    sample = scaled[paired][np.isfinite(scaled[paired]).all(1)]
    if scaled.shape[1] <= _COMPONENTS or not len(sample):
        return np.asarray(scaled)
    _, _, axes = np.linalg.svd(sample, full_matrices=False)
    return np.asarray(scaled @ axes[:_COMPONENTS].T)


def _mean_distance(scaled: dict[str, Matrix], weights: dict[str, float], paired: Indices) -> float:
    distance = _distance(scaled, weights, paired, paired)
    np.fill_diagonal(distance, np.nan)
    finite = distance[np.isfinite(distance)]
    return float(finite.mean()) if finite.size and finite.mean() > 0 else 1.0


def _nearest(scaled: dict[str, Matrix], weights: dict[str, float], rows: Indices, training: Indices) -> Matrix:
    parts = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    found = [_distance(scaled, weights, part, training).min(1, initial=np.inf) for part in parts]
    return np.concatenate(found) if found else np.zeros(0)


def _distance(scaled: dict[str, Matrix], weights: dict[str, float], rows: Indices, training: Indices) -> Matrix:
    """Return weighted distances (rows, training) over the modalities that both have, infinite where there is none."""
    total, shared = np.zeros((len(rows), len(training))), np.zeros((len(rows), len(training)))
    for name, block in scaled.items():
        a, b = block[rows], block[training]
        squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * (a @ b.T)
        both = np.isfinite(squared)
        total += weights[name] * np.where(both, np.maximum(squared, 0.0), 0.0)
        shared += weights[name] * both
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(shared > 0, np.sqrt(total / shared), np.inf))


def _whisker(values: Matrix) -> float:
    known = values[np.isfinite(values)]
    if not known.size:
        return -np.inf
    low, high = np.percentile(known, [25, 75])
    return float(known[known <= high + 1.5 * (high - low)].max())
