"""Pairs of embeddings above a similarity: exact in blocks, or through buckets of random hyperplanes beyond."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
Pairs = NDArray[np.int64]
#: Up to here every pair is compared: 50,000 vectors of 512 take about a minute on two cores.
EXACT = 50_000
_BLOCK = 4096


def unit(vectors: Vectors) -> Vectors:
    """Return vectors at length 1; zero stays zero, and is like nothing."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12), dtype=np.float32)


def exact_pairs(vectors: Vectors, similarity: float) -> Pairs:
    """Return every pair (i < j) of unit vectors with a cosine of at least `similarity`."""
    found = [np.empty((0, 2), dtype=np.int64)]
    for start in range(0, len(vectors), _BLOCK):
        block = vectors[start : start + _BLOCK]
        for other in range(start, len(vectors), _BLOCK):
            i, j = np.nonzero(block @ vectors[other : other + _BLOCK].T >= similarity)
            i, j = i + start, j + other
            found.append(np.stack([i, j], axis=1)[i < j])
    return np.concatenate(found)


def bucketed_pairs(
    vectors: Vectors, similarity: float, *, tables: int = 24, bits: int = 16, most: int = 2000, seed: int = 0
) -> Pairs:
    """Return pairs that share a bucket in one of `tables`, and are at least `similarity` alike; a few are missed.

    A bucket is the signs of `bits` random projections (Charikar 2002): two vectors at angle a agree in one table with
    probability (1 - a / pi) ** bits, so at a cosine of 0.96, bits 16 and 24 tables 0.1 % of pairs are missed. `most`
    bounds the comparisons of one vector in a table with the next ones of its bucket.
    """
    generator = np.random.default_rng(seed)
    weights = 1 << np.arange(bits, dtype=np.int64)
    found = [np.empty((0, 2), dtype=np.int64)]
    for _ in range(tables):
        planes = generator.standard_normal((vectors.shape[1], bits)).astype(np.float32)
        keys = ((vectors @ planes) > 0) @ weights
        order = np.argsort(keys, kind="stable")
        keys, alive = keys[order], np.arange(len(keys))
        for step in range(1, most + 1):
            alive = alive[alive + step < len(keys)]
            alive = alive[keys[alive] == keys[alive + step]]
            if not len(alive):
                break
            for start in range(0, len(alive), 65536):
                part = alive[start : start + 65536]
                i, j = order[part], order[part + step]
                near = np.einsum("nd,nd->n", vectors[i], vectors[j]) >= similarity
                found.append(np.sort(np.stack([i[near], j[near]], axis=1), axis=1))
    pairs: Pairs = np.unique(np.concatenate(found), axis=0)
    return pairs


def similar_pairs(vectors: Vectors, similarity: float, seed: int = 0) -> Pairs:
    """Return pairs of rows whose vectors are at least `similarity` alike: all of them up to `EXACT` rows."""
    vectors = unit(np.asarray(vectors, dtype=np.float32))
    return exact_pairs(vectors, similarity) if len(vectors) <= EXACT else bucketed_pairs(vectors, similarity, seed=seed)
