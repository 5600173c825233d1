"""Where a prediction rests on nothing like it: the area of applicability."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from chorograph.area.splits import Folds
from chorograph.prediction.crossfit import Fused

Matrix = NDArray[np.float64]


def supported(fused: Fused, labelled: NDArray[np.bool_], folds: Folds) -> NDArray[np.bool_]:
    """Return for each of n regions whether it resembles regions that its model was trained on.

    The dissimilarity of a region is its distance to the nearest training region, in standardised features of all
    modalities. It is outside the support when it lies further than the upper whisker (third quartile and 1.5 times the
    interquartile range) of the labelled regions' own, each to those its fold trained on (Meyer and Pebesma 2021,
    Predicting into unknown space, eq. 4; without their division by a constant). A region that lacks a modality is
    compared in those it has.
    """
    index = np.flatnonzero(labelled)
    nearest = np.full(len(labelled), np.inf)
    for _, train, tested in folds:
        nearest[index[tested]] = _nearest(fused, index[tested], index[train])
    others = np.flatnonzero(~np.isin(np.arange(len(labelled)), index[folds.fold >= 0]))
    nearest[others] = _nearest(fused, others, index)
    known = nearest[index[folds.fold >= 0]]
    known = known[np.isfinite(known)]
    if not known.size:
        return np.zeros(len(labelled), dtype=bool)
    low, high = np.percentile(known, [25, 75])
    return np.asarray(nearest <= high + 1.5 * (high - low))


def _nearest(fused: Fused, rows: NDArray[np.int64], training: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the root mean square distance over the modalities of each row to its nearest training row."""
    total = np.zeros((len(rows), len(training)))
    shared = np.zeros_like(total)
    for block in fused.blocks.values():
        centre, spread = np.nanmean(block[training], axis=0), np.nanstd(block[training], axis=0)
        scaled = (block - centre) / np.where(spread > 1e-12, spread, 1.0)
        squared = cdist(scaled[rows], scaled[training], "sqeuclidean") / block.shape[1]
        both = np.isfinite(squared)
        total += np.where(both, squared, 0.0)
        shared += both
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.sqrt(total / shared)
    distance[shared == 0] = np.inf
    return np.asarray(distance.min(1, initial=np.inf))
