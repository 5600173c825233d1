"""Facts as a graph tower reads them in a step: the whole graph, or of a large one a sample around what is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from chorograph.graph.facts import Graph
from chorograph.graph.neighbours import Neighbours
from chorograph.ground.arrays import Indices
from chorograph.ground.errors import InputError
from chorograph.ground.files import check_regular, naming_damage
from chorograph.models.graph.alignment import GraphTower
from chorograph.models.graph.compgcn import Edges, as_edges, directed

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: Facts up to which the whole graph is read in a step; beyond, neighbourhoods are sampled.
_WHOLE = 30_000
_FAN_OUT = 15


@dataclass(frozen=True)
class ReadFacts:
    """A graph's facts with their inverses; `neighbours` where they are sampled for `layers` layers."""

    edges: Edges
    relations: int
    layers: int
    neighbours: Neighbours | None

    @classmethod
    def of(cls, graph: Graph, layers: int, *, compat: bool = False) -> ReadFacts:
        """Turn a graph's facts into edges; `compat` as in `models.compgcn.directed`."""
        number, relations = graph.number_of_entities, graph.number_of_relations
        both, weight = directed(graph.facts, number, relations, compat=compat)
        neighbours = None if len(graph.facts) <= _WHOLE else Neighbours.of(both, number, weight)
        return cls(as_edges(both, weight, relations), relations, layers, neighbours)

    def draw(self, entities: Indices, rng: np.random.Generator) -> Drawn:
        """Return what tells of n entities; `rng` draws the sample, where there is one."""
        if self.neighbours is None:
            return Drawn(self.edges, None, None, torch.from_numpy(entities))
        sample = self.neighbours.sample(entities, (_FAN_OUT,) * self.layers, rng)
        edges = as_edges(sample.facts, sample.weight, self.relations)
        rows = torch.from_numpy(np.searchsorted(np.unique(entities), entities))
        return Drawn(edges, torch.from_numpy(sample.entities), sample.steps, rows)


@dataclass(frozen=True)
class Drawn:
    """The facts around some entities: of the whole graph, or of a sample whose `steps` lead to them."""

    edges: Edges
    chosen: Tensor | None
    steps: tuple[tuple[int, int], ...] | None
    rows: Tensor

    def encode(self, tower: GraphTower) -> Tensor:
        """Return the tower's features (n, width) of the entities that were asked for."""
        found: Tensor = tower(self.edges, self.chosen, self.steps)[self.rows]
        return found


def entity_vectors(area: Area, name: str, graph: Graph) -> Tensor:
    """Return the vectors (n, width) of a graph's entities that `graph embed` left; `InputError` for another graph's."""
    path = area.embeddings_path(name).with_suffix(".safetensors")
    if not path.is_file():
        raise InputError(f"{path} does not exist; run `chorograph graph embed {area.path} --name {name}` first")
    check_regular(path)
    with naming_damage(path, "vectors of a graph", "run `chorograph graph embed` again"):
        vectors = load_file(path)["entities"]
    if not bool(vectors.isfinite().all()):
        raise InputError(f"{path} holds numbers that are not finite; run `chorograph graph embed` again")
    if len(vectors) != graph.number_of_entities:
        raise InputError(f"{path} has {len(vectors)} entities, the graph {graph.number_of_entities}; embed it again")
    return vectors
