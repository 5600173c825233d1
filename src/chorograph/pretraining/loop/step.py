"""One step of training: the loss of the whole batch, however many processes and portions it is worked on in.

A contrast needs every feature of the batch, the module needs memory for a portion only. So features come first; the
loss of all of them gives each its gradient; then the module is gone back through with those gradients, a portion at a
time and, where there is more than one, computed anew (Gao et al. 2021, GradCache). With several processes each takes
its rows' part of the loss against the features of all, and the features' gradients are summed: the gradients are those
of one process with the whole batch. Losses that are means over rows need none of this: a portion adds its sum.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from chorograph.pretraining.loop.objective import B, Objective, Output, Portion
from chorograph.pretraining.loop.world import World


@dataclass(frozen=True)
class Step(Generic[B]):
    """How a batch becomes gradients.

    `module` is the objective's, bare or wrapped for several processes; `precision` an autocast type, or None for what
    the weights have; `scaler` keeps small gradients from vanishing in float16.
    """

    objective: Objective[B]
    module: nn.Module
    world: World = field(default_factory=World)
    precision: torch.dtype | None = None
    scaler: torch.amp.GradScaler | None = None

    def backward(self, batch: B, portions: Sequence[Portion]) -> dict[str, float]:
        """Add the gradients of a batch to the parameters, and return its losses, those of all processes together."""
        device, one = self.objective.device, len(portions) == 1
        totals = self._totals(portions)
        states, outputs = [], []
        if self.objective.contrasts:
            with nullcontext() if one else _looking_ahead(self.objective.module):
                for portion in portions:
                    states.append(_random_state(device))
                    outputs.append(self._call(portion, ahead=not one))
        found, slopes = self._contrast(batch, outputs) if self.objective.contrasts else ({}, [])
        sums = {name: torch.zeros((), device=device) for name in totals}
        starts = [_starts([len(output[0][side]) for output in outputs]) for side in range(len(slopes))]
        for number, portion in enumerate(portions):
            with _without_exchange(self.module, number < len(portions) - 1):
                if not self.objective.contrasts:
                    output = self._call(portion)
                elif one:
                    output = outputs[number]
                else:
                    with _replayed(states[number], device):
                        output = self._call(portion)
                pairs = zip(slopes, starts, strict=True)
                self._back(output, [slope[at[number] : at[number + 1]] for slope, at in pairs], totals)
            for name, value in output[1].items():
                sums[name] += value.detach()
        return self._reported(found | {name: value / totals[name] for name, value in sums.items()})

    @torch.no_grad()
    def losses(self, batch: B) -> tuple[dict[str, float], tuple[Tensor, ...]]:
        """Return the losses of a batch without gradients, and all processes' features."""
        (portion,) = self.objective.portions(batch, 1)
        features, sums = self._call(portion)
        totals = self._totals([portion])
        sides, own = self._gathered(features)
        found = self.objective.contrast(batch, sides, own) if self.objective.contrasts else {}
        return self._reported(found | {name: sums[name] / total for name, total in totals.items()}), tuple(sides)

    def _call(self, portion: Portion, *, ahead: bool = False) -> Output:
        with self.autocast():
            output: Output = self.module(*portion, ahead=True) if ahead else self.module(*portion)
        return output

    def _totals(self, portions: Sequence[Portion]) -> dict[str, int]:
        """Return over how many things each sum goes, in all portions of all processes."""
        amounts = [self.objective.amounts(portion) for portion in portions]
        names = amounts[0] if amounts else {}
        total = {name: torch.tensor(sum(part[name] for part in amounts)) for name in names}
        return {name: int(self.world.sum(value.to(self.objective.device))) for name, value in total.items()}

    def _contrast(self, batch: B, outputs: Sequence[Output]) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return this process's part of each contrastive loss, and the whole's gradient by its own features."""
        sides = [torch.cat([side.detach() for side in part]) for part in zip(*(out[0] for out in outputs), strict=True)]
        leaves, own = self._gathered(sides)
        for leaf in leaves:
            leaf.requires_grad_(leaf.is_floating_point())
        found = self.objective.contrast(batch, leaves, own)
        torch.autograd.backward(self._scaled(self._weighted(found)))
        for parameter in [*self.objective.scales(), *self.objective.head.parameters()]:
            if parameter.grad is not None:
                parameter.grad = self.world.sum(parameter.grad)
        slopes = [
            self.world.sum(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)[part]
            for leaf, part in zip(leaves, own, strict=True)
        ]
        return {name: loss.detach() for name, loss in found.items()}, slopes

    def _gathered(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[slice]]:
        """Return the features of all processes, and which rows of each are this one's."""
        sizes = [self.world.sizes(len(side), side.device) for side in features]
        own = [slice(sum(size[: self.world.rank]), sum(size[: self.world.rank + 1])) for size in sizes]
        return [self.world.gather(side, size) for side, size in zip(features, sizes, strict=True)], own

    def _back(self, output: Output, slopes: Sequence[Tensor], totals: Mapping[str, int]) -> None:
        """Go back through the module with the gradients of its features and of its sums."""
        # What averages over the processes is made to sum.
        factor = self.world.size
        pairs = list(zip(output[0], slopes, strict=False))
        for name, value in output[1].items():
            weight = torch.full_like(value, self.objective.weights[name] / totals[name])
            pairs.append((value, self._scaled(weight)))
        pairs = [(tensor, slope * factor if factor > 1 else slope) for tensor, slope in pairs if tensor.requires_grad]
        torch.autograd.backward([tensor for tensor, _ in pairs], [slope for _, slope in pairs])

    def _weighted(self, losses: Mapping[str, Tensor]) -> Tensor:
        return torch.stack([self.objective.weights[name] * loss for name, loss in losses.items()]).sum()

    def _reported(self, found: Mapping[str, Tensor]) -> dict[str, float]:
        losses = dict(zip(found, self.world.sum(torch.stack(list(found.values()))), strict=True))
        losses["loss"] = self._weighted(losses)
        return {name: float(loss) for name, loss in losses.items()}

    def _scaled(self, value: Tensor) -> Tensor:
        return value if self.scaler is None else self.scaler.scale(value)

    def autocast(self) -> torch.autocast:
        """Return the context that a portion is computed in."""
        kind = self.objective.device.type
        return torch.autocast(kind, self.precision or torch.bfloat16, enabled=self.precision is not None)


def _starts(sizes: Sequence[int]) -> list[int]:
    return [0, *itertools.accumulate(sizes)]


@contextmanager
def _looking_ahead(model: nn.Module) -> Iterator[None]:
    """Compute features that will be computed again: no gradients, and batch norms learn nothing from them."""
    norms: list[Any] = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        with torch.no_grad():
            yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


@contextmanager
def _replayed(state: tuple[Tensor, Tensor | None], device: torch.device) -> Iterator[None]:
    """Draw the random numbers (dropout) that were drawn when `state` was taken, and forget that they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.set_rng_state(state[0])
        if state[1] is not None:
            torch.cuda.set_rng_state(state[1], device)
        yield


@contextmanager
def _without_exchange(module: nn.Module, wanted: bool) -> Iterator[None]:
    """Leave the exchange of gradients to the last portion."""
    if wanted and isinstance(module, DistributedDataParallel):
        with module.no_sync():
            yield
    else:
        yield
