"""How well held-out images and captions find each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: The ranks that recall is reported at.
CUTS = (1, 5, 10)


def best_ranks(scores: NDArray[np.float32], relevant: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each row of scores (n, m) the rank, from 1, of its best relevant column.

    A rank counts the irrelevant columns that score higher or the same, so that a model that gives all the same score
    earns nothing. Rows without a relevant column are a `ValueError`.
    """
    if not relevant.any(1).all():
        raise ValueError("every row needs a relevant column")
    best = np.where(relevant, scores, -np.inf).max(1, keepdims=True)
    ranks: NDArray[np.int64] = ((scores >= best) & ~relevant).sum(1) + 1
    return ranks


def recall(ranks: NDArray[np.int64], cuts: Sequence[int] = CUTS) -> dict[int, float]:
    """Return the share of ranks within each cut."""
    return {cut: float((ranks <= cut).mean()) for cut in cuts}


def retrieval(
    image_features: NDArray[np.float32], text_features: NDArray[np.float32], relevant: NDArray[np.bool_]
) -> dict[str, float]:
    """Return `image_to_text_recall@k`, `text_to_image_recall@k` and their mean, `mean_recall`.

    `relevant[i, j]` says whether text j describes image i; texts that several images share stand once.
    """
    scores = image_features @ text_features.T
    found = {
        f"{way}_recall@{cut}": value
        for way, ranks in (
            ("image_to_text", best_ranks(scores, relevant)),
            ("text_to_image", best_ranks(scores.T, relevant.T)),
        )
        for cut, value in recall(ranks).items()
    }
    return {**found, "mean_recall": float(np.mean(list(found.values())))}


def relevance(captions: Sequence[Sequence[str]]) -> tuple[list[str], NDArray[np.bool_]]:
    """Return the distinct captions of n images and which belong to which: (n, texts)."""
    texts = sorted({caption for of_image in captions for caption in of_image})
    column = {text: number for number, text in enumerate(texts)}
    relevant = np.zeros((len(captions), len(texts)), dtype=bool)
    for row, of_image in enumerate(captions):
        relevant[row, [column[caption] for caption in of_image]] = True
    return texts, relevant
