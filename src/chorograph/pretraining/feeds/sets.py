"""Drawing some of the images that belong to a region or tile: a set, of which as many are taken as are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Indices


def draw_sets(
    members: Sequence[Indices], chosen: Indices, most: int, rng: np.random.Generator
) -> tuple[Indices, NDArray[np.bool_]]:
    """Return up to `most` members of each chosen set (n, most), without replacement, and which of them are there."""
    rows = np.zeros((len(chosen), most), dtype=np.int64)
    held = np.zeros((len(chosen), most), dtype=bool)
    for place, number in enumerate(chosen):
        drawn = rng.permutation(members[number])[:most]
        rows[place, : len(drawn)], held[place, : len(drawn)] = drawn, True
    return rows, held
