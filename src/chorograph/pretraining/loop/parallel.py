"""Spreading a module over processes, and collecting what a checkpoint holds from wherever it lies."""

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

from chorograph.pretraining.loop.objective import B, Objective
from chorograph.pretraining.loop.world import World

_FULL = StateDictOptions(full_state_dict=True, cpu_offload=True)
_FROM_FIRST = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def spread(objective: Objective[B], world: World, *, shards: bool) -> nn.Module:
    """Wrap an objective's module for the processes of a world: a whole copy in each (DDP), or with `shards` parts.

    The scales stay outside of it: `Step` sums their gradients itself, as every process has a part in them that
    averaging would not see.
    """
    module, apart = objective.module, {id(parameter) for parameter in objective.scales()}
    if shards:
        for block in blocks(module):
            fully_shard(block)
        # FSDP2 takes no parameter without dimensions.
        fully_shard(module, ignored_params=set(objective.scales()))
        return module
    inside = [parameter for parameter in module.parameters() if id(parameter) not in apart]
    if world.size == 1 or not any(parameter.requires_grad for parameter in inside):
        return module
    names = [name for name, parameter in module.named_parameters() if id(parameter) in apart]
    wrapper: Any = DistributedDataParallel  # the call below carries no types
    wrapper._set_params_and_buffers_to_ignore_for_model(module, names)
    devices = [objective.device] if objective.device.type == "cuda" else None
    wrapped: nn.Module = wrapper(module, device_ids=devices, find_unused_parameters=objective.partial)
    return wrapped


def blocks(model: nn.Module) -> list[nn.Module]:
    """Return the transformer blocks of a model: what is compiled, and sharded, one at a time."""
    return [m for m in model.modules() if isinstance(m, ResidualAttentionBlock | CustomResidualAttentionBlock)]


def state_of(module: nn.Module, optimiser: torch.optim.Optimizer) -> dict[str, Any]:
    """Return weights and optimiser state, those in shards whole in the first process; every process must ask.

    Of a module with an adapter it is what training changes: the rest is the model's own, and always there.
    """
    if not isinstance(module, FSDPModule):
        return {"model": _changing(bare(module)), "optimiser": optimiser.state_dict()}
    return {
        "model": get_model_state_dict(module, options=_FULL),
        "optimiser": get_optimizer_state_dict(module, optimiser, options=_FULL),
    }


def restore(module: nn.Module, optimiser: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Take up what `state_of` returned; of shards, what it returned to the first process."""
    if not isinstance(module, FSDPModule):
        bare(module).load_state_dict(state["model"], strict=False)
        optimiser.load_state_dict(state["optimiser"])
        return
    set_model_state_dict(module, state["model"], options=_FROM_FIRST)
    set_optimizer_state_dict(module, optimiser, state["optimiser"], options=_FROM_FIRST)


def whole_weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights of a model in shards by name, whole in the first process; every process must ask."""
    state: dict[str, Any] = get_model_state_dict(module, options=_FULL)
    return {name.removeprefix("model."): tensor for name, tensor in state.items()}


def bare(module: nn.Module) -> nn.Module:
    """Return a module without what wraps it."""
    return module.module if isinstance(module, DistributedDataParallel) else module


def _changing(module: nn.Module) -> dict[str, Tensor]:
    frozen = {name for name, parameter in module.named_parameters() if not parameter.requires_grad}
    return {name: tensor for name, tensor in module.state_dict().items() if name not in frozen}
