"""What is learnt from image-text pairs: small objects over one loop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from chorograph.area.errors import InputError, UnknownNameError
from chorograph.models.coca import PAD, encode_text, is_coca

#: The logit scale stays within [0, ln 100] (Radford et al. 2021).
MAX_LOG_SCALE = math.log(100)

Losses = dict[str, Tensor]


class Objective(Protocol):
    """Turns a batch into losses; the one named `loss` is minimised."""

    @property
    def name(self) -> str:
        """The name in configurations."""

    def check(self, model: nn.Module) -> None:
        """Raise `InputError` where the model lacks what this objective trains."""

    def __call__(self, model: nn.Module, images: Tensor, tokens: Tensor) -> Losses:
        """Return the losses of normalised images (n, 3, height, width) and their trimmed token ids (n, length)."""


@dataclass(frozen=True)
class ClipObjective:
    """Contrast of every image with every text of the batch, both ways."""

    name: str = "clip"

    def check(self, model: nn.Module) -> None:
        """Any two-tower model will do, a CoCa too."""

    def __call__(self, model: nn.Module, images: Tensor, tokens: Tensor) -> Losses:
        """Return `contrastive` and `loss`, the same."""
        loss = contrastive_loss(_encode_image(model, images), encode_text(model, tokens).pooled, _scale(model))
        return {"contrastive": loss, "loss": loss}


@dataclass(frozen=True)
class CocaObjective:
    """Contrast, and writing the caption word by word (Yu et al. 2022; both weights 1 in UrbanCLIP)."""

    contrastive_weight: float = 1.0
    captioning_weight: float = 1.0
    name: str = "coca"

    def check(self, model: nn.Module) -> None:
        """Raise `InputError` for a model without a decoder."""
        if not is_coca(model):
            raise InputError(
                f"objective {self.name} needs a CoCa architecture (coca-small, coca_ViT-B-32, ...); or use clip"
            )

    def __call__(self, model: nn.Module, images: Tensor, tokens: Tensor) -> Losses:
        """Return `contrastive`, `captioning` and their weighted sum `loss`."""
        towers: Any = model
        pooled, image_tokens = towers._encode_image(images)
        text = encode_text(model, tokens)
        if text.tokens is None:  # a text tower that keeps its tokens to itself
            raise InputError(f"objective {self.name} needs a text tower that returns its tokens")
        logits = towers.text_decoder(image_tokens, text.tokens[:, :-1])
        contrastive = contrastive_loss(pooled, text.pooled, _scale(model))
        captioning = captioning_loss(logits, tokens[:, 1:])
        loss = self.contrastive_weight * contrastive + self.captioning_weight * captioning
        return {"contrastive": contrastive, "captioning": captioning, "loss": loss}


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (CocaObjective(), ClipObjective(), CocaObjective(contrastive_weight=0.0, name="caption"))
}


def objective(name: str) -> Objective:
    """Return an objective by name; `UnknownNameError` with near misses."""
    if name not in OBJECTIVES:
        raise UnknownNameError.of("objective", name, OBJECTIVES)
    return OBJECTIVES[name]


def contrastive_loss(image_features: Tensor, text_features: Tensor, scale: Tensor | float) -> Tensor:
    """Return the symmetric cross-entropy of n image and n text features (n, dim) of unit length (InfoNCE)."""
    logits = (scale * image_features @ text_features.T).float()
    labels = torch.arange(len(logits), device=logits.device)
    return (functional.cross_entropy(logits, labels) + functional.cross_entropy(logits.T, labels)) / 2


def captioning_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of next tokens, padding left out: logits (n, length, words), labels (n, length)."""
    return functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=PAD)


@torch.no_grad()
def clamp_scale(model: nn.Module) -> None:
    """Keep the logit scale within [0, ln 100]: called after every step."""
    towers: Any = model
    towers.logit_scale.clamp_(0, MAX_LOG_SCALE)


def _scale(model: nn.Module) -> Tensor:
    towers: Any = model
    scale: Tensor = towers.logit_scale.exp()
    return scale


def _encode_image(model: nn.Module, images: Tensor) -> Tensor:
    towers: Any = model
    return functional.normalize(towers.encode_image(images), dim=-1)
