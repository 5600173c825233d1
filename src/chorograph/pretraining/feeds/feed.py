"""Batches in a fixed order, read by as many processes as asked for: the number changes the speed and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from chorograph.ground.arrays import Indices
from chorograph.pretraining.feeds.augment import augment
from chorograph.pretraining.feeds.pairs import InMemory, Pairs, batches
from chorograph.pretraining.loop.objective import B_co, Place, Source
from chorograph.pretraining.loop.world import World
from chorograph.shards.order import global_batches, rank_share


@dataclass(frozen=True)
class Batch:
    """The share of a batch that one process has.

    `pixels` uint8 (n, 3, height, width); `places` (n,) say where the rows stand in the batch of `whole` rows that all
    processes share; `dropped` why images of it could not be read.
    """

    place: Place | None
    rows: Indices
    places: Indices
    whole: int
    pixels: Tensor
    texts: list[str]
    dropped: list[str]

    def __len__(self) -> int:
        return len(self.rows)

    def turned(self, kind: str, view: str, seed: int, device: torch.device) -> Tensor:
        """Return the pixels on a device, turned and cut as `augment` does; those of validation as they are."""
        pixels = self.pixels.to(device)
        if self.place is None:
            return pixels
        return augment(pixels, kind, view, (seed, *self.place), self.places, self.whole)


@dataclass(frozen=True)
class Draw:
    """Rows drawn with replacement: `chances` (n,) add up to one, `number` rows are an epoch."""

    chances: NDArray[np.float64]
    number: int

    def order(self, seed: int, epoch: int) -> Indices:
        """Return the rows of an epoch."""
        rng = np.random.default_rng((seed, epoch, 8))
        return rng.choice(len(self.chances), self.number, p=self.chances)


@dataclass(frozen=True)
class Batches:
    """Every batch of a run by its place: a pure function of pairs, batch size, seed and rank; `kept` is held out.

    An epoch has every row once, or with `draw` as many as that says. `mixgen`: the share of a batch that is mixed with
    other pairs of it (see `_mixed`); what is held out never is.
    """

    pairs: Pairs
    batch_size: int
    seed: int
    world: World
    kept: Pairs | None = None
    draw: Draw | None = None
    mixgen: float = 0.0

    @property
    def an_epoch(self) -> int:
        """Batches an epoch."""
        return -(-(len(self.pairs) if self.draw is None else self.draw.number) // self.batch_size)

    @property
    def in_memory(self) -> bool:
        """Whether the images are."""
        return isinstance(self.pairs.images, InMemory)

    def __getitem__(self, place: Place) -> Batch:
        epoch, number = place
        if self.draw is None:
            batch = _batches(len(self.pairs), self.batch_size, epoch, self.seed)[number]
        else:
            batch = global_batches(self.draw.order(self.seed, epoch), self.batch_size)[number]
        return self._read(self.pairs, batch, place, epoch)

    def held(self) -> Iterator[Batch]:
        """Yield the held-out batches, in a fixed order, each image with its first caption."""
        if self.kept is None or not len(self.kept):
            return
        for rows in np.array_split(np.arange(len(self.kept)), -(-len(self.kept) // self.batch_size)):
            yield self._read(self.kept, rows, None, None)

    def state(self) -> dict[str, Any]:
        """Nothing: all is in the place."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Nothing to do."""

    def _read(self, pairs: Pairs, batch: Indices, place: Place | None, epoch: int | None) -> Batch:
        places = rank_share(np.arange(len(batch)), self.world.rank, self.world.size)
        pixels, reasons = pairs.images.read(batch[places])
        places = places[[reason is None for reason in reasons]]
        rows = batch[places]
        dropped = [reason for reason in reasons if reason is not None]
        if epoch is None:
            texts = [pairs.captions[row][0] for row in rows.tolist()]
        else:
            texts = pairs.captions_at(rows, epoch, self.seed)
            pixels, texts = self._mixed(pairs, batch, places, pixels, texts, epoch)
        return Batch(place, rows, places, len(batch), pixels, texts, dropped)

    def _mixed(
        self, pairs: Pairs, batch: Indices, places: Indices, pixels: Tensor, texts: list[str], epoch: int
    ) -> tuple[Tensor, list[str]]:
        """Mix the first of a batch with those that follow (MixGen, Hao et al. 2022): half of each image, both texts.

        The pair at place k takes the one at place k + m, where m are mixed, whoever works on it; the order is drawn, so
        that this is a drawn pair. One whose partner cannot be read stays as it is. Nothing is written.
        """
        number = int(self.mixgen * len(batch))
        chosen = np.flatnonzero(places < number)
        if not len(chosen):
            return pixels, texts
        partners = batch[places[chosen] + number]
        others, reasons = pairs.images.read(partners)
        read = [reason is None for reason in reasons]
        chosen, partners = chosen[read], partners[read]
        at = torch.from_numpy(chosen)
        pixels, texts = pixels.clone(), list(texts)
        pixels[at] = ((pixels[at].short() + others.short() + 1) // 2).to(torch.uint8)
        for row, other in zip(chosen.tolist(), pairs.captions_at(partners, epoch, self.seed), strict=True):
            texts[row] = f"{texts[row]} {other}"
        return pixels, texts


def feed(source: Source[B_co], places: Iterable[Place], workers: int) -> Iterator[B_co]:
    """Yield the batches at `places` in that order.

    What is in memory is taken from there; the rest is read by `workers` processes ahead of its time, or, with 0, by
    this one.
    """
    if workers == 0 or source.in_memory:
        yield from map(source.__getitem__, places)
        return
    every: Any = source  # a data set by its place, which is all that a loader wants
    yield from DataLoader(every, batch_size=None, sampler=list(places), num_workers=workers, collate_fn=_as_it_is)


@lru_cache(maxsize=2)
def _batches(rows: int, batch_size: int, epoch: int, seed: int) -> list[Indices]:
    return batches(rows, batch_size, epoch, seed)


def _as_it_is(batch: Any) -> Any:
    return batch
