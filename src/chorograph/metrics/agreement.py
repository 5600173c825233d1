"""Whether raters agree: Krippendorff's alpha."""

from __future__ import annotations

from typing import Literal

import numpy as np

from chorograph.ground.arrays import Matrix

Level = Literal["nominal", "ordinal", "interval"]


def krippendorff_alpha(ratings: Matrix, level: Level = "ordinal") -> float:
    """Return Krippendorff's alpha of ratings (units, raters), NaN where a rater gave none.

    1 is agreement, 0 what chance gives; NaN where no unit has two ratings or all ratings are equal. Krippendorff 2011,
    Computing Krippendorff's alpha-reliability: the coincidence matrix and the difference functions of its section E.
    """
    values, place = np.unique(ratings[np.isfinite(ratings)], return_inverse=True)
    counts = np.zeros((len(ratings), len(values)))
    np.add.at(counts, (np.nonzero(np.isfinite(ratings))[0], place), 1)
    counts = counts[counts.sum(axis=1) > 1]
    if not len(counts):
        return float("nan")
    pairs = counts.sum(axis=1, keepdims=True) - 1
    coincidence = counts.T @ (counts / pairs) - np.diag((counts / pairs).sum(axis=0))
    margin = coincidence.sum(axis=0)
    expected = np.outer(margin, margin) - np.diag(margin)
    difference = _difference(values, margin, level)
    chance = (expected * difference).sum() / (margin.sum() - 1)
    return float(1 - (coincidence * difference).sum() / chance) if chance > 0 else float("nan")


def _difference(values: Matrix, margin: Matrix, level: Level) -> Matrix:
    """Return the squared difference between each two values."""
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    if level == "interval":
        return np.subtract.outer(values, values) ** 2
    # Ordinal: the ratings between two ranks, and half of those at them.
    middle = np.cumsum(margin) - margin / 2
    return np.subtract.outer(middle, middle) ** 2
