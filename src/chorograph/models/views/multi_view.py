"""UrbanVLP (Hao et al. 2025): a tile seen from above, the streets in it, and where they are, as one vector.

Street views are a set: masked where absent, in no order, each with its place. Every part that is added has one width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from chorograph.models.graph.image_set import AttentionSet
from chorograph.models.views.location import LocationEncoder

Fusion = Literal["sum", "gated"]


def token_similarity(images: Tensor, texts: Tensor, held: Tensor | None = None) -> Tensor:
    """Return S (n, m): for image a and text d, the mean over a's tokens of the best match among d's tokens.

    images (n, tokens, width), texts (m, words, width); `held` (m, words) says which words are words and not padding:
    padding matches nothing, however many there is of it. Yao et al. 2022 (FILIP). Raises `ValueError` for a text
    without a word.
    """
    products = torch.einsum("apw,dqw->adpq", images, texts)
    if held is not None:
        if not bool(held.any(1).all()):
            raise ValueError("a text without any word cannot be matched")
        products = products.masked_fill(~held[None, :, None, :], -torch.inf)
    return products.amax(-1).mean(-1)


def word_similarity(images: Tensor, texts: Tensor, held: Tensor | None = None) -> Tensor:
    """Return S (n, m): for image a and text d, the mean over d's words of the best match among a's tokens."""
    best = torch.einsum("apw,dqw->adpq", images, texts).amax(2)
    if held is None:
        return best.mean(-1)
    weight = held.to(best.dtype)[None]
    similarity: Tensor = (best * weight).sum(-1) / weight.sum(-1)
    return similarity


def token_loss(
    images: Tensor,
    texts: Tensor,
    held: Tensor | None = None,
    *,
    scale: Tensor | float = 1.0,
    own: slice = slice(None),  # it cannot be changed
) -> Tensor:
    """Return the mean cross-entropy of tokens to words and of words to tokens, sharpened by `scale`.

    Tokens must be of unit length. The published loss has no temperature, so that cosines of at most 1 keep it above
    ln(1 + (n - 1) exp(-2)), and reads the second direction off the transpose of the first. With `own`, the part of
    those rows; the parts of all rows add up to the whole.
    """
    right = torch.arange(len(images), device=images.device)
    seen, said, words = images, texts, held
    if own is not None and own != slice(0, len(images)):
        seen, said, words, right = images[own], texts[own], None if held is None else held[own], right[own]
    forward = token_similarity(seen, texts, held) * scale
    backward = (word_similarity(images, said, words) * scale).T
    sums = [nn.functional.cross_entropy(scores, right, reduction="sum") for scores in (forward, backward)]
    return (sums[0] / len(images) + sums[1] / len(images)) / 2


class MultiView(nn.Module):
    """One vector (n, dim) from what is seen above and in the streets.

    `fusion`: `sum` adds the streets' vector, `gated` a share of it that the two decide for each number. A place without
    street views has the vector of what is seen above, exactly. `location_hidden` 0 leaves places out.
    """

    def __init__(
        self, satellite: int, street: int, dim: int = 512, fusion: Fusion = "gated", location_hidden: int = 1024
    ) -> None:
        super().__init__()
        self.satellite = nn.Linear(satellite, dim)
        self.street = nn.Linear(street, dim)
        self.location = LocationEncoder(dim, location_hidden) if location_hidden else None
        self.pool = AttentionSet(dim)
        self.gate = nn.Linear(2 * dim, dim) if fusion == "gated" else None

    def forward(self, satellite: Tensor, street: Tensor, places: Tensor, held: Tensor) -> Tensor:
        """Return (n, dim) of satellite (n, width), street (n, views, width), places (n, views, 2), held (n, views).

        Places are latitude and longitude in degrees. What stands where nothing is held is never read, whatever it is.
        """
        above = self.satellite(satellite)
        seen = above.new_zeros(*held.shape, above.shape[-1])
        # Absent views go through nothing: a zero image, or the place (0, 0), would have a vector of its own.
        views = self.street(street[held])
        seen[held] = views if self.location is None else views + self.location(places[held])
        streets = self.pool(seen, held)
        if self.gate is None:
            summed: Tensor = above + streets
            return summed
        share = torch.sigmoid(self.gate(torch.cat([above, streets], dim=-1)))
        fused: Tensor = above + held.any(1)[:, None] * share * streets
        return fused
