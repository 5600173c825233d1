"""Relations that say the same thing twice, and holding facts out so that none of them gives a held-out fact away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorograph.graph.facts import Graph
from chorograph.ground.arrays import Indices

#: Two relations are inverse, and one is symmetric, where this share of the facts of each stands flipped in the other.
_SHARE = 0.95


def inverse_of(graph: Graph, share: float = _SHARE) -> Indices:
    """Return for each relation the one that says the same from the other end, itself where symmetric, -1 for none.

    Dettmers et al. 2018 (Convolutional 2D knowledge graph embeddings) found test sets given away by such pairs.
    """
    number = graph.number_of_relations
    partner = np.full(number, -1, dtype=np.int64)
    forward, backward = _pairs(graph, flipped=False), _pairs(graph, flipped=True)
    ends = [_kinds(graph, relation) for relation in range(number)]
    best = np.zeros(number)
    for one in range(number):
        for other in range(one, number):
            if ends[one] != ends[other][::-1] or not (len(forward[one]) and len(forward[other])):
                continue
            common = len(np.intersect1d(forward[one], backward[other], assume_unique=True))
            found = common / max(len(forward[one]), len(forward[other]))
            for relation, is_for in ((one, other), (other, one)):
                if found >= share and found > best[relation]:
                    partner[relation], best[relation] = is_for, found
    return partner


@dataclass(frozen=True)
class HeldOut:
    """Facts parted for judging link prediction: `train` (n, 3), `test` (m, 3); `removed` facts stand in neither.

    Removed are facts that say a test fact from the other end, through an inverse or symmetric relation.
    """

    train: Indices
    test: Indices
    removed: Indices


def hold_out(graph: Graph, share: float, seed: int, inverse: Indices | None = None) -> HeldOut:
    """Hold out a share of the facts at random, and remove from training whatever gives them away.

    A fact is not tested where its head, relation or tail would have no training fact left: a transductive model cannot
    know such an entity.
    """
    partner = inverse_of(graph) if inverse is None else inverse
    facts = graph.facts
    chosen = np.zeros(len(facts), dtype=bool)
    chosen[np.random.default_rng(seed).permutation(len(facts))[: round(share * len(facts))]] = True
    chosen = _drop_both_ends(facts, chosen, partner, graph.number_of_entities)
    given_away = _given_away(facts, chosen, partner, graph.number_of_entities)
    left = facts[~chosen & ~given_away]
    seen = np.zeros(graph.number_of_entities, dtype=bool)
    seen[left[:, 0]] = seen[left[:, 2]] = True
    relations = np.isin(facts[:, 1], left[:, 1])
    tested = chosen & seen[facts[:, 0]] & seen[facts[:, 2]] & relations
    removed = _given_away(facts, tested, partner, graph.number_of_entities)
    return HeldOut(facts[~tested & ~removed], facts[tested], facts[removed])


def leaking(train: Indices, test: Indices, inverse: Indices, entities: int) -> NDArray[np.bool_]:
    """Return which test facts (m,) training knows already: as they are, or from the other end."""
    known = _keys(train, entities)
    found = np.isin(_keys(test, entities), known)
    flips = _flip(test, inverse)
    found |= (inverse[test[:, 1]] >= 0) & np.isin(_keys(flips, entities), known)
    return np.asarray(found)


def without_regions(graph: Graph, regions: Indices) -> Graph:
    """Return the graph without any fact of the given entities: what an inductive run may train on."""
    gone = np.zeros(graph.number_of_entities, dtype=bool)
    gone[regions[regions >= 0]] = True
    return graph.keeping(~(gone[graph.facts[:, 0]] | gone[graph.facts[:, 2]]))


def _drop_both_ends(facts: Indices, chosen: NDArray[np.bool_], partner: Indices, entities: int) -> NDArray[np.bool_]:
    """Where both a fact and its flip were chosen, choose only the first of them."""
    keys, flips = _keys(facts, entities), _keys(_flip(facts, partner), entities)
    twice = chosen & (partner[facts[:, 1]] >= 0) & np.isin(flips, keys[chosen]) & (keys > flips)
    return np.asarray(chosen & ~twice)


def _given_away(facts: Indices, tested: NDArray[np.bool_], partner: Indices, entities: int) -> NDArray[np.bool_]:
    """Return which facts, not tested themselves, say a tested one from the other end."""
    flips = _flip(facts[tested & (partner[facts[:, 1]] >= 0)], partner)
    return np.asarray(~tested & np.isin(_keys(facts, entities), _keys(flips, entities)))


def _flip(facts: Indices, partner: Indices) -> Indices:
    return np.stack([facts[:, 2], partner[facts[:, 1]], facts[:, 0]], axis=1)


def _keys(facts: Indices, entities: int) -> Indices:
    """Return one number a fact; relation -1 (no inverse) gives a number that no fact has."""
    return np.asarray((facts[:, 1] * entities + facts[:, 0]) * entities + facts[:, 2])


def _pairs(graph: Graph, *, flipped: bool) -> list[Indices]:
    """Return for each relation its (head, tail) pairs, or (tail, head), as sorted numbers."""
    head, relation, tail = graph.facts.T
    first, second = (tail, head) if flipped else (head, tail)
    keys = first * graph.number_of_entities + second
    return [np.sort(keys[relation == number]) for number in range(graph.number_of_relations)]


def _kinds(graph: Graph, relation: int) -> tuple[str, str]:
    """Return the most frequent kinds of a relation's head and tail."""
    rows = graph.facts[graph.facts[:, 1] == relation]
    if not len(rows):
        return "", ""
    found = []
    for column in (0, 2):
        names, counts = np.unique(graph.kinds[rows[:, column]].astype(str), return_counts=True)
        found.append(str(names[np.argmax(counts)]))
    return found[0], found[1]
