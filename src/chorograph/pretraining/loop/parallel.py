"""Spreading a model over processes, and collecting what a checkpoint holds from wherever it lies."""

from __future__ import annotations

from typing import Any

import torch
from open_clip.transformer import CustomResidualAttentionBlock, ResidualAttentionBlock
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from chorograph.pretraining.loop.step import scales
from chorograph.pretraining.loop.world import World
from chorograph.pretraining.objectives.objectives import Towers

_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
_FROM_FIRST = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def spread(towers: Towers, world: World, device: torch.device, *, shards: bool) -> nn.Module:
    """Wrap towers for the processes of a world: a whole copy in each (DDP), or with `shards` a part in each (FSDP2).

    The logit scale and bias stay outside of it: `Step` sums their gradients itself, as every process has a part in
    them that averaging would not see.
    """
    if shards:
        for block in blocks(towers.model):
            fully_shard(block)
        # FSDP2 takes no parameter without dimensions.
        fully_shard(towers, ignored_params=set(scales(towers.model)))
        return towers
    if world.size == 1:
        return towers
    names = [f"model.{name}" for name in ("logit_scale", "logit_bias")]
    wrapper: Any = DistributedDataParallel  # the call below carries no types
    wrapper._set_params_and_buffers_to_ignore_for_model(towers, names)
    wrapped: nn.Module = wrapper(towers, device_ids=[device] if device.type == "cuda" else None)
    return wrapped


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the transformer blocks of a model: what is compiled, and sharded, one at a time."""
    return [m for m in model.modules() if isinstance(m, ResidualAttentionBlock | CustomResidualAttentionBlock)]


def state_of(towers: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return weights and optimiser state, those in shards whole in the first process; every process must ask."""
    if not isinstance(towers, FSDPModule):
        return {"model": _plain(towers).state_dict(), "optimiser": optimiser.state_dict()}
    return {
        "model": get_model_state_dict(towers, options=_FULL),
        "optimiser": get_optimizer_state_dict(towers, optimiser, options=_FULL),
    }


def restore(towers: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take up what `state_of` returned; of shards, what it returned to the first process."""
    if not isinstance(towers, FSDPModule):
        _plain(towers).load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        return
    set_model_state_dict(towers, state["model"], options=_FROM_FIRST)
    set_optimizer_state_dict(towers, optimiser, state["optimiser"], options=_FROM_FIRST)


def whole_weights(towers: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a model in shards by name, whole in the first process; every process must ask."""
    state: dict[str, Any] = get_model_state_dict(towers, options=_FULL)
    return {name.removeprefix("model."): tensor for name, tensor in state.items()}


def _plain(towers: nn.Module) -> nn.Module:
    inner = towers.module if isinstance(towers, DistributedDataParallel) else towers
    if not isinstance(inner, Towers):
        raise TypeError(type(inner))
    return inner.model
