"""Numbers as people read them: digits that mean something, round ticks, colour ranges that outliers do not own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: A space that does not break between a number and its unit.
NBSP = "\u00a0"
MINUS = "\u2212"
#: Colours span the values between these percentiles.
ROBUST = (2.0, 98.0)


@dataclass(frozen=True)
class Quantity:
    """How the values of an indicator are written: `decimals` may be negative (-3 rounds to thousands)."""

    unit: str
    decimals: int

    @classmethod
    def of(cls, values: NDArray[np.float64], unit: str) -> Quantity:
        """Choose about three significant digits of the spread of `values` (2nd to 98th percentile)."""
        finite = values[np.isfinite(values)]
        low, high = robust_range(finite) if finite.size else (0.0, 1.0)
        spread = (high - low) or abs(high) or 1.0
        return cls(unit, 2 - math.floor(math.log10(spread)))

    def number(self, value: float | None, *, signed: bool = False) -> str:
        """Write a value without its unit; an en dash for a missing one."""
        return "–" if value is None else plain(value, self.decimals, signed=signed)

    def text(self, value: float | None, *, signed: bool = False) -> str:
        """Write a value with its unit; an en dash for a missing one."""
        number = self.number(value, signed=signed)
        return number if number == "–" or not self.unit else f"{number}{NBSP}{self.unit}"

    def exact(self, value: float | None) -> str:
        """Write a measured value with its unit: never rounded to tens or thousands, as a prediction is."""
        return Quantity(self.unit, max(self.decimals, 0)).text(value)

    def interval(self, lower: float | None, upper: float | None) -> str:
        """Write `lower to upper` with the unit once; too few held-out regions leave an interval open."""
        if lower is None or upper is None or not (math.isfinite(lower) and math.isfinite(upper)):
            return "not available"
        return f"{self.number(lower)} to {self.text(upper)}"


def plain(value: float, decimals: int, *, signed: bool = False) -> str:
    """Write a number with thousands separators and a real minus sign; beyond six decimals as a power of ten."""
    if not math.isfinite(value):
        return "–"
    rounded = round(value, decimals) + 0.0  # adding zero turns -0.0 into 0.0
    text = (
        _as_power(abs(rounded), decimals)
        if decimals > 6 and abs(rounded) < 1e-4
        else f"{abs(rounded):,.{max(decimals, 0)}f}"
    )
    if rounded < 0:
        return MINUS + text
    return f"+{text}" if signed and rounded > 0 else text


def _as_power(value: float, decimals: int) -> str:
    """Write a positive number as 5.12×10⁻⁹, to `decimals` places after the point of the plain number."""
    if value == 0:
        return "0"
    power = math.floor(math.log10(value))
    digits = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{value / 10.0**power:.{max(decimals + power, 0)}f}×10{digits}"


def percent(share: float, decimals: int = 0) -> str:
    """Write a share as a percentage."""
    return f"{plain(100 * share, decimals)}{NBSP}%"


def robust_range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 2nd and 98th percentile of the finite values; (0, 1) where there is none."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    low, high = np.percentile(finite, ROBUST)
    if low == high:  # a constant still needs a range to stand in
        margin = abs(float(low)) * 0.05 or 0.5
        return float(low) - margin, float(high) + margin
    return float(low), float(high)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most `most` round numbers (1, 2, 2.5, 5 times a power of ten) from `low` to `high`."""
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10(high - low) - 1)
    for step in (power * scale * factor for scale in (1, 10, 100) for factor in (1, 2, 2.5, 5)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [float(f"{index * step:.12g}") for index in range(first, last + 1)]
    return [low, high]


def log_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return at most `most` round numbers that stand well apart on a logarithmic scale from `low` to `high` (> 0)."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**power for power in decades for factor in factors]
        kept = [float(f"{value:.6g}") for value in found if low <= value <= high]
        if len(kept) <= most:
            return kept if len(kept) >= 3 else ticks(low, high, most)
    return kept[:: math.ceil(len(kept) / most)]


def tick_labels(values: list[float]) -> dict[float, str]:
    """Label round ticks with as few decimals as tell them apart exactly."""
    near = 1e-9 * max((abs(value) for value in values), default=0.0)
    decimals = next((d for d in range(20) if all(abs(v - round(v, d)) <= near for v in values)), 6)
    return {value: plain(value, decimals) for value in values}
