"""Turning, mirroring and cutting images, each by its own draw."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional


def augment(
    pixels: Tensor,
    kind: str,
    view: str,
    key: tuple[int, ...],
    places: np.ndarray[Any, np.dtype[np.int64]] | None = None,
    whole: int | None = None,
) -> Tensor:
    """Turn, mirror and cut uint8 images (n, 3, height, width) as `kind` (`--augment`) says, each one by its own draw.

    Seen from above, no direction is special: all eight symmetries of the square are. From the street, up is up.
    `places` says where in a batch of `whole` images these stand: the draws belong to the places, whoever works on them.
    """
    cut = kind == "crop"
    if kind in ("auto", "crop"):
        kind = "dihedral" if view == "satellite" else "flip"
    if kind == "none":
        return pixels
    places = np.arange(len(pixels)) if places is None else places
    whole = len(pixels) if whole is None else whole
    rng = np.random.default_rng((*key, 3))
    square = pixels.shape[2] == pixels.shape[3]
    ways = 2 if kind == "flip" else 8 if square else 4
    drawn = torch.from_numpy(rng.integers(ways, size=whole)[places]).to(pixels.device)
    turned = pixels.clone()
    for way in range(1, ways):
        chosen = drawn == way
        part = pixels[chosen]
        if way & 1:
            part = part.flip(3)
        if way & 2:
            part = part.flip(2)
        if way & 4:
            part = part.transpose(2, 3)
        turned[chosen] = part
    return _cut(turned, rng.random((whole, 3))[places]) if cut else turned


def _cut(pixels: Tensor, draws: np.ndarray[Any, np.dtype[np.float64]]) -> Tensor:
    """Cut out a part of 50 to 100 % of each image's area, anywhere, and enlarge it (bilinear) to the whole."""
    side = np.sqrt(0.5 + 0.5 * draws[:, 0])
    shift = (2 * draws[:, 1:] - 1) * (1 - side[:, None])
    maps = torch.zeros(len(pixels), 2, 3)
    maps[:, 0, 0] = maps[:, 1, 1] = torch.from_numpy(side)
    maps[:, :, 2] = torch.from_numpy(shift)
    grid = functional.affine_grid(maps.to(pixels.device), list(pixels.shape), align_corners=False)
    cut = functional.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    return cut.round_().clamp_(0, 255).to(torch.uint8)
