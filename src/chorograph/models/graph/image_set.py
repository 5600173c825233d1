"""A region's images as a set: those that are not there are masked, never stood in for by zeros."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def masked_mean(features: Tensor, held: Tensor) -> Tensor:
    """Return the mean over the images that are held: features (n, images, width), held (n, images) bool -> (n, width).

    A row without any image gives zeros; whoever adds it to something adds nothing.
    """
    weight = held.to(features.dtype)[..., None]
    # `where`, not a product: what stands in a masked place may be anything, also NaN.
    summed = torch.where(held[..., None], features, features.new_zeros(())).sum(1)
    mean: Tensor = summed / weight.sum(1).clamp(min=1.0)
    return mean


class AttentionSet(nn.Module):
    """A learnt weighing of a set's members, by gated attention (Ilse et al. 2018): order does not matter.

    With one member it is that member; a row without any gives zeros.
    """

    def __init__(self, width: int, hidden: int = 64) -> None:
        super().__init__()
        self.value = nn.Linear(width, hidden)
        self.gate = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1)

    def forward(self, features: Tensor, held: Tensor) -> Tensor:
        """Return (n, width) for features (n, images, width), of which `held` (n, images) are there."""
        clean = torch.where(held[..., None], features, features.new_zeros(()))
        scores = self.score(torch.tanh(self.value(clean)) * torch.sigmoid(self.gate(clean)))[..., 0]
        lowest = torch.finfo(scores.dtype).min
        weight = torch.where(held, scores, scores.new_tensor(lowest)).softmax(1)
        weight = torch.where(held, weight, weight.new_zeros(()))
        pooled: Tensor = (weight[..., None] * clean).sum(1)
        return pooled
