"""Losses of image and text features against each other, and the scale that they are compared by."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

#: The logit scale stays within [0, ln 100] (Radford et al. 2021).
MAX_LOG_SCALE = math.log(100)
#: How SigLIP begins (Zhai et al. 2023): every pair is thought not to belong together.
SIGLIP_SCALE, SIGLIP_BIAS = math.log(10), -10.0


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


def distillation_loss(images: Tensor, texts: Tensor, teacher: Tensor, taught: Tensor, own: slice) -> Tensor:
    """Return the cross-entropy of a teacher's similarities of a batch and the model's, both ways (open_clip's).

    Image features (n, dim) are scaled already, those of texts are of unit length; the part of the rows `own`.
    """
    total = images.new_zeros((), dtype=torch.float32)
    for ours, theirs in (
        (images[own] @ texts.T, teacher[own] @ taught.T),
        (texts[own] @ images.T, taught[own] @ teacher.T),
    ):
        total = total - (theirs.softmax(1) * ours.log_softmax(1)).sum()
    return total / (2 * len(images))


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
