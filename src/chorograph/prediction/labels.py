"""The labels of a run: one indicator, as a share or rate where asked, as a logarithm where asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.stage import Ledger

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True)
class Labels:
    """Labels of n regions, NaN where there are none: `own` in `unit`, `fitted` in `fitted_unit`."""

    own: NDArray[np.float64]
    fitted: NDArray[np.float64]
    unit: str
    fitted_unit: str
    log: bool
    plus: float = 0.0

    def to_own(self, fitted: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring values from the fitted unit to the indicator's own (the exponential of a median, no smearing)."""
        return np.exp(fitted) - self.plus if self.log else fitted


def read_labels(
    area: Area,
    indicator: str,
    ledger: Ledger,
    *,
    log: bool = False,
    per: str | None = None,
    year: int | None = None,
    plus: float = 0.0,
) -> Labels:
    """Read an indicator for every region of the area, in the order of `area.regions`; `plus` is added before `log`.

    Raises `UnknownNameError` for a name that the area does not have, `InputError` where years are ambiguous or no
    label is left. Under `log` values without a logarithm cannot be used: they are counted in the ledger.
    """
    values, unit = _values(area, indicator, year)
    if per is not None:
        base, base_unit = _values(area, per, year)
        ledger.drop(f"label without a positive {per}", int((np.isfinite(values) & ~(base > 0)).sum()))
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(base > 0, values / base, np.nan)
        unit = f"share of {per}" if unit == base_unit else f"{unit} per {base_unit}"
    fitted, fitted_unit = values, unit
    if log:
        unusable = np.isfinite(values) & (values + plus <= 0)
        ledger.drop("label at or below zero, which has no logarithm", int(unusable.sum()))
        values = np.where(unusable, np.nan, values)
        with np.errstate(divide="ignore", invalid="ignore"):
            fitted, fitted_unit = np.log(values + plus), f"ln({plus:g} + {unit})" if plus else f"ln({unit})"
    if not np.isfinite(fitted).any():
        raise InputError(f"no region of {area.path} has a usable label for {indicator!r}")
    return Labels(values, fitted, unit, fitted_unit, log, plus if log else 0.0)


def _values(area: Area, indicator: str, year: int | None) -> tuple[NDArray[np.float64], str]:
    table = area.indicators
    if indicator not in set(table["indicator"]):
        raise UnknownNameError.of(f"indicator of {area.path}", indicator, table["indicator"].unique())
    rows = table[table["indicator"] == indicator]
    if year is not None:
        rows = rows[rows["year"] == year]
    if (twice := rows["region_id"].duplicated()).any():
        years = ", ".join(map(str, sorted(rows["year"].dropna().unique())))
        raise InputError(f"{indicator!r} has several years ({years}); choose one with --year")
    if rows.empty or twice.all():
        raise InputError(f"{indicator!r} has no values for the year {year}")
    series = rows.set_index("region_id")["value"].reindex(pd.Index(area.regions["region_id"]))
    return series.to_numpy(np.float64), str(rows["unit"].iloc[0])
