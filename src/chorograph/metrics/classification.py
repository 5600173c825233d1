"""Scores of a classification, each with an interval from resampling images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Indices
from chorograph.metrics.regression import BlockBootstrap, Estimate


@dataclass(frozen=True)
class Classification:
    """Accuracy, its mean over classes (balanced), and that of each class, with 95 % intervals."""

    accuracy: Estimate
    balanced_accuracy: Estimate
    per_class: dict[str, Estimate]

    def scores(self) -> dict[str, Estimate]:
        """Return all by name: `accuracy`, `balanced_accuracy`, and `accuracy of CLASS`."""
        each = {f"accuracy of {name}": estimate for name, estimate in self.per_class.items()}
        return {"accuracy": self.accuracy, "balanced_accuracy": self.balanced_accuracy, **each}


def top_class(scores: NDArray[np.float32], target: Indices) -> Indices:
    """Return the class of the highest score in each row of scores (n, classes).

    Where the true class shares the highest score with another, the other is returned: a tie counts against the model.
    """
    rows = np.arange(len(scores))
    others = scores.copy()
    others[rows, target] = -np.inf
    rival = others.argmax(1)
    return np.where(others[rows, rival] >= scores[rows, target], rival, target)


def classification(
    target: Indices, predicted: Indices, classes: Sequence[str], bootstrap: BlockBootstrap
) -> Classification:
    """Score predicted against true classes, both numbered as in `classes`.

    Classes without an image have no score, and are no part of the balanced accuracy. `ValueError` for no image at all.
    """
    if len(target) == 0 or len(target) != len(predicted):
        raise ValueError(f"{len(target)} targets and {len(predicted)} predictions cannot be scored")
    held = np.flatnonzero(np.bincount(target, minlength=len(classes)))
    belongs = (target[:, None] == held).astype(np.float64)
    right = belongs * (target == predicted)[:, None]
    weights = np.concatenate([_scores(w @ right, w @ belongs) for w in bootstrap.weights(np.arange(len(target)))])
    values = _scores(right.sum(0, keepdims=True), belongs.sum(0, keepdims=True))[0]
    # A replicate may draw no image of a rare class: it says nothing of that class.
    lower, upper = np.nanpercentile(weights, [2.5, 97.5], axis=0)
    estimates = [Estimate(float(v), float(a), float(b)) for v, a, b in zip(values, lower, upper, strict=True)]
    per_class = {classes[int(number)]: estimate for number, estimate in zip(held, estimates[2:], strict=True)}
    return Classification(estimates[0], estimates[1], per_class)


def _scores(right: NDArray[np.float64], total: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return accuracy, balanced accuracy and the accuracy of each class for counts (replicates, classes)."""
    with np.errstate(invalid="ignore"):
        each = right / total
    return np.column_stack([right.sum(1) / total.sum(1), np.nanmean(each, axis=1), each])
