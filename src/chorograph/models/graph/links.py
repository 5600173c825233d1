"""CompGCN on top of vectors of a graph's entities, which predicts the tails of facts."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from chorograph.graph.facts import Graph
from chorograph.ground.arrays import Indices
from chorograph.models.graph.compgcn import CompGcn, as_edges, directed


class CompGcnLinks(nn.Module):
    """CompGCN with inputs for a graph's entities, and DistMult on top.

    The input of an entity is its kind's vector, plus one of its own unless it is a region: regions are told by their
    facts alone, so that one that training never met has a vector too.
    """

    def __init__(self, graph: Graph, tower: CompGcn, dim: int) -> None:
        super().__init__()
        kinds, codes = np.unique(graph.kinds.astype(str), return_inverse=True)
        self.register_buffer("kind_of", torch.from_numpy(codes.astype(np.int64)))
        own = (~graph.are_regions).astype(np.float32)
        self.register_buffer("has_own", torch.from_numpy(own)[:, None])
        self.kind = nn.Parameter(torch.empty(len(kinds), dim).normal_(std=dim**-0.5))
        self.entity = nn.Parameter(torch.empty(graph.number_of_entities, dim).normal_(std=dim**-0.5))
        self.tower = tower

    def inputs(self, chosen: Tensor | None = None) -> Tensor:
        """Return the inputs (n, dim) of the chosen entities, or of all."""
        kind_of: Tensor = self.kind_of  # type: ignore[assignment]
        has_own: Tensor = self.has_own  # type: ignore[assignment]
        if chosen is None:
            return self.kind[kind_of] + has_own * self.entity
        return self.kind[kind_of[chosen]] + has_own[chosen] * self.entity[chosen]


def encode(model: CompGcnLinks, facts: Indices, relations: int, *, compat: bool = False) -> tuple[Tensor, Tensor]:
    """Return the vectors of all entities (n, dim) and relations (2k, dim), told by the whole of `facts`."""
    both, weight = directed(facts, len(model.entity), relations, compat=compat)
    with torch.no_grad():
        entities, kinds = model.tower(model.inputs(), as_edges(both, weight, relations))
    return entities, kinds
