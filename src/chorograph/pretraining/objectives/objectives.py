"""What is learnt from image-text pairs: small objects over one loop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.models.coca.towers import PAD, decode, encode_text, is_coca
from chorograph.pretraining.objectives.vocabulary import sum_of_losses

#: The logit scale stays within [0, ln 100] (Radford et al. 2021).
MAX_LOG_SCALE = math.log(100)
#: How SigLIP begins (Zhai et al. 2023): every pair is thought not to belong together.
SIGLIP_SCALE, SIGLIP_BIAS = math.log(10), -10.0

Losses = dict[str, Tensor]


class Objective(Protocol):
    """Contrast, captioning or both; the weights say how much each counts."""

    @property
    def name(self) -> str:
        """The name in configurations."""

    @property
    def contrastive_weight(self) -> float:
        """What the contrast of images and texts is multiplied by."""

    @property
    def captioning_weight(self) -> float:
        """What the writing of captions is multiplied by; 0 leaves it out, and the decoder alone."""

    def check(self, model: nn.Module) -> None:
        """Raise `InputError` where the model lacks what this objective trains."""

    def contrast(self, images: Tensor, texts: Tensor, own: slice, model: nn.Module) -> Tensor:
        """Return the part that the rows `own` have in the contrastive loss of all features (n, dim).

        The parts of slices that make up all rows add up to the loss of the batch.
        """

    def __call__(self, model: nn.Module, images: Tensor, tokens: Tensor) -> Losses:
        """Return the losses of one batch: normalised images (n, 3, height, width), trimmed token ids (n, length).

        `contrastive` and `captioning`, as far as there is one, and `loss`, their weighted sum.
        """


@dataclass(frozen=True)
class ClipObjective:
    """Contrast of every image with every text of the batch, both ways (Radford et al. 2021)."""

    name: str = "clip"
    contrastive_weight: float = 1.0
    captioning_weight: float = 0.0

    def check(self, model: nn.Module) -> None:
        """Any two-tower model will do, a CoCa too."""

    def contrast(self, images: Tensor, texts: Tensor, own: slice, model: nn.Module) -> Tensor:
        """Return the symmetric cross-entropy, as in the protocol."""
        return contrastive_loss(images, texts, _scale(model), own)

    def __call__(self, model: nn.Module, images: Tensor, tokens: Tensor) -> Losses:
        """Return the losses of one batch, as in the protocol."""
        return _losses(self, model, images, tokens)


@dataclass(frozen=True)
class SiglipObjective:
    """Each pair of the batch on its own: does this text belong to this image (Zhai et al. 2023)."""

    name: str = "siglip"
    contrastive_weight: float = 1.0
    captioning_weight: float = 0.0

    def check(self, model: nn.Module) -> None:
        """Raise `InputError` for a model without a bias; `with_bias` gives it one."""
        if getattr(model, "logit_bias", None) is None:
            raise InputError(f"objective {self.name} needs a model with a logit bias")

    def contrast(self, images: Tensor, texts: Tensor, own: slice, model: nn.Module) -> Tensor:
        """Return the sigmoid loss, as in the protocol."""
        towers: Any = model
        return sigmoid_loss(images, texts, _scale(model), towers.logit_bias, own)

    def __call__(self, model: nn.Module, images: Tensor, tokens: Tensor) -> Losses:
        """Return the losses of one batch, as in the protocol."""
        return _losses(self, model, images, tokens)


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

    def contrast(self, images: Tensor, texts: Tensor, own: slice, model: nn.Module) -> Tensor:
        """Return the symmetric cross-entropy, as in the protocol."""
        return contrastive_loss(images, texts, _scale(model), own)

    def __call__(self, model: nn.Module, images: Tensor, tokens: Tensor) -> Losses:
        """Return the losses of one batch, as in the protocol."""
        return _losses(self, model, images, tokens)


OBJECTIVES: dict[str, Objective] = {
    objective.name: objective
    for objective in (
        CocaObjective(),
        ClipObjective(),
        SiglipObjective(),
        CocaObjective(contrastive_weight=0.0, name="caption"),
    )
}


def objective(name: str) -> Objective:
    """Return an objective by name; `UnknownNameError` with near misses."""
    if name not in OBJECTIVES:
        raise UnknownNameError.of("objective", name, OBJECTIVES)
    return OBJECTIVES[name]


class Towers(nn.Module):
    """A model as the loop calls it: one call a batch, so that what wraps it (DDP, FSDP) sees every use.

    `logit_scale` and `logit_bias` are not used here: they belong to the contrast, which takes the features of all
    processes.
    """

    def __init__(self, model: nn.Module, *, captions: bool) -> None:
        super().__init__()
        self.model = model
        self.captions = captions

    def forward(
        self, images: Tensor | None, tokens: Tensor, captions: bool = True
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return image and text features (n, dim) of unit length, and the sum of the losses of all real tokens.

        Without images, text features in the place of both.
        """
        model: Any = self.model
        text = encode_text(model, tokens)
        if images is None:
            return text.pooled.float(), text.pooled.float(), None
        if not (self.captions and captions):
            features = functional.normalize(model.encode_image(images), dim=-1)
            return features.float(), text.pooled.float(), None
        if text.tokens is None:  # a text tower that keeps its tokens to itself
            raise InputError("captions need a text tower that returns its tokens")
        pooled, image_tokens = model._encode_image(images)
        hidden = decode(model.text_decoder, image_tokens, text.tokens[:, :-1])
        labels = tokens[:, 1:]
        real = labels != PAD
        total = sum_of_losses(hidden[real], model.text_decoder.text_projection, labels[real])
        return pooled.float(), text.pooled.float(), total


def real_tokens(tokens: Tensor) -> int:
    """Return the number of next tokens to be written in token ids (n, length): all but padding and the start."""
    return int((tokens[:, 1:] != PAD).sum())


def contrastive_loss(
    image_features: Tensor, text_features: Tensor, scale: Tensor | float, own: slice | None = None
) -> Tensor:
    """Return the symmetric cross-entropy of n image and n text features (n, dim) of unit length (InfoNCE).

    With `own`, the part of those rows; the parts of all rows add up to the whole.
    """
    own = slice(0, len(image_features)) if own is None else own
    labels = torch.arange(own.start, own.stop, device=image_features.device)
    total = image_features.new_zeros((), dtype=torch.float32)
    for one, other in ((image_features, text_features), (text_features, image_features)):
        logits = (scale * one[own] @ other.T).float()
        total = total + functional.cross_entropy(logits, labels, reduction="sum")
    return total / (2 * len(image_features))


def sigmoid_loss(
    image_features: Tensor, text_features: Tensor, scale: Tensor, bias: Tensor, own: slice | None = None
) -> Tensor:
    """Return the sigmoid loss of all pairs of n image and n text features (n, dim) of unit length, by image.

    With `own`, the part of those images.
    """
    own = slice(0, len(image_features)) if own is None else own
    logits = (scale * image_features[own] @ text_features.T).float() + bias
    signs = torch.full_like(logits, -1)
    signs[torch.arange(len(logits)), torch.arange(own.start, own.stop)] = 1
    return -functional.logsigmoid(signs * logits).sum() / len(image_features)


def with_bias(model: nn.Module) -> dict[str, float]:
    """Give a model without a logit bias SigLIP's beginning, in place; returns what its configuration must say."""
    towers: Any = model
    if getattr(towers, "logit_bias", None) is not None:
        return {}
    towers.logit_bias = nn.Parameter(torch.full_like(towers.logit_scale.detach(), SIGLIP_BIAS))
    with torch.no_grad():
        towers.logit_scale.fill_(SIGLIP_SCALE)
    return {"init_logit_bias": SIGLIP_BIAS, "init_logit_scale": SIGLIP_SCALE}


@torch.no_grad()
def clamp_scale(model: nn.Module) -> None:
    """Keep the logit scale within [0, ln 100]: called after every step."""
    towers: Any = model
    towers.logit_scale.clamp_(0, MAX_LOG_SCALE)


def _losses(objective: Objective, model: nn.Module, images: Tensor, tokens: Tensor) -> Losses:
    objective.check(model)
    features, texts, captioning = Towers(model, captions=objective.captioning_weight > 0)(images, tokens)
    # A weight of 0 still leaves the contrast in the graph: its features get a gradient of zero, not none.
    losses = {"contrastive": objective.contrast(features, texts, slice(0, len(features)), model)}
    loss = objective.contrastive_weight * losses["contrastive"]
    if captioning is not None:
        losses["captioning"] = captioning / real_tokens(tokens)
        loss = loss + objective.captioning_weight * losses["captioning"]
    return {**losses, "loss": loss}


def _scale(model: nn.Module) -> Tensor:
    towers: Any = model
    scale: Tensor = towers.logit_scale.exp()
    return scale
