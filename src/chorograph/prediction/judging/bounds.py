"""What values an indicator can take: a share stays within 0 and 1, a count does not go below 0."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from chorograph.ground.arrays import Vector

#: Units whose zero is a convention: their values may go below it though no label does.
_RELATIVE = ("°c", "°f", "celsius", "fahrenheit", "index", "score", "z", "z-score", "log", "ln", "change", "difference")


@dataclass(frozen=True)
class Bounds:
    """The least and the greatest value an indicator can take, in its own unit; infinite where nothing bounds it.

    No truth lies outside, so cutting a prediction or an interval to them never makes an error larger nor leaves a truth
    out: coverage is that of the interval before the cut (its intersection with the set of possible values).
    """

    low: float = -np.inf
    high: float = np.inf
    why: str = "nothing bounds it"

    @classmethod
    def of(cls, unit: str, labels: Vector) -> Self:
        """Return the bounds that unit and labels (n,), NaN where missing, allow.

        A share (`share of NAME`, `share`, `fraction`) whose labels lie in 0 to 1 stays there, a percentage in 0 to 100.
        What has no negative label and whose zero means nothing of it (not a temperature, an index, a change) does not
        go below 0.
        """
        known = labels[np.isfinite(labels)]
        plain = unit.strip().lower()
        if not known.size or known.min() < 0:
            return cls()
        if plain.startswith(("share", "fraction", "proportion")) and known.max() <= 1:
            return cls(0.0, 1.0, "a share")
        if plain.startswith(("%", "percent", "per cent")) and known.max() <= 100:
            return cls(0.0, 100.0, "a percentage")
        if any(word in plain.replace("(", " ").replace(")", " ").split() for word in _RELATIVE):
            return cls()
        return cls(0.0, np.inf, "no label is below 0")

    def hold(self, values: Vector) -> Vector:
        """Return the values, those outside brought to the nearest bound; NaN stays."""
        return np.clip(values, self.low, self.high)
