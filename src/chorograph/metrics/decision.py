"""Scores of a decision: whom would we have reached, had we served the regions that the model calls neediest first.

All functions take (target, predicted, weight) as `chorograph.metrics.regression` does; need grows with the target, so
pass both negated where a low value means need.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from chorograph.ground.arrays import Vector
from chorograph.metrics.regression import Metric

#: The shares of regions that recall is reported at.
SHARES = (0.1, 0.2)


def recall_at(target: Vector, predicted: Vector, weight: Vector, share: float) -> Vector:
    """Return the part of the neediest `share` of regions that is also among the `share` predicted neediest.

    A random order finds `share` of them. Weight counts how often a row is taken, and may be (replicates, n); rows at
    the border of the share count in part, and ties are taken in the order of the rows.
    """
    needed, served = _top(target, weight, share), _top(predicted, weight, share)
    total = needed.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.minimum(needed, served).sum(-1) / total)


def decision_metrics() -> dict[str, Metric]:
    """Return `recall@10` and `recall@20`: recall of the neediest tenth and fifth of regions."""
    return {f"recall@{100 * share:.0f}": partial(recall_at, share=share) for share in SHARES}


def cost_curve(target: Vector, predicted: Vector, share: float, points: int = 21) -> list[tuple[float, float]]:
    """Return (part of all regions served, part of the neediest `share` reached), served in the predicted order.

    From (0, 0) to (1, 1); a perfect order reaches everybody at `share`, a random one follows the diagonal.
    """
    number = len(target)
    needy = np.zeros(number)
    needy[np.argsort(-target, kind="stable")[: max(1, round(share * number))]] = 1.0
    reached = np.concatenate([[0.0], np.cumsum(needy[np.argsort(-predicted, kind="stable")]) / needy.sum()])
    served = np.linspace(0.0, 1.0, points)
    return [
        (float(part), float(found))
        for part, found in zip(served, np.interp(served * number, np.arange(number + 1), reached), strict=True)
    ]


def _top(values: Vector, weight: Vector, share: float) -> Vector:
    """Return how much of each row's weight lies in the top `share` of all weight; shape of `weight`."""
    order = np.argsort(-values, kind="stable")
    taken = weight[..., order]
    before = np.cumsum(taken, axis=-1) - taken
    part = np.clip(share * weight.sum(-1, keepdims=True) - before, 0.0, taken)
    top = np.empty_like(part)
    top[..., order] = part
    return np.asarray(top)
