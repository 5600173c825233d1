"""Learning vectors of entities by predicting the tails of facts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chorograph.graph.facts import Graph, Indices, both_ways
from chorograph.graph.neighbours import Neighbours
from chorograph.ground.errors import ChorographError
from chorograph.ground.stage import Progress, silent
from chorograph.metrics.links import KnownTails, filtered_ranks
from chorograph.models.graph.compgcn import CompGcn, as_edges, directed
from chorograph.models.graph.tucker import TuckER

#: Tails of one pair that a step learns at most: a category has thousands.
_TAILS = 32
#: Tails of other facts that a step of CompGCN takes for wrong answers.
_WRONG = 256
#: Scores held at once when facts are ranked: 64 MB of float32.
_SCORES = 16_000_000
#: Each hop draws so many times fewer facts than the one before.
_BEYOND = 2


@dataclass(frozen=True)
class Training:
    """How long and how fast to learn."""

    epochs: int
    batch_size: int
    lr: float
    seed: int


def pair_loss(scores: Tensor, rows: Tensor, columns: Tensor, taken: Tensor) -> Tensor:
    """Return the mean of softplus(logsumexp of a row's wrong tails - its right one) over the right ones taken.

    `scores` (n, candidates); (rows, columns) are all places of right tails, of which `taken` (a mask) are learnt: a
    right tail is never a wrong one of another fact of its row. This is cross-entropy over all candidates, one right
    tail at a time.
    """
    right = scores[rows, columns]
    wrong = scores.index_put((rows, columns), scores.new_tensor(-math.inf)).logsumexp(1)
    return nn.functional.softplus(wrong[rows[taken]] - right[taken]).mean()


def train_tucker(
    facts: Indices, entities: int, relations: int, dim: int, candidates: int, how: Training, progress: Progress = silent
) -> TuckER:
    """Train TuckER on facts (n, 3), `relations` of them, inverses counted: 1-N, or against so many drawn candidates.

    1-N means that a pair (head, relation) is scored with every entity at once (Dettmers et al. 2018).
    """
    torch.manual_seed(how.seed)
    rng = np.random.default_rng(how.seed)
    model = TuckER(entities, relations, dim)
    optimiser = torch.optim.Adam(model.parameters(), lr=how.lr, fused=True)
    known = KnownTails.of(facts, relations)
    everything = candidates <= 0 or candidates >= entities
    steps = -(-len(known.queries) // how.batch_size) * how.epochs
    step = 0
    for epoch in range(how.epochs):
        _set_rate(optimiser, how.lr, epoch, how.epochs)
        for queries in _batches(known.queries, how.batch_size, rng):
            heads, kinds = np.divmod(queries, relations)
            rows, tails = known.at(heads, kinds)
            taken = _taken(rows, rng)
            if everything:
                columns, drawn = tails, None
            else:
                pool = np.unique(np.r_[tails[taken], rng.integers(0, entities, candidates)])
                place = np.full(entities, -1, dtype=np.int64)
                place[pool] = np.arange(len(pool))
                inside = place[tails] >= 0
                rows, columns, taken = rows[inside], place[tails[inside]], taken[inside]
                drawn = torch.from_numpy(pool)
            scores = model(torch.from_numpy(heads), torch.from_numpy(kinds), drawn)
            loss = pair_loss(scores, *(torch.from_numpy(array) for array in (rows, columns, taken)))
            _step(optimiser, loss)
            step += 1
            progress("learning the graph with TuckER", step, steps)
    return model.eval()


class CompGcnLinks(nn.Module):
    """CompGCN with inputs for a graph's entities, and DistMult on top.

    The input of an entity is its kind's vector, plus one of its own unless it is a region: regions are told by their
    facts alone, so that one that training never met has a vector too.
    """

    def __init__(self, graph: Graph, tower: CompGcn, dim: int) -> None:
        super().__init__()
        kinds, codes = np.unique(graph.kinds.astype(str), return_inverse=True)
        self.register_buffer("kind_of", torch.from_numpy(codes.astype(np.int64)))
        own = np.array([value is None for value in graph.region_ids], dtype=np.float32)
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


def train_compgcn(
    graph: Graph,
    facts: Indices,
    tower: CompGcn,
    dim: int,
    fan_out: int,
    how: Training,
    *,
    compat: bool = False,
    progress: Progress = silent,
) -> CompGcnLinks:
    """Train a CompGCN on facts (n, 3) of one direction each, by sampled neighbourhoods.

    A step encodes the heads and tails of its facts, and takes the tails of others for wrong answers. Its own facts are
    not among the edges: in the published code they are, so that a fact is read off rather than predicted.
    """
    torch.manual_seed(how.seed)
    rng = np.random.default_rng(how.seed)
    relations = graph.number_of_relations
    model = CompGcnLinks(graph, tower, dim).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=how.lr, fused=True)
    both, weight = directed(facts, graph.number_of_entities, relations, compat=compat)
    neighbours = Neighbours.of(both, graph.number_of_entities, weight)
    known = KnownTails.of(both_ways(facts, relations), 2 * relations)
    learnt = np.zeros(len(both), dtype=bool)
    shape = tuple(max(fan_out // _BEYOND**hop, 1) for hop in range(len(tower.layers)))
    steps = -(-len(facts) // how.batch_size) * how.epochs
    step = 0
    for epoch in range(how.epochs):
        _set_rate(optimiser, how.lr, epoch, how.epochs)
        for chosen in _batches(np.arange(len(facts)), how.batch_size, rng):
            learnt[:] = False
            learnt[np.r_[chosen, chosen + len(facts)]] = True
            batch = both_ways(facts[chosen], relations)
            # One direction of each fact, drawn: over the epochs both are learnt.
            batch = batch[np.arange(len(chosen)) + len(chosen) * rng.integers(0, 2, len(chosen))]
            wrong = np.unique(rng.choice(batch[:, 2], min(len(batch), _WRONG), replace=False))
            sample = neighbours.sample(batch[:, [0, 2]].ravel(), shape, rng)
            place = np.full(graph.number_of_entities, -1, dtype=np.int64)
            place[sample.entities] = np.arange(len(sample.entities))
            encoded, kinds = model.tower(
                model.inputs(torch.from_numpy(sample.entities)),
                as_edges(sample.facts, np.where(learnt[sample.row], np.float32(0), sample.weight), relations),
                sample.steps,
            )
            head, kind, tail = (
                torch.from_numpy(column) for column in (place[batch[:, 0]], batch[:, 1], place[batch[:, 2]])
            )
            query = encoded[head] * kinds[kind]
            right = (query * encoded[tail]).sum(1)
            scores = query @ encoded[torch.from_numpy(place[wrong])].T
            rows, columns = _true_places(known, batch, wrong)
            scores = scores.index_put((rows, columns), scores.new_tensor(-math.inf))
            _step(optimiser, nn.functional.softplus(scores.logsumexp(1) - right).mean())
            step += 1
            progress("learning the graph with CompGCN", step, steps)
    return model.eval()


def encode(model: CompGcnLinks, facts: Indices, relations: int, *, compat: bool = False) -> tuple[Tensor, Tensor]:
    """Return the vectors of all entities (n, dim) and relations (2k, dim), told by the whole of `facts`."""
    both, weight = directed(facts, len(model.entity), relations, compat=compat)
    with torch.no_grad():
        entities, kinds = model.tower(model.inputs(), as_edges(both, weight, relations))
    return entities, kinds


def rank_facts(model: Any, test: Indices, known: KnownTails) -> NDArray[np.float64]:
    """Return the filtered ranks of the tails of facts (n, 3); `model(heads, relations)` scores all entities."""
    ranks = []
    size = max(1, _SCORES // model.entities)
    with torch.no_grad():
        for start in range(0, len(test), size):
            head, relation, tail = test[start : start + size].T
            scores = model.score(torch.from_numpy(head.copy()), torch.from_numpy(relation.copy())).numpy()
            ranks.append(filtered_ranks(scores, tail, known.at(head, relation)))
    return np.concatenate(ranks)


def _true_places(known: KnownTails, batch: Indices, wrong: Indices) -> tuple[Tensor, Tensor]:
    """Return where, among the columns `wrong`, stand tails that are right for a row of the batch."""
    rows, tails = known.at(batch[:, 0], batch[:, 1])
    place = np.minimum(np.searchsorted(wrong, tails), len(wrong) - 1)
    held = wrong[place] == tails
    return torch.from_numpy(rows[held]), torch.from_numpy(place[held])


def _taken(rows: Indices, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return up to `_TAILS` of the places of each row, drawn anew each time."""
    number = np.bincount(rows)
    share = _TAILS / np.maximum(number, 1)
    return np.asarray((number[rows] <= _TAILS) | (rng.random(len(rows)) < share[rows]))


def _batches(things: Indices, size: int, rng: np.random.Generator) -> Iterator[Indices]:
    order = rng.permutation(len(things))
    for start in range(0, len(order), size):
        yield things[order[start : start + size]]


def _set_rate(optimiser: torch.optim.Optimizer, lr: float, epoch: int, epochs: int) -> None:
    """Let the rate fall to nothing along a quarter of a cosine's period."""
    for group in optimiser.param_groups:
        group["lr"] = lr * 0.5 * (1 + math.cos(math.pi * epoch / epochs))


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    if not math.isfinite(float(loss.detach())):
        raise ChorographError(f"the loss is {float(loss.detach())}; lower --lr")
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimiser.step()
