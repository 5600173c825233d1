"""Random draws in a row, for what is drawn anew in every step and could not be told from a batch's place alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chorograph.ground.arrays import Indices
from chorograph.pretraining.loop.objective import Place


class Stream:
    """A generator of random numbers that gives an epoch its order first, then each batch what it draws.

    `parts(rng)` draws an epoch's batches. A killed run goes on with the state before this epoch's order was drawn, from
    which the order follows, and the state now.
    """

    def __init__(self, seed: int, parts: Callable[[np.random.Generator], list[Indices]]) -> None:
        self.rng = np.random.default_rng(seed)
        self._parts = parts
        self._before = self.rng.bit_generator.state
        self._order: list[Indices] = []

    def rows(self, place: Place) -> Indices:
        """Return the rows of the batch at a place; places must be asked for in their order."""
        if place[1] == 0:
            self._begin()
        return self._order[place[1]]

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
        self._order = self._parts(self.rng)
