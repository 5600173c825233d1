"""Where to look next: the regions whose labels would make the whole map more certain."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.ground.arrays import Matrix


def suggest(covariance: Matrix, noise: float, number: int) -> tuple[list[int], list[float]]:
    """Return the rows to survey, best first, and the part of all variance that is gone after each.

    `covariance` (n, n) is the posterior of the field at n unlabelled regions, `noise` the variance of a label about it.
    Greedy: each step takes the row whose label lessens the sum of variances most (active learning by Cohn, 1996); a
    label changes the covariance in a known way whatever its value, so the steps need no labels.
    """
    left = covariance.copy()
    whole = float(np.trace(left))
    rows: list[int] = []
    gone: list[float] = []
    for _ in range(min(number, len(left))):
        gain = (left**2).sum(0) / (np.diag(left) + noise)
        gain[rows] = -np.inf
        best = int(np.argmax(gain))
        left -= np.outer(left[:, best], left[best]) / (left[best, best] + noise)
        rows.append(best)
        gone.append(1 - float(np.trace(left)) / whole)
    return rows, gone


def as_frame(region_ids: NDArray[np.object_], rows: list[int], gone: list[float]) -> pd.DataFrame:
    """Return rank, region_id and the part of the unlabelled regions' variance that is gone after each survey."""
    return pd.DataFrame(
        {"rank": range(1, len(rows) + 1), "region_id": region_ids[rows], "variance_gone": np.round(gone, 4)}
    )
