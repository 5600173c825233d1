"""Learning vectors of entities by predicting the tails of facts: TuckER, and CompGCN on sampled neighbourhoods."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chorograph.graph.facts import Graph, both_ways
from chorograph.graph.neighbours import Neighbours
from chorograph.ground.arrays import Indices
from chorograph.metrics.links import KnownTails, filtered_ranks
from chorograph.models.graph.compgcn import as_edges, directed
from chorograph.pretraining.feeds.stream import DrawnBatches, WholeBatch
from chorograph.pretraining.loop.objective import Objective, Place
from chorograph.pretraining.loop.world import World

#: Tails of one pair that a step learns at most: a category has thousands.
_TAILS = 32
#: Tails of other facts that a step of CompGCN takes for wrong answers.
_WRONG = 256
#: Scores held at once when facts are ranked: 64 MB of float32.
_SCORES = 16_000_000
#: Each hop draws so many times fewer facts than the one before.
_BEYOND = 2


@dataclass(frozen=True)
class LinkBatch(WholeBatch):
    """Facts of a step: arguments of the model, and of the scores what is right."""

    given: tuple[Any, ...]
    right: tuple[Tensor, ...]


class _Links(DrawnBatches):
    """Batches of facts or pairs, all but the last of one size; facts are ranked afterwards, none is held out here."""

    def __init__(self, number: int, batch_size: int, seed: int, world: World) -> None:
        starts = range(batch_size, number, batch_size)
        super().__init__(np.arange(number), batch_size, seed, world, lambda order, _: np.split(order, starts))


class LinkObjective(Objective[LinkBatch]):
    """What predicts tails: a model small enough for every process to work on the whole batch.

    Each answers for its share of the facts, so that several processes learn what one does; they save no time.
    """

    rows, alike = "facts", True

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.name = type(model).__name__.lower()
        self.what, self.weights = f"learning the graph with {self.name}", {"links": 1.0}
        self.head = model


def pair_loss(scores: Tensor, rows: Tensor, columns: Tensor, taken: Tensor, own: slice | None = None) -> Tensor:
    """Return the mean of softplus(logsumexp of a row's wrong tails - its right one) over the right ones taken.

    `scores` (n, candidates); (rows, columns) are all places of right tails, of which `taken` (a mask) are learnt: a
    right tail is never a wrong one of another fact of its row. This is cross-entropy over all candidates, one right
    tail at a time. With `own`, the part of those rows; the parts of all rows add up to the whole.
    """
    right = scores[rows, columns]
    wrong = scores.index_put((rows, columns), scores.new_tensor(-math.inf)).logsumexp(1)
    mine = taken if own is None else taken & (rows >= own.start) & (rows < own.stop)
    return nn.functional.softplus(wrong[rows[mine]] - right[mine]).sum() / taken.sum()


class PairBatches(_Links):
    """Pairs (head, relation) with all their tails, `candidates` of which are drawn to be scored; 0: all entities."""

    def __init__(
        self, facts: Indices, entities: int, relations: int, candidates: int, batch_size: int, seed: int, world: World
    ) -> None:
        self._known = KnownTails.of(facts, relations)
        super().__init__(len(self._known.queries), batch_size, seed, world)
        self._entities, self._relations = entities, relations
        self._candidates = 0 if candidates >= entities else candidates

    def __getitem__(self, place: Place) -> LinkBatch:
        chosen, rng = self.rows_at(place), self.rng
        heads, kinds = np.divmod(self._known.queries[chosen], self._relations)
        rows, tails = self._known.at(heads, kinds)
        taken = _taken(rows, rng)
        columns, drawn = tails, None
        if self._candidates > 0:
            pool = np.unique(np.r_[tails[taken], rng.integers(0, self._entities, self._candidates)])
            at = _places(pool, self._entities)
            inside = at[tails] >= 0
            rows, columns, taken = rows[inside], at[tails[inside]], taken[inside]
            drawn = torch.from_numpy(pool)
        right = tuple(torch.from_numpy(array) for array in (rows, columns, taken))
        given = (torch.from_numpy(heads), torch.from_numpy(kinds), drawn)
        return LinkBatch(place, self.own(len(heads)), given, right)


class TuckerObjective(LinkObjective):
    """1-N: a pair (head, relation) is scored with every entity at once (Dettmers et al. 2018), or with those drawn."""

    def contrast(self, batch: LinkBatch, features: Sequence[Tensor], own: Sequence[slice]) -> dict[str, Tensor]:
        """Return how far the right tails are from being told apart."""
        rows, columns, taken = batch.right
        return {"links": pair_loss(self.head(*batch.given), rows, columns, taken, batch.own)}


class FactBatches(_Links):
    """Facts (n, 3) of one direction each, with the neighbourhoods that tell of their ends.

    A fact's own edges weigh nothing in its step: in the published code they are there, so that it is read off rather
    than predicted.
    """

    def __init__(
        self, graph: Graph, facts: Indices, fan_out: int, layers: int, batch_size: int, seed: int, world: World,
        *, compat: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(len(facts), batch_size, seed, world)
        self._facts, self._relations, self._entities = facts, graph.number_of_relations, graph.number_of_entities
        both, weight = directed(facts, self._entities, self._relations, compat=compat)
        self._neighbours = Neighbours.of(both, self._entities, weight)
        self._known = KnownTails.of(both_ways(facts, self._relations), 2 * self._relations)
        self._learnt = np.zeros(len(both), dtype=bool)
        self._shape = tuple(max(fan_out // _BEYOND**hop, 1) for hop in range(layers))

    def __getitem__(self, place: Place) -> LinkBatch:
        chosen, rng, learnt = self.rows_at(place), self.rng, self._learnt
        learnt[:] = False
        learnt[np.r_[chosen, chosen + len(self._facts)]] = True
        batch = both_ways(self._facts[chosen], self._relations)
        # One direction of each fact, drawn: over the epochs both are learnt.
        batch = batch[np.arange(len(chosen)) + len(chosen) * rng.integers(0, 2, len(chosen))]
        wrong = np.unique(rng.choice(batch[:, 2], min(len(batch), _WRONG), replace=False))
        sample = self._neighbours.sample(batch[:, [0, 2]].ravel(), self._shape, rng)
        at = _places(sample.entities, self._entities)
        edges = as_edges(sample.facts, np.where(learnt[sample.row], np.float32(0), sample.weight), self._relations)
        facts = tuple(torch.from_numpy(column) for column in (at[batch[:, 0]], batch[:, 1], at[batch[:, 2]]))
        right = (torch.from_numpy(at[wrong]), *_true_places(self._known, batch, wrong))
        given = (torch.from_numpy(sample.entities), edges, sample.steps, *facts)
        return LinkBatch(place, self.own(len(batch)), given, right)


class CompGcnObjective(LinkObjective):
    """A step encodes the heads and tails of its facts, and takes the tails of others for wrong answers."""

    def contrast(self, batch: LinkBatch, features: Sequence[Tensor], own: Sequence[slice]) -> dict[str, Tensor]:
        """Return how far the right tails are from being told apart."""
        entities, edges, steps, head, kind, tail = batch.given
        wrong, rows, columns = batch.right
        model: Any = self.head
        encoded, kinds = model.tower(model.inputs(entities), edges, steps)
        query = encoded[head] * kinds[kind]
        right = (query * encoded[tail]).sum(1)
        scores = query @ encoded[wrong].T
        scores = scores.index_put((rows, columns), scores.new_tensor(-math.inf))
        losses = nn.functional.softplus(scores.logsumexp(1) - right)
        return {"links": losses[batch.own].sum() / len(losses)}


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


def _places(chosen: Indices, number: int) -> Indices:
    """Return where each of `number` things stands among the chosen, -1 where it does not."""
    place = np.full(number, -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    return place
