"""Batches that are drawn in a row, since what a step draws could not be told from its place alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chorograph.ground.arrays import Indices
from chorograph.pretraining.loop.objective import Place, own_share
from chorograph.pretraining.loop.world import World


@dataclass(frozen=True)
class WholeBatch:
    """A batch that every process has whole; this one answers for its rows `own`. All of it could be read."""

    place: Place
    own: slice

    @property
    def dropped(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    def __len__(self) -> int:
        return len(range(self.own.start, self.own.stop))


class DrawnBatches:
    """Batches of training alone: an epoch's order is drawn, then what each batch draws, by one generator `rng`.

    A killed run goes on with the generator's state before this epoch's order was drawn, from which the order follows,
    and its state now.
    """

    in_memory = True

    def __init__(
        self, rows: Indices, batch_size: int, seed: int, world: World,
        parts: Callable[[Indices, int], list[Indices]] = lambda order, number: np.array_split(order, number),
    ) -> None:  # fmt: skip
        """`parts(order, number)` cuts an epoch's order into its batches; by default into like ones."""
        self.an_epoch = -(-len(rows) // batch_size)
        self.rng = np.random.default_rng(seed)
        self._rows, self._parts, self._world = rows, parts, world
        self._before = self.rng.bit_generator.state
        self._order: list[Indices] = []

    def rows_at(self, place: Place) -> Indices:
        """Return the rows of the batch at a place; places must be asked for in their order."""
        if place[1] == 0:
            self._begin()
        return self._order[place[1]]

    def own(self, number: int) -> slice:
        """Return which of a batch's rows this process answers for."""
        return own_share(number, self._world)

    def held(self) -> Iterator[Any]:
        """Nothing is held out."""
        yield from ()

    def state(self) -> dict[str, Any]:
        """Return what `restore` goes on with."""
        return {"before": self._before, "now": self.rng.bit_generator.state}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.rng.bit_generator.state = state["before"]
        self._begin()
        self.rng.bit_generator.state = state["now"]

    def _begin(self) -> None:
        self._before = self.rng.bit_generator.state
        self._order = self._parts(self.rng.permutation(self._rows), self.an_epoch)
