"""Batches in a fixed order, read by as many processes as asked for: the number changes the speed and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from chorograph.pretraining.feeds.pairs import InMemory, Pairs, Rows, batches
from chorograph.pretraining.loop.world import World
from chorograph.shards.order import rank_share

#: A batch's place in the run: epoch and number within it, both from 0.
Place = tuple[int, int]


@dataclass(frozen=True)
class Batch:
    """The share of a batch that one process has.

    `pixels` uint8 (n, 3, height, width); `places` (n,) say where the rows stand in the batch of `whole` rows that all
    processes share; `dropped` why images of it could not be read.
    """

    place: Place
    rows: Rows
    places: Rows
    whole: int
    pixels: Tensor
    texts: list[str]
    dropped: list[str]


@dataclass(frozen=True)
class Batches(Dataset[Batch]):
    """Every batch of a run by its place: a pure function of pairs, batch size, seed and rank."""

    pairs: Pairs
    batch_size: int
    seed: int
    world: World

    def __getitem__(self, place: Place) -> Batch:
        epoch, number = place
        batch = _batches(len(self.pairs), self.batch_size, epoch, self.seed)[number]
        places = rank_share(np.arange(len(batch)), self.world.rank, self.world.size)
        pixels, reasons = self.pairs.images.read(batch[places])
        places = places[[reason is None for reason in reasons]]
        rows = batch[places]
        dropped = [reason for reason in reasons if reason is not None]
        texts = self.pairs.captions_at(rows, epoch, self.seed)
        return Batch(place, rows, places, len(batch), pixels, texts, dropped)

    def places(self, epochs: int, start: Place = (0, 0)) -> list[Place]:
        """Return the places of the batches of `epochs` epochs, from `start` on."""
        an_epoch = -(-len(self.pairs) // self.batch_size)
        every = ((epoch, number) for epoch in range(start[0], epochs) for number in range(an_epoch))
        return [place for place in every if place >= start]


def feed(every: Batches, places: list[Place], workers: int) -> Iterator[Batch]:
    """Yield the batches at `places` in that order.

    Images in memory are taken from there; others are decoded by `workers` processes ahead of their time, or, with 0,
    by this one.
    """
    if workers == 0 or isinstance(every.pairs.images, InMemory):
        yield from map(every.__getitem__, places)
        return
    yield from DataLoader(every, batch_size=None, sampler=places, num_workers=workers, collate_fn=_as_it_is)


@lru_cache(maxsize=2)
def _batches(rows: int, batch_size: int, epoch: int, seed: int) -> list[Rows]:
    return batches(rows, batch_size, epoch, seed)


def _as_it_is(batch: Any) -> Any:
    return batch
