"""Zero-shot classification: the class whose prompts are nearest to the image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from chorograph.evaluation.examples.encoding import Encoded
from chorograph.evaluation.prompts import class_weights, fill, published_name, spaced_name
from chorograph.ground.stage import Progress, silent
from chorograph.metrics.classification import Classification, classification, top_class
from chorograph.metrics.regression import BlockBootstrap, Estimate
from chorograph.models.encoders.protocols import ImageTextEncoder

OURS, PUBLISHED = "zero-shot", "published arithmetic"
#: Texts that are encoded between two reports of progress.
_TEXTS = 512
#: Cosines that differ by less from 1 are those of equal texts, rounded.
_SAME = 1e-6


def evaluate_zero_shot(
    encoder: ImageTextEncoder,
    encoded: Encoded,
    classes: Sequence[str],
    templates: Sequence[str],
    *,
    seed: int = 0,
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda said: None,
) -> dict[str, dict[str, Estimate]]:
    """Classify encoded images among `classes`, by the mean of each class's prompts; returns two rows of scores.

    `zero-shot` has class names as words and every prompt of equal weight; `published arithmetic` (compat) has
    names only lower-cased, the mean of the prompts taken before their lengths are made equal (RS5M, inference_tool.py).
    `warn` is told of classes that no prompt tells apart.
    """
    row = {name: number for number, name in enumerate(classes)}
    target = np.array([row[str(example.kind)] for example in encoded.examples], dtype=np.int64)

    def judge(name: Callable[[str], str], compat: bool) -> Classification:
        texts = fill(templates, [name(kind) for kind in classes])
        embeddings = encode_distinct(encoder, texts, unit=False, progress=progress)
        weights = class_weights(embeddings.reshape(len(classes), len(templates), -1), compat=compat)
        if not compat and (alike := coinciding(weights, classes)):
            said = "; ".join(", ".join(names) for names in alike)
            warn(f"the prompts of some classes coincide, so no image is told apart by them: {said}")
        predicted = top_class(encoded.vectors @ weights.T, target)
        return classification(target, predicted, classes, BlockBootstrap(seed=seed))

    return {OURS: judge(spaced_name, False).scores(), PUBLISHED: judge(published_name, True).scores()}


def coinciding(weights: NDArray[np.float32], classes: Sequence[str]) -> list[list[str]]:
    """Return the groups of classes whose vectors (n, dim), of unit length, are the same within rounding."""
    groups: dict[int, list[str]] = {}
    same = weights.astype(np.float64) @ weights.T.astype(np.float64) > 1 - _SAME
    for row, name in enumerate(classes):
        groups.setdefault(int(same[row].argmax()), []).append(name)
    return [names for names in groups.values() if len(names) > 1]


def encode_distinct(
    encoder: ImageTextEncoder, texts: Sequence[str], *, unit: bool = True, progress: Progress = silent
) -> NDArray[np.float32]:
    """Return the vectors of texts (n, dim), each distinct one encoded once."""
    known = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    distinct = list(known)
    parts = []
    for start in range(0, len(distinct), _TEXTS):
        parts.append(encoder.encode_texts(distinct[start : start + _TEXTS], unit=unit))
        progress("encoding texts", min(start + _TEXTS, len(distinct)), len(distinct))
    vectors: NDArray[np.float32] = np.concatenate(parts)[[known[text] for text in texts]]
    return vectors
