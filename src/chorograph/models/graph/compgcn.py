"""CompGCN (Vashishth et al. 2020): what an entity is, told by its facts; on PyTorch Geometric's message passing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from chorograph.ground.arrays import Indices
from chorograph.ground.errors import UnknownNameError

Compose = Callable[[Tensor, Tensor], Tensor]


def rotate(entity: Tensor, relation: Tensor) -> Tensor:
    """Return the complex product of the two, whose first halves are real and second halves imaginary parts."""
    a, b = entity.chunk(2, dim=-1)
    c, d = relation.chunk(2, dim=-1)
    return torch.cat([a * c - b * d, a * d + b * c], dim=-1)


def circular_correlation(entity: Tensor, relation: Tensor) -> Tensor:
    """Return sum over i of entity[i] relation[(k + i) mod width], for each k."""
    width = entity.shape[-1]
    product = torch.conj(torch.fft.rfft(entity, dim=-1)) * torch.fft.rfft(relation, dim=-1)
    correlated: Tensor = torch.fft.irfft(product, n=width, dim=-1)
    return correlated


COMPOSITIONS: dict[str, Compose] = {
    "rotate": rotate,
    "sub": torch.sub,
    "mul": torch.mul,
    "ccorr": circular_correlation,
}


@dataclass(frozen=True)
class Edges:
    """Directed facts: (n,) heads, relations and tails, what each weighs, and whether it runs backwards."""

    head: Tensor
    relation: Tensor
    tail: Tensor
    weight: Tensor
    backward: Tensor

    def first(self, number: int) -> Edges:
        """Return the first edges alone."""
        return Edges(*(column[:number] for column in (self.head, self.relation, self.tail, self.weight, self.backward)))


def degree_weights(facts: Indices, entities: int, *, compat: bool = False) -> NDArray[np.float32]:
    """Return 1 / sqrt(degree of head x degree of tail) of facts (n, 3) of one direction.

    The head counts the facts that it sends, the tail those that it receives. `compat` is the published code of KnowCL:
    received facts at both ends, and 0 for an edge whose head receives none, so that entities which only send are never
    heard.
    """
    received = np.bincount(facts[:, 2], minlength=entities).astype(np.float64)
    sent = received if compat else np.bincount(facts[:, 0], minlength=entities).astype(np.float64)
    with np.errstate(divide="ignore"):
        weight = 1.0 / np.sqrt(sent[facts[:, 0]] * received[facts[:, 2]])
    return np.where(np.isfinite(weight), weight, 0.0).astype(np.float32)


def directed(
    facts: Indices, entities: int, relations: int, *, compat: bool = False
) -> tuple[Indices, NDArray[np.float32]]:
    """Return facts and their inverses (2n, 3), relation + `relations` for an inverse, with their weights.

    `compat`: the inverse of (head, relation, tail) is (tail, inverse, tail), a self-loop, as the published code has it.
    """
    head, relation, tail = facts.T
    turned = np.stack([tail, relation + relations, tail if compat else head], axis=1)
    weights = [degree_weights(part, entities, compat=compat) for part in (facts, turned)]
    return np.concatenate([facts, turned]), np.concatenate(weights)


def as_edges(facts: Indices, weight: NDArray[np.float32], relations: int) -> Edges:
    """Return directed facts as tensors; relations from `relations` on run backwards."""
    head, relation, tail = (torch.from_numpy(np.ascontiguousarray(column)) for column in facts.T)
    return Edges(head, relation, tail, torch.from_numpy(weight), relation >= relations)


class CompGcnLayer(MessagePassing):  # type: ignore[misc]
    """One layer: messages composition(head, relation), weighed by degree, summed at the tail, one weight a direction.

    output = tanh(norm((W_loop composition(self, loop) + dropout(W_forward sum + W_backward sum)) / 3)), and relations
    become W_relation relation. Every composition is linear in the head, so the weights are applied to the sums. With
    `compat` the relation is weighed by the degrees, not the message, and each message brings its direction's bias, as
    in the published code of KnowCL; it matters for `sub`, and for biases that training moves from zero.
    """

    def __init__(
        self, width: int, out: int, composition: str = "rotate", dropout: float = 0.1, *, compat: bool = False
    ) -> None:
        super().__init__(aggr="add")
        if composition not in COMPOSITIONS:
            raise UnknownNameError.of("composition", composition, COMPOSITIONS)
        self.compose = COMPOSITIONS[composition]
        self.compat = compat
        self.forwards = nn.Linear(width, out)
        self.backwards = nn.Linear(width, out)
        self.itself = nn.Linear(width, out, bias=compat)
        self.relations = nn.Linear(width, out, bias=compat)
        self.loop = nn.Parameter(torch.empty(1, width))
        self.norm = nn.BatchNorm1d(out)
        self.dropout = nn.Dropout(dropout)
        for weight in (*(m.weight for m in self.children() if isinstance(m, nn.Linear)), self.loop):
            nn.init.xavier_normal_(weight)
        for part in (self.forwards, self.backwards):
            nn.init.zeros_(part.bias)

    def forward(
        self, entities: Tensor, relations: Tensor, edges: Edges, wanted: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the next layer of the first `wanted` entities (wanted, out) and of relations (k, out), with inverses.

        The edges are those into wanted entities.
        """
        wanted = len(entities) if wanted is None else wanted
        gathered = entities.new_zeros(wanted, self.forwards.out_features)
        for chosen, linear in ((~edges.backward, self.forwards), (edges.backward, self.backwards)):
            index = torch.stack([edges.head[chosen], edges.tail[chosen]])
            # The compiled `propagate` is inferred from this very call: keep it as `self.propagate(...)`.
            summed = self.propagate(
                index, x=entities, r=relations, kind=edges.relation[chosen], weight=edges.weight[chosen, None]
            )[:wanted]
            if self.compat:
                number = torch.bincount(index[1], minlength=wanted)[:, None]
                gathered = gathered + summed @ linear.weight.T + number * linear.bias
            else:
                gathered = gathered + linear(summed)
        itself = entities[:wanted]
        own = self.itself(self.compose(itself, self.loop.expand_as(itself)))
        result = torch.tanh(self.norm((own + self.dropout(gathered)) / 3))
        return result, self.relations(relations)

    def message(self, x_j: Tensor, r: Tensor, kind: Tensor, weight: Tensor) -> Tensor:
        """Return what each edge brings."""
        if self.compat:
            return self.compose(x_j, weight * r[kind])
        return weight * self.compose(x_j, r[kind])


class CompGcn(nn.Module):
    """Layers of CompGCN over entity inputs and relation vectors; dropout after each layer, as KnowCL has it."""

    def __init__(
        self,
        relations: int,
        dim: int = 64,
        layers: int = 2,
        composition: str = "rotate",
        dropout: float = 0.3,
        *,
        compat: bool = False,
    ) -> None:
        super().__init__()
        self.relation = nn.Parameter(torch.empty(2 * relations, dim).normal_(std=dim**-0.5))
        self.layers = nn.ModuleList(CompGcnLayer(dim, dim, composition, compat=compat) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, entities: Tensor, edges: Edges, steps: Sequence[tuple[int, int]] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the entities (n, dim) and relations (2k, dim) of the last layer.

        With `steps` of a sample (`chorograph.graph.neighbours`), only the seeds' rows: each layer computes what the
        next needs, so that entities whose facts were not drawn never pass for ones that have none.
        """
        relations: Tensor = self.relation
        for number, layer in enumerate(self.layers, start=1):
            if steps is None:
                entities, relations = layer(entities, relations, edges)
            else:
                wanted, within = steps[len(self.layers) - number]
                entities, relations = layer(entities, relations, edges.first(within), wanted)
            entities = self.dropout(entities)
        return entities, relations
