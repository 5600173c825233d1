"""KnowCL (Liu et al. 2023): a region's images and its place in a knowledge graph, brought into one space."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chorograph.models.graph.compgcn import CompGcn, Edges
from chorograph.models.graph.image_set import AttentionSet, masked_mean

#: All rows of a batch.
_ALL = slice(None)


def published_loss(similarity: Tensor, own: slice = _ALL) -> Tensor:
    """Return the published loss of a batch's similarities (n, n): summed, -ln(softmax + 1e-10), both ways.

    With `own`, the part of those rows; the parts of all rows add up to the whole, here and below.

    Its gradient dies where a softmax falls below 1e-10, and its scale is that of the batch; kept for comparison.
    """
    rows, columns = similarity.softmax(1).diagonal(), similarity.softmax(0).diagonal()
    return -(torch.log(rows + 1e-10) + torch.log(columns + 1e-10))[own].sum()


def summed_loss(similarity: Tensor, own: slice = _ALL) -> Tensor:
    """Return the same sum by log-softmax, finite and with a gradient everywhere."""
    return -(similarity.log_softmax(1).diagonal() + similarity.log_softmax(0).diagonal())[own].sum()


def corrected_loss(images: Tensor, graph: Tensor, log_scale: Tensor, own: slice = _ALL) -> Tensor:
    """Return the mean over both ways of the cross-entropy of cosines, sharpened by exp(log_scale) <= 100."""
    unit = nn.functional.normalize(images, dim=-1) @ nn.functional.normalize(graph, dim=-1).T
    return summed_loss(unit * log_scale.clamp(max=math.log(100)).exp(), own) / (2 * len(unit))


def _projector(width: int, hidden: int, out: int) -> nn.Sequential:
    layers = nn.Sequential(nn.Linear(width, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, out, bias=False))
    for layer in (layers[0], layers[2]):
        nn.init.xavier_normal_(layer.weight)  # type: ignore[arg-type]
    return layers


class GraphTower(nn.Module):
    """What a knowledge graph says of its entities: CompGCN over frozen vectors of theirs, and a projector to `dim`.

    With `inductive`, a region's own vector is not read: all regions share one that is learnt, and a region is told by
    its facts alone.
    """

    def __init__(
        self, entities: Tensor, is_region: Tensor, network: CompGcn, *, dim: int = 64, inductive: bool = True
    ) -> None:
        super().__init__()
        width = entities.shape[1]
        self.dim = dim
        self.register_buffer("entities", entities)
        self.register_buffer("is_region", is_region)
        self.region = nn.Parameter(torch.zeros(1, width)) if inductive else None
        self.network = network
        self.projector = _projector(width, width, dim)

    def inputs(self, chosen: Tensor | None = None) -> Tensor:
        """Return the inputs (n, width) of the chosen entities, or of all."""
        entities: Tensor = self.entities if chosen is None else self.entities[chosen]  # type: ignore[assignment,index]
        if self.region is None:
            return entities
        is_region: Tensor = self.is_region if chosen is None else self.is_region[chosen]  # type: ignore[assignment,index]
        return torch.where(is_region[:, None], self.region, entities)

    def forward(
        self, edges: Edges, chosen: Tensor | None = None, steps: Sequence[tuple[int, int]] | None = None
    ) -> Tensor:
        """Return the features (n, width) of all entities, or of a sample's seeds, before the projector."""
        features: Tensor = self.network(self.inputs(chosen), edges, steps)[0]
        return features


class Alignment(nn.Module):
    """An image tower with its projector, and a graph tower."""

    def __init__(self, tower: nn.Module, tower_width: int, graph: GraphTower, *, attention: bool = False) -> None:
        super().__init__()
        self.tower = tower
        self.pool = AttentionSet(tower_width) if attention else None
        self.image_projector = _projector(tower_width, tower_width, graph.dim)
        self.graph = graph
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def images_of_regions(self, images: Tensor, held: Tensor) -> Tensor:
        """Return the pooled features (n, width) of sets of images (n, most, ...), of which `held` (n, most) are there.

        Only what is there goes through the tower.
        """
        found = self.tower(images[held])
        features = found.new_zeros(*held.shape, found.shape[-1])
        features[held] = found
        pooled: Tensor = masked_mean(features, held) if self.pool is None else self.pool(features, held)
        return pooled


def region_contrast(images: Tensor, regions: Tensor, owner: Tensor, own: slice) -> Tensor:
    """Return the part that the rows `own` have in the contrast of images (n, dim) and regions (m, dim), scaled already.

    `owner` (n,) is the row of each image's region, -1 for none. An image against all regions, and a region against all
    images, of which every one of its own is right (Khosla et al. 2020, L_out); means over the images that have a
    region. With one image a region it is the symmetric cross-entropy.
    """
    held = owner >= 0
    logits = (images[held] @ regions.T).float()
    right = owner[held]
    rows = torch.arange(len(right), device=right.device)
    forward = logits.log_softmax(1)[rows, right]
    # Each region's mean over its images, counted once an image: both ways weigh every image alike.
    backward = logits.log_softmax(0)[rows, right]
    mine = torch.zeros_like(held)
    mine[own] = True
    return -(forward + backward)[mine[held]].sum() / (2 * max(len(right), 1))
