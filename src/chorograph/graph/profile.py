"""What a graph tells of each region without learning anything: counts, categories, surroundings, place in the web.

No label is seen and nothing is fitted, so these are computed once for all folds. They are transductive in the same way
as any graph: a region's row depends on facts about other regions, tested ones included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import eigsh

from chorograph.graph.facts import Graph
from chorograph.graph.inverses import inverse_of
from chorograph.ground.arrays import Indices, Matrix

#: The parts, in the order that they are described.
PARTS = ("degrees", "categories", "surroundings", "position")
#: A kind with at most so many members is a set of categories, and each member a column.
_CATEGORIES = 150
#: Leading eigenvectors of the web of neighbours.
_COMPONENTS = 30
#: Relations that mean nearness on the ground; where a graph has neither, all symmetric relations among regions.
_NEAR = ("borderby", "nearby")


def region_profile(graph: Graph, rows: Indices, parts: tuple[str, ...] = PARTS) -> dict[str, Matrix]:
    """Return the asked parts as (regions, width) each; `rows` are the regions' entities, -1 where there is none.

    `degrees`: ln(1 + facts) of each relation and direction. `categories`: ln(1 + number of ways) to each member of a
    small kind, straight or through one entity that is no region. `surroundings`: the mean degrees of the entities that
    each relation leads to, and the mean degrees of near regions and of those near to them. `position`: leading
    eigenvectors of the web of near regions (Laplacian eigenmaps), which tell where a region lies without coordinates.
    A region without any fact has NaN.
    """
    partner = inverse_of(graph)
    graph = graph.canonical(partner)
    ways = _adjacency(graph)
    degrees = np.log1p(np.stack([np.asarray(way.sum(1)).ravel() for way in ways], axis=1))
    near = _near(graph, np.flatnonzero(partner == np.arange(len(partner))))
    makers: dict[str, Callable[[], Matrix]] = {
        "degrees": lambda: degrees[rows],
        "categories": lambda: _categories(graph, ways, rows),
        "surroundings": lambda: _surroundings(ways, degrees, near, rows),
        "position": lambda: _position(near, rows),
    }
    absent = (rows < 0) | (degrees[rows].sum(1) == 0)
    blocks = {}
    for part in parts:
        block = makers[part]()
        block = block[:, np.ptp(block[~absent], axis=0) > 1e-9] if (~absent).any() else block
        block[absent] = np.nan
        blocks[part] = block
    return blocks


def _adjacency(graph: Graph) -> list[Any]:
    """Return for each relation and direction the sparse table (entities, entities) of where its facts lead."""
    head, relation, tail = graph.facts.T
    number = graph.number_of_entities
    tables = []
    for kind in np.unique(relation):
        here = relation == kind
        ones = np.ones(int(here.sum()))
        both = ((head[here], tail[here]), (tail[here], head[here]))
        tables += [csr_array((ones, ends), shape=(number, number)) for ends in both]
    return tables


def _near(graph: Graph, symmetric: Indices) -> Any:
    """Return the web of near regions as a sparse table of 0 and 1, (entities, entities)."""
    head, relation, tail = graph.facts.T
    is_region = graph.are_regions
    among = is_region[head] & is_region[tail]
    named = np.array([str(name).lower().endswith(_NEAR) for name in graph.relations], dtype=bool)
    chosen = among & named[relation]
    if not chosen.any():
        chosen = among & np.isin(relation, symmetric)
    number = graph.number_of_entities
    one, other = np.r_[head[chosen], tail[chosen]], np.r_[tail[chosen], head[chosen]]
    web = csr_array((np.ones(len(one)), (one, other)), shape=(number, number))
    web.data[:] = 1.0
    return web


def _categories(graph: Graph, ways: list[Any], rows: Indices) -> Matrix:
    _, codes, sizes = np.unique(graph.kinds.astype(str), return_inverse=True, return_counts=True)
    is_region = graph.are_regions
    small = (sizes[codes] <= _CATEGORIES) & ~is_region
    columns = np.flatnonzero(small)
    everything = sum(ways[1:], start=ways[0])
    straight = everything[rows][:, columns]
    between = np.flatnonzero(~small & ~is_region)
    through = everything[rows][:, between] @ everything[between][:, columns]
    return np.asarray(np.log1p(np.hstack([straight.toarray(), through.toarray()])))


def _surroundings(ways: list[Any], degrees: Matrix, near: Any, rows: Indices) -> Matrix:
    means = [_mean(way[rows], degrees) for way in ways]
    beside = _mean(near, degrees)
    return np.hstack([*means, beside[rows], _mean(near[rows], beside)])


def _mean(table: Any, values: Matrix) -> Matrix:
    """Return the mean of `values` over where each row of a table leads; 0 where it leads nowhere."""
    number = np.asarray(table.sum(1)).ravel()[:, None]
    return np.asarray((table @ values) / np.maximum(number, 1.0))


def _position(near: Any, rows: Indices) -> Matrix:
    held = np.flatnonzero(np.asarray(near.sum(1)).ravel() > 0)
    position = np.zeros((near.shape[0], _COMPONENTS))
    if len(held) > _COMPONENTS + 2:
        web = near[held][:, held]
        scale = diags_array(1.0 / np.sqrt(np.asarray(web.sum(1)).ravel()))
        # A fixed start, so that the same graph gives the same vectors.
        start = np.random.default_rng(0).normal(size=len(held))
        _, vectors = eigsh((scale @ web @ scale).tocsr(), k=_COMPONENTS, which="LA", v0=start)
        # The sign of an eigenvector is free: its largest entry is made positive.
        largest = np.abs(vectors).argmax(0)
        vectors = vectors * np.sign(vectors[largest, np.arange(_COMPONENTS)])
        position[held] = vectors * np.sqrt(len(held))
    return np.asarray(position[rows])
