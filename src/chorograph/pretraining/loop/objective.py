"""What the one loop asks of whatever is trained: where batches come from, and what is learnt from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from chorograph.ground.errors import InputError
from chorograph.pretraining.loop.world import World

#: A batch's place in the run: epoch and number within it, both from 0. None in validation.
Place = tuple[int, int]
#: What a module is called with for a portion of a batch.
Portion = tuple[Any, ...]
#: What a module gives for a portion: features (n, ...) that are compared over the whole batch, and sums of losses.
Output = tuple[tuple[Tensor, ...], Mapping[str, Tensor]]


class Share(Protocol):
    """The share of a batch that one process has; its length is the number of its rows."""

    @property
    def place(self) -> Place | None:
        """Where in the run the batch is."""

    @property
    def dropped(self) -> Sequence[str]:
        """Why rows of it could not be read."""

    def __len__(self) -> int: ...


B = TypeVar("B", bound=Share)
B_co = TypeVar("B_co", bound=Share, covariant=True)


class Source(Protocol[B_co]):
    """The batches of a run by place: the same ones in every run of the same settings and data."""

    @property
    def an_epoch(self) -> int:
        """Batches an epoch."""

    @property
    def in_memory(self) -> bool:
        """Whether a batch is made at once, so that no other process need read ahead."""

    def __getitem__(self, place: Place, /) -> B_co: ...

    def held(self) -> Iterator[B_co]:
        """Yield the batches of validation, the same ones each time."""

    def state(self) -> dict[str, Any]:
        """Return what the batches to come depend on beside their places."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""


class Objective(Generic[B]):
    """What is learnt: the module that makes features and sums of losses, and how these become losses.

    A loss of the whole batch (a contrast) is made in `contrast` from the features of all rows. A loss that is a mean
    over rows or words is a sum in the module's output, and `amounts` says over how many. An objective has either or
    both; the loop then works on a batch in as many portions and processes as it is told, and the gradients are those
    of the whole batch.
    """

    name: str
    #: What progress says, and what a row is called.
    what: str
    rows: str
    #: Called with each portion; wrapped for several processes.
    module: nn.Module
    #: What each loss is multiplied by.
    weights: Mapping[str, float]
    #: Whether there is a loss of the whole batch.
    contrasts = True
    #: Whether all processes draw the same random numbers, since they work on the same things.
    alike = False
    #: Whether a portion may leave parameters unused.
    partial = False

    def __init__(self) -> None:
        self.module = nn.Module()
        #: What takes part in the contrast alone; every process has all of it.
        self.head: nn.Module = nn.Module()

    @property
    def device(self) -> torch.device:
        """Where the module is, or the head where that is all."""
        return self.parameters()[0].device

    def portions(self, batch: B, number: int) -> list[Portion]:
        """Return a batch as up to `number` portions for the module; none where all is done in `contrast`."""
        return []

    def amounts(self, portion: Portion) -> dict[str, int]:
        """Return over how many things each sum of losses of a portion goes."""
        return {}

    def contrast(self, batch: B, features: Sequence[Tensor], own: Sequence[slice]) -> dict[str, Tensor]:
        """Return the part of each contrastive loss that this process answers for.

        `features` are those of all processes, of which the rows `own` are of this one, for each feature. The parts of
        all processes add up to the loss of the batch. Without features, `shares` says who answers for what.
        """
        return {}

    def scales(self) -> list[nn.Parameter]:
        """Return the module's parameters that `contrast` uses, and the module does not."""
        return []

    def train(self, mode: bool) -> None:
        """Put everything in training mode or out of it."""
        self.module.train(mode)
        self.head.train(mode)

    @torch.no_grad()
    def clamp(self) -> None:
        """Bring parameters back to where they may be: called after every step."""

    def save_memory(self) -> None:
        """Compute activations twice instead of keeping them; `InputError` where that cannot be."""
        raise InputError(f"objective {self.name} has no --checkpointing")

    def facts(self) -> dict[str, float]:
        """Return numbers of an epoch's record beside the losses."""
        return {}

    def measure(self, step: Any, batches: Sequence[B], features: Sequence[tuple[Tensor, ...]]) -> dict[str, Any]:
        """Return what else is measured on held-out batches and their features; every process calls this alike."""
        return {}

    def parameters(self) -> list[nn.Parameter]:
        """Return all parameters: the module's, then the head's."""
        return [*self.module.parameters(), *self.head.parameters()]


def own_share(number: int, world: World) -> slice:
    """Return the part of `number` things that a process answers for, sizes differing by one at most."""
    size, more = divmod(number, world.size)
    start = world.rank * size + min(world.rank, more)
    return slice(start, start + size + (world.rank < more))
