"""Folds inside the training rows, for what must be learnt from predictions of rows that a probe has not seen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import GroupKFold, KFold

from chorograph.ground.arrays import Indices


@dataclass(frozen=True)
class InnerFolds:
    """A scikit-learn splitter: blocks of `block_m` metres where `location` says where rows lie, plain folds else.

    Inner folds must be of the kind of the outer ones: weights learnt from neighbours trust neighbours, which rows of a
    held-out block do not have. `location` names the columns of X with positions in kilometres
    (`modalities.location_features`); `block_m` None asks for plain folds, as does a place of one block only. With
    fewer blocks or rows than `number` there are fewer folds.
    """

    location: slice | None = None
    block_m: float | None = None
    number: int = 5
    seed: int = 0

    def split(self, X: ArrayLike, y: Any = None, groups: Any = None) -> Iterator[tuple[Indices, Indices]]:
        """Yield (rows to fit on, rows to predict); every row is predicted once."""
        rows = np.asarray(X)
        blocks = np.arange(len(rows))
        if self.location is not None and self.block_m is not None:
            blocks = _blocks(rows[:, self.location].astype(np.float64), self.block_m / 1000)
        number = min(self.number, len(np.unique(blocks)))
        if number < 2:
            yield from KFold(min(self.number, len(rows)), shuffle=True, random_state=self.seed).split(rows)
        else:
            yield from GroupKFold(number, shuffle=True, random_state=self.seed).split(rows, groups=blocks)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return how many folds there are at most."""
        return self.number


def _blocks(positions: NDArray[np.float64], side_km: float) -> NDArray[np.int64]:
    """Return the number of the square that each position lies in, on the plane that fits them best."""
    centred = positions - positions.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    squares = np.floor(centred @ axes[:2].T / side_km)
    return np.unique(squares, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)
