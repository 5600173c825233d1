"""Scales: the unit that an indicator is fitted in, and the way back to its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Vector

#: Scales by name, as settings and descriptions say them.
SCALES = ("linear", "log", "log1p", "logit")
#: A share of exactly nothing or everything is fitted as this share, or as one less it: its logit is infinite.
_LEAST_SHARE = 0.001


@dataclass(frozen=True)
class Scale:
    """How values of an indicator are fitted: as they are, as logarithms, or as logits of shares.

    `plus` is added before a logarithm is taken. `whole` is the value of a whole share: 1, or 100 for per cent.
    """

    name: str = "linear"
    plus: float = 0.0
    whole: float = 1.0

    @classmethod
    def of(cls, name: str, unit: str, plus: float = 0.0) -> Scale:
        """Return the scale `name` for an indicator in `unit`; `log1p` is a logarithm with 1 added first."""
        if name == "log1p":
            return cls("log", 1.0)
        return cls(name, plus if name == "log" else 0.0, 100.0 if unit.strip() == "%" else 1.0)

    def unusable(self, values: Vector) -> NDArray[np.bool_]:
        """Return which finite values have no place on this scale."""
        finite = np.isfinite(values)
        if self.name == "log":
            return finite & (values + self.plus <= 0)
        if self.name == "logit":
            return finite & ((values < 0) | (values > self.whole))
        return np.zeros(len(values), dtype=bool)

    @property
    def reason(self) -> str:
        """Why a value is unusable, as a ledger counts it."""
        if self.name == "logit":
            return f"label outside 0 to {self.whole:g}, which is no share"
        return "label at or below zero, which has no logarithm"

    def fitted(self, values: Vector) -> Vector:
        """Bring values (n,) of the indicator's own unit to the fitted one; NaN stays NaN."""
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.name == "log":
                return np.asarray(np.log(values + self.plus))
            if self.name == "logit":
                share = np.clip(values / self.whole, _LEAST_SHARE, 1 - _LEAST_SHARE)
                return np.asarray(np.log(share / (1 - share)))
        return values

    def own(self, fitted: Vector) -> Vector:
        """Bring values from the fitted unit to the indicator's own: of a median its median, no smearing."""
        if self.name == "log":
            with np.errstate(over="ignore"):
                return np.asarray(np.exp(fitted) - self.plus)
        if self.name == "logit":
            return np.asarray(self.whole / (1 + np.exp(-fitted)))
        return fitted

    def unit(self, unit: str) -> str:
        """Return the name of the fitted unit."""
        if self.name == "log":
            return f"ln({self.plus:g} + {unit})" if self.plus else f"ln({unit})"
        return f"logit({unit})" if self.name == "logit" else unit
