"""Which parameters a run trains, and how they are handed to the optimiser."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from chorograph.ground.errors import InputError
from chorograph.models.coca.towers import is_coca
from chorograph.pretraining.objectives.objectives import Objective

_NO_TOWER = ("visual.", "text_decoder.", "logit_")


def freeze(model: nn.Module, frozen: str, objective: Objective) -> None:
    """Stop training the `image` or the `text` tower, or none of both; and a decoder that the objective leaves out."""
    if frozen != "none":
        for parameter in tower_parameters(model, frozen):
            parameter.requires_grad_(False)
    if is_coca(model) and not objective.captioning_weight:
        coca: Any = model
        coca.text_decoder.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(f"with the {frozen} tower frozen nothing is left to train")


def set_training(model: nn.Module, frozen: str) -> None:
    """Put a model in training mode, a frozen tower apart: its dropout and batch norms stay as they are."""
    model.train()
    if frozen != "none":
        tower = _tower(model, frozen)
        if tower is not model:
            tower.eval()


def tower_parameters(model: nn.Module, tower: str) -> Iterator[nn.Parameter]:
    """Yield the parameters of the `image` or the `text` tower; CoCa's decoder and the logit scale belong to neither."""
    for name, parameter in model.named_parameters():
        if name.startswith("visual.") if tower == "image" else not name.startswith(_NO_TOWER):
            yield parameter


def make_optimiser(
    parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, device: torch.device
) -> torch.optim.Optimizer:
    """Return AdamW in its fused form; biases, norms and scales (fewer than two dimensions) are not decayed."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim == 1], "weight_decay": 0.0},
        {"params": [p for p in trained if p.ndim == 0], "weight_decay": 0.0},
    ]
    # Scales stay outside of shards, and one group does not take both kinds.
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=lr, fused=device.type in ("cpu", "cuda")
    )


def _tower(model: nn.Module, tower: str) -> nn.Module:
    found = getattr(model, "visual" if tower == "image" else "text", model)
    assert isinstance(found, nn.Module)  # noqa: S101  # for the type checker
    return found
