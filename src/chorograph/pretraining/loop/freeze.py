"""Which parts of an image-text model a run trains."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from chorograph.ground.errors import InputError
from chorograph.models.coca.towers import is_coca

_NO_TOWER = ("visual.", "text_decoder.", "logit_")


def freeze(model: nn.Module, frozen: str, *, captions: bool) -> None:
    """Stop training the `image` or the `text` tower, or none of both; and a decoder where no `captions` are learnt."""
    if frozen != "none":
        for parameter in tower_parameters(model, frozen):
            parameter.requires_grad_(False)
    if is_coca(model) and not captions:
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


def _tower(model: nn.Module, tower: str) -> nn.Module:
    found = getattr(model, "visual" if tower == "image" else "text", model)
    assert isinstance(found, nn.Module)  # noqa: S101  # for the type checker
    return found
