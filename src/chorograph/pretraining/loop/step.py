"""One step of training: the loss of the whole batch, however many processes and portions it is worked on in.

The contrast needs every feature of the batch, the towers need memory for a portion only. So features come first; the
loss of all of them gives each its gradient; then the towers are gone back through with those gradients, a portion at a
time and, where there is more than one, computed anew (Gao et al. 2021, GradCache). With several processes each takes
its rows' part of the loss against the features of all, and the features' gradients are summed: the gradients are those
of one process with the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from chorograph.pretraining.loop.world import World
from chorograph.pretraining.objectives.objectives import Objective, real_tokens

if TYPE_CHECKING:
    from chorograph.pretraining.objectives.graph_contrast import GraphContrast

#: Normalised images (n, 3, height, width) and trimmed token ids (n, length) of a portion.
Portion = tuple[Tensor, Tensor]
#: What `Towers` gives: image and text features, and the sum of the caption losses.
Output = tuple[Tensor, Tensor, Tensor | None]


@dataclass(frozen=True)
class Step:
    """How a batch becomes gradients.

    `towers` is a `Towers`, bare or wrapped for several processes; `model` what is inside; `precision` an autocast type,
    or None for what the weights have; `graph` what images are contrasted with beside texts, by the entities (n,) of
    their regions.
    """

    towers: nn.Module
    model: nn.Module
    objective: Objective
    world: World = field(default_factory=World)
    precision: torch.dtype | None = None
    graph: GraphContrast | None = None

    def backward(
        self, portions: Sequence[Portion], entities: Tensor | None = None, place: tuple[int, ...] = ()
    ) -> dict[str, float]:
        """Add the gradients of a batch to the parameters, and return its losses, those of all processes together.

        `place` in the run decides what `graph` draws, in all processes alike.
        """
        device = portions[0][0].device
        world, one = self.world, len(portions) == 1
        tokens = sum(real_tokens(tokens) for _, tokens in portions)
        total = int(world.sum(torch.tensor(tokens, device=device)))
        states, outputs = [], []
        with nullcontext() if one else _looking_ahead(self.model):
            for images, ids in portions:
                states.append(_random_state(device))
                with self._autocast(device):
                    outputs.append(self.towers(images, ids, one))
        found, slopes = self._contrast(outputs, entities, place)
        captioning = torch.zeros((), device=device)
        starts = _starts([len(images) for images, _ in portions])
        for number, (images, ids) in enumerate(portions):
            last = number == len(portions) - 1
            with _without_exchange(self.towers, not last):
                output = outputs[number]
                if not one:
                    with _replayed(states[number], device), self._autocast(device):
                        output = self.towers(images, ids)
                rows = slice(starts[number], starts[number + 1])
                captioning += self._back(output, [slope[rows] for slope in slopes], total)
        found["captioning"] = captioning / total
        return self._reported(found)

    @torch.no_grad()
    def losses(self, portion: Portion, entities: Tensor | None = None) -> tuple[dict[str, float], Tensor]:
        """Return the losses of a batch without gradients, and all processes' image features (n, dim)."""
        with self._autocast(portion[0].device):
            images, texts, captioning = self.towers(*portion)
        sizes = self.world.sizes(len(images), images.device)
        features = self.world.gather(images, sizes)
        own = self._own(sizes)
        found = {"contrastive": self.objective.contrast(features, self.world.gather(texts, sizes), own, self.model)}
        total = int(self.world.sum(torch.tensor(real_tokens(portion[1]), device=images.device)))
        found["captioning"] = (images.new_zeros(()) if captioning is None else captioning) / total
        if self.graph is not None and entities is not None:
            found["graph"] = self.graph(features, self.world.gather(entities.to(images.device), sizes), own, None)
        return self._reported(found), features

    @torch.no_grad()
    def texts(self, tokens: Tensor) -> Tensor:
        """Return the text features (n, dim) of unit length of token ids, without gradients."""
        with self._autocast(tokens.device):
            features: Tensor = self.towers(None, tokens)[1]
        return features

    def _contrast(
        self, outputs: Sequence[Output], entities: Tensor | None, place: tuple[int, ...]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Return this process's part of each contrastive loss, and the whole's gradient by its own features."""
        images = torch.cat([output[0].detach() for output in outputs])
        sides = [images, torch.cat([output[1].detach() for output in outputs])]
        sizes = self.world.sizes(len(sides[0]), sides[0].device)
        own = self._own(sizes)
        leaves = [self.world.gather(side, sizes).requires_grad_() for side in sides]
        found = {"contrastive": self.objective.contrast(leaves[0], leaves[1], own, self.model)}
        if self.graph is not None and entities is not None:
            owners = self.world.gather(entities.to(images.device), sizes)
            found["graph"] = self.graph(leaves[0], owners, own, place)
        torch.autograd.backward(self._weighted(found))
        beside = scales(self.model) + ([] if self.graph is None else list(self.graph.parameters()))
        for parameter in beside:
            if parameter.grad is not None:
                parameter.grad = self.world.sum(parameter.grad)
        slopes = [self.world.sum(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)[own] for leaf in leaves]
        return {name: loss.detach() for name, loss in found.items()}, slopes

    def _back(self, output: Output, slopes: Sequence[Tensor], total: int) -> Tensor:
        """Go back through the towers; returns the sum of the portion's caption losses."""
        captioning = output[2]
        weight = self.objective.captioning_weight / total
        pairs = [(output[0], slopes[0]), (output[1], slopes[1])]
        if captioning is not None:
            pairs.append((captioning, torch.full_like(captioning, weight)))
        # What averages over the processes is made to sum.
        factor = self.world.size
        pairs = [(tensor, slope * factor if factor > 1 else slope) for tensor, slope in pairs if tensor.requires_grad]
        torch.autograd.backward([tensor for tensor, _ in pairs], [slope for _, slope in pairs])
        return torch.zeros_like(slopes[0][0, 0]) if captioning is None else captioning.detach()

    def _own(self, sizes: list[int]) -> slice:
        start = sum(sizes[: self.world.rank])
        return slice(start, start + sizes[self.world.rank])

    def _weighted(self, losses: Mapping[str, Tensor]) -> Tensor:
        weights = {
            "contrastive": self.objective.contrastive_weight,
            "captioning": self.objective.captioning_weight,
            "graph": 0.0 if self.graph is None else self.graph.weight,
        }
        return torch.stack([weights[name] * loss for name, loss in losses.items()]).sum()

    def _reported(self, found: dict[str, Tensor]) -> dict[str, float]:
        losses = dict(zip(found, self.world.sum(torch.stack(list(found.values()))), strict=True))
        if not self.objective.captioning_weight:
            del losses["captioning"]
        losses["loss"] = self._weighted(losses)
        return {name: float(loss) for name, loss in losses.items()}

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, self.precision or torch.bfloat16, enabled=self.precision is not None)


def scales(model: nn.Module) -> list[nn.Parameter]:
    """Return the logit scale and, where there is one, the logit bias."""
    found = (getattr(model, name, None) for name in ("logit_scale", "logit_bias"))
    return [parameter for parameter in found if parameter is not None]


def _starts(sizes: Sequence[int]) -> list[int]:
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    return starts


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
def _without_exchange(towers: nn.Module, wanted: bool) -> Iterator[None]:
    """Leave the exchange of gradients to the last portion."""
    if wanted and isinstance(towers, DistributedDataParallel):
        with towers.no_sync():
            yield
    else:
        yield
