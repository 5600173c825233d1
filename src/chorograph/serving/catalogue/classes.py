"""Classes of a choropleth: where they end, and for each region a small number that says class and place in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Method = Literal["quantile", "equal"]
METHODS: tuple[Method, ...] = get_args(Method)
#: Classes of a map: more are not told apart by eye.
CLASSES = 6
#: Places within a class, so that a continuous scale needs no more than the same byte.
STEPS = 31
#: Outliers take the colour of the ends: classes span the values between these percentiles.
_ROBUST = (2.0, 98.0)


@dataclass(frozen=True)
class Classes:
    """`edges` (k + 1,), rising; `counts` (k,) of regions in each; `missing` regions have no value.

    Values beyond the outer edges belong to the outer classes. `diverging`: the edges are symmetric about zero.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.int64]
    missing: int
    lowest: float
    highest: float
    diverging: bool

    def codes(self, values: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return (n,) bytes: 0 without a value, else 1 + 31 x the class (from 0) + the place in it (0 to 30)."""
        last = len(self.edges) - 2
        with np.errstate(invalid="ignore"):
            number = np.clip(np.searchsorted(self.edges, values, side="right") - 1, 0, last)
            width = np.diff(self.edges)[number]
            place = np.clip((values - self.edges[number]) / width, 0, 1) * (STEPS - 1)
        code = 1 + STEPS * number + np.round(np.nan_to_num(place))
        return np.where(np.isfinite(values), code, 0).astype(np.uint8)

    def as_dict(self) -> dict[str, Any]:
        """Return what a legend needs, ready for JSON."""
        return {
            "edges": [float(edge) for edge in self.edges],
            "counts": [int(count) for count in self.counts],
            "missing": self.missing,
            "lowest": self.lowest,
            "highest": self.highest,
            "diverging": self.diverging,
            "steps": STEPS,
        }


def classify(values: NDArray[np.float64], method: Method = "quantile", *, diverging: bool = False) -> Classes:
    """Return the classes of values: of equal numbers of regions (`quantile`) or of equal width (`equal`).

    Ties may leave fewer than six quantiles. `diverging` makes them symmetric about zero.
    """
    known = values[np.isfinite(values)]
    lowest, highest = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    edges = _edges(np.abs(known) if diverging else known, method, CLASSES // 2 if diverging else CLASSES)
    if diverging:
        edges = np.r_[-edges[:0:-1], 0.0, edges[1:]]
    number = np.clip(np.searchsorted(edges, known, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(number, minlength=len(edges) - 1)
    return Classes(edges, counts, int(len(values) - len(known)), lowest, highest, diverging)


def _edges(known: NDArray[np.float64], method: Method, classes: int) -> NDArray[np.float64]:
    if not known.size or known.min() == known.max():
        middle = float(known[0]) if known.size else 0.5
        margin = abs(middle) * 0.05 or 0.5
        return np.array([middle - margin, middle + margin])
    if method == "quantile":
        edges = np.unique(np.percentile(known, np.linspace(0, 100, classes + 1)))
        if len(edges) > 2:
            return np.asarray(edges, dtype=np.float64)
    low, high = np.percentile(known, _ROBUST)
    if low == high:
        low, high = known.min(), known.max()
    return np.linspace(low, high, classes + 1)
