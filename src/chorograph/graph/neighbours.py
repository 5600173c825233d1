"""Neighbour sampling on compressed sparse rows: a few incoming facts of each entity, layer by layer.

PyTorch Geometric's own samplers need compiled extensions that are not to be had as wheels everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Indices


@dataclass(frozen=True)
class Sampled:
    """The entities (m,) that a batch needs, and the facts (e, 3) among them, by place in `entities`; seeds come first.

    `row` (e,): which row of the graph's facts each is. `steps[i]`: how many entities, and how many facts into them, lie
    within i hops of the seeds.
    """

    entities: Indices
    facts: Indices
    weight: NDArray[np.float32]
    row: Indices
    steps: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Neighbours:
    """Facts sorted by tail: those that lead to entity v are rows `start[v]:start[v + 1]`."""

    start: Indices
    head: Indices
    relation: Indices
    weight: NDArray[np.float32]
    row: Indices

    @classmethod
    def of(cls, facts: Indices, entities: int, weight: NDArray[np.float32] | None = None) -> Self:
        """Sort facts (n, 3) by tail; `weight` (n,) goes along."""
        order = np.argsort(facts[:, 2], kind="stable")
        start = np.zeros(entities + 1, dtype=np.int64)
        np.cumsum(np.bincount(facts[:, 2], minlength=entities), out=start[1:])
        held = np.ones(len(facts), dtype=np.float32) if weight is None else weight
        return cls(start, facts[order, 0], facts[order, 1], held[order], order)

    def sample(self, seeds: Indices, fan_out: tuple[int, ...], rng: np.random.Generator) -> Sampled:
        """Return the seeds with up to `fan_out[i]` facts into each entity of layer i, drawn without replacement.

        Where an entity has more facts than are drawn, the drawn ones weigh more, so that sums keep their expectation.
        Every entity's facts are drawn once, in the first layer that it is met in.
        """
        number = len(self.start) - 1
        place = np.full(number, -1, dtype=np.int64)
        seeds = np.unique(seeds)
        place[seeds] = np.arange(len(seeds))
        layers, rows, scales = [seeds], [], []
        front = seeds
        for wanted in fan_out:
            picked, scale = self._draw(front, wanted, rng)
            rows.append(picked)
            scales.append(scale)
            heads = np.unique(self.head[picked])
            front = heads[place[heads] < 0]
            place[front] = sum(map(len, layers)) + np.arange(len(front))
            layers.append(front)
        chosen = np.concatenate(rows)
        # The tail of a row is where its place among the sorted facts falls.
        tails = np.searchsorted(self.start, chosen, side="right") - 1
        facts = np.stack([place[self.head[chosen]], self.relation[chosen], place[tails]], axis=1)
        weight = self.weight[chosen] * np.concatenate(scales)
        sizes, numbers = np.cumsum([len(part) for part in layers]), np.cumsum([len(part) for part in rows])
        steps = tuple((int(size), int(number)) for size, number in zip(sizes, numbers, strict=False))
        return Sampled(np.concatenate(layers), facts, weight.astype(np.float32), self.row[chosen], steps)

    def _draw(self, tails: Indices, wanted: int, rng: np.random.Generator) -> tuple[Indices, NDArray[np.float32]]:
        """Return rows of up to `wanted` facts into each of `tails`, and how much each stands for."""
        first, held = self.start[tails], self.start[tails + 1] - self.start[tails]
        few = held <= wanted
        size = held[few]
        offset = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        rows = [np.repeat(first[few], size) + offset]
        scale = [np.ones(len(rows[0]), dtype=np.float32)]
        many, lots = first[~few], held[~few]
        if len(many):
            # A stratified draw: one fact out of each of `wanted` equal parts, so none twice, and no sorting.
            step = lots[:, None] / wanted
            drawn = np.floor((np.arange(wanted) + rng.random((len(many), wanted))) * step).astype(np.int64)
            rows.append((many[:, None] + np.minimum(drawn, lots[:, None] - 1)).ravel())
            scale.append(np.repeat((lots / wanted).astype(np.float32), wanted))
        return np.concatenate(rows), np.concatenate(scale)
