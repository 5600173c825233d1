"""Link prediction: the filtered rank of a fact's tail among all entities, and what follows from ranks.

Filtered (Bordes et al. 2013): other tails that make a true fact with the same head and relation do not count. Equal
scores count half, which is the mean of the best and the worst order and PyKEEN's "realistic" rank (Berrendorf et al.
2020): a model that gives all the same score earns what chance does.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Indices

CUTS = (1, 3, 10)


@dataclass(frozen=True)
class KnownTails:
    """All tails that are known for each (head, relation): `tails[start[q]:start[q + 1]]` for the sorted query q."""

    queries: Indices
    start: Indices
    tails: Indices
    relations: int

    @classmethod
    def of(cls, facts: Indices, relations: int) -> Self:
        """Collect the tails of facts (n, 3) whose relations are numbered below `relations`."""
        keys = facts[:, 0] * relations + facts[:, 1]
        order = np.lexsort((facts[:, 2], keys))
        queries, first = np.unique(keys[order], return_index=True)
        return cls(queries, np.r_[first, len(order)].astype(np.int64), facts[order, 2], relations)

    def at(self, heads: Indices, relations: Indices) -> tuple[Indices, Indices]:
        """Return (row, tail) of every known tail of each query; a query that is not known has none."""
        keys = heads * self.relations + relations
        place = np.minimum(np.searchsorted(self.queries, keys), max(len(self.queries) - 1, 0))
        found = self.queries[place] == keys if len(self.queries) else np.zeros(len(keys), dtype=bool)
        size = np.where(found, self.start[place + 1] - self.start[place], 0)
        rows = np.repeat(np.arange(len(keys)), size)
        offset = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        return rows, self.tails[np.repeat(self.start[place], size) + offset]


def filtered_ranks(scores: NDArray[np.float32], tails: Indices, known: tuple[Indices, Indices]) -> NDArray[np.float64]:
    """Return the rank of each row's tail, from 1, among scores (n, entities); `known` as `KnownTails.at` returns it.

    Raises `ValueError` where a score is not finite: its place could not be told.
    """
    if not np.isfinite(scores).all():
        raise ValueError("scores must be finite")
    own = scores[np.arange(len(tails)), tails][:, None]
    above = (scores > own).sum(1)
    equal = (scores == own).sum(1) - 1
    rows, columns = known
    other = columns != tails[rows]
    rows, columns = rows[other], columns[other]
    difference = scores[rows, columns] - own[rows, 0]
    above = above - np.bincount(rows[difference > 0], minlength=len(tails))
    equal = equal - np.bincount(rows[difference == 0], minlength=len(tails))
    return np.asarray(1 + above + 0.5 * equal, dtype=np.float64)


def link_scores(ranks: Iterable[float]) -> dict[str, float]:
    """Return mean reciprocal rank, mean rank and the share of ranks at most 1, 3 and 10."""
    held = np.asarray(list(ranks), dtype=np.float64)
    found = {"mrr": float((1 / held).mean()), "mean_rank": float(held.mean())}
    return {**found, **{f"hits@{cut}": float((held <= cut).mean()) for cut in CUTS}}
