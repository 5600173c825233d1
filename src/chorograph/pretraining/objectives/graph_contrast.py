"""Images against their region's place in a knowledge graph, as a third part of the loss beside texts and captions.

A region is told by its facts alone (never by a vector of its own), and facts of regions that no image is trained on are
kept out until they are wanted in validation: what is learnt there carries over to regions that are new.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from chorograph.graph.facts import Graph
from chorograph.graph.inverses import inverse_of, without_regions
from chorograph.ground.arrays import Indices
from chorograph.ground.errors import InputError
from chorograph.models.graph.alignment import GraphTower, region_contrast
from chorograph.models.graph.compgcn import CompGcn
from chorograph.pretraining.feeds.facts import ReadFacts, entity_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chorograph.area.folder import Area

_LAYERS = 2
_COMPOSITION = "rotate"


class GraphContrast(nn.Module):
    """The graph tower that images are contrasted with, and the facts it reads in training and in validation.

    It stays on the CPU, where sampling is; its features go where the images' are.
    """

    def __init__(
        self, vectors: Tensor, graph: Graph, trained: Indices, weight: float, dim: int, entity_of: dict[str, int]
    ) -> None:
        super().__init__()
        network = CompGcn(graph.number_of_relations, vectors.shape[1], _LAYERS, _COMPOSITION)
        self.tower = GraphTower(vectors, torch.from_numpy(graph.are_regions), network, dim=dim)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.weight = weight
        self._entity_of = entity_of
        untrained = np.setdiff1d(np.fromiter(entity_of.values(), dtype=np.int64), trained)
        self._known = ReadFacts.of(without_regions(graph, untrained), _LAYERS)
        self._all = ReadFacts.of(graph, _LAYERS)

    @classmethod
    def of(cls, area: Area, name: str, trained: Sequence[str], *, weight: float, dim: int, seed: int) -> GraphContrast:
        """Begin with an area's graph, its entities' vectors by the name `graph embed` gave them, and the images' ids.

        Raises `InputError` where there are no such vectors, or none of the `trained` images has a region in the graph.
        """
        graph = Graph.read(area)
        graph = graph.canonical(inverse_of(graph))
        vectors = entity_vectors(area, name, graph)
        images = area.images.dropna(subset=["region_id"])
        rows = graph.rows_of(images["region_id"])
        rows = np.where(np.isin(rows, graph.facts[:, [0, 2]]), rows, -1)
        entity_of = {image: int(row) for image, row in zip(images["image_id"], rows, strict=True) if row >= 0}
        known = np.array(sorted({entity_of[image] for image in trained if image in entity_of}), dtype=np.int64)
        if not len(known):
            raise InputError(
                f"{area.path}: no image to train on has a region with facts; `chorograph graph info` tells"
            )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return cls(vectors, graph, known, weight, dim, entity_of)

    def entities(self, image_ids: Sequence[str]) -> Tensor:
        """Return the entity (n,) of each image's region, -1 for an image without one or without facts."""
        return torch.tensor([self._entity_of.get(image, -1) for image in image_ids])

    def forward(self, images: Tensor, entities: Tensor, own: slice, place: tuple[int, ...] | None) -> Tensor:
        """Return the rows' part of the loss of image features (n, dim) of unit length and their entities (n,).

        `place` decides dropout and sampling, so that all processes of a step see one graph, and a run that goes on
        after a kill sees the same; None is validation, with the facts of all regions.
        """
        present, owner = torch.unique(entities, return_inverse=True)
        without = int(present[0] < 0)  # sorted: -1 comes first
        if len(present) == without:
            return images.sum() * 0
        rng = np.random.default_rng(0 if place is None else place)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(int(rng.integers(2**62)))
            facts = self._all if place is None else self._known
            features = facts.draw(present[without:].cpu().numpy(), rng).encode(self.tower)
            of_facts = nn.functional.normalize(self.tower.projector(features), dim=-1)
            of_facts = of_facts * self.log_scale.clamp(max=math.log(100)).exp()
        return region_contrast(images, of_facts.to(images.device), owner - without, own)
