"""Joint quantile thresholds: keep what is among the best by every score at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from chorograph.curation.rows import Decision
from chorograph.ground.errors import InputError


def quantile_thresholds(scores: Mapping[str, NDArray[np.float64]], top: Mapping[str, float]) -> dict[str, float]:
    """Return, for each score, the value that the share `top` of all rows reaches: the published m and n."""
    return {name: float(np.quantile(scores[name], 1 - share)) for name, share in top.items()}


@dataclass(frozen=True)
class Quantiles:
    """Keep rows among the top share of the relevance and of the detector's probability; a share of 1 keeps all.

    The published choice is the top 90 % by relevance and the top 80 % by the detector, both of all rows.
    """

    name: ClassVar[str] = "quantiles"
    columns: ClassVar[tuple[str, ...]] = ("relevance", "detector")

    relevance: float = 0.9
    detector: float = 0.8

    def __post_init__(self) -> None:
        if not (0 < self.relevance <= 1 and 0 < self.detector <= 1):
            raise InputError("quantiles: a share lies above 0 and is at most 1")

    def decide(self, table: pa.Table, store: Path | None = None) -> Decision:
        """Drop what falls below either threshold; the first that it falls below is the reason."""
        top = {name: share for name, share in (("relevance", self.relevance), ("detector", self.detector)) if share < 1}
        scores: dict[str, NDArray[np.float64]] = {}
        for name in top:
            if table[name].null_count:
                raise InputError(
                    f"quantiles: {table[name].null_count} rows have no {name}; put the step `{name}` before "
                    f"`quantiles`, or set {name}: 1"
                )
            scores[name] = table[name].to_numpy()
        thresholds = quantile_thresholds(scores, top) if table.num_rows else {}
        reasons = np.full(table.num_rows, "", dtype=object)
        numbers = np.full(table.num_rows, np.nan)
        for name, threshold in thresholds.items():
            below = (scores[name] < threshold) & (reasons == "")
            reasons[below] = f"{name} below its quantile"
            numbers[below] = scores[name][below]
        rows = np.flatnonzero(reasons != "")
        return Decision(rows, list(reasons[rows]), numbers[rows])

    def describe(self) -> str:
        """Say what it does."""
        return f"top {self.relevance:.0%} by relevance and top {self.detector:.0%} by the detector, jointly"
