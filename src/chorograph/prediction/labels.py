"""A question, and its labels: one indicator, as a share or rate where asked, on the scale that it is fitted on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.ground.arrays import Vector
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.stage import Ledger
from chorograph.prediction.judging.bounds import Bounds
from chorograph.prediction.scales import Scale

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True)
class Question:
    """What is asked of every region: an indicator, of which year, divided by another or not, on which scale.

    `scale` is the name of a scale; `plus` is added before a logarithm. `need` says which end is need: low, high
    or none. `title` names the indicator in plain words, `kind` says what it is (count, mean, share, density):
    empty where nobody did.
    """

    indicator: str
    scale: str = "linear"
    per: str | None = None
    year: int | None = None
    plus: float = 0.0
    need: str = "low"
    title: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Labels:
    """Labels of n regions, NaN where there are none: `own` in `unit`, `fitted` in `fitted_unit`.

    `bounds`: what values the indicator can take, in `unit`.
    """

    own: Vector
    fitted: Vector
    unit: str
    scale: Scale = field(default_factory=Scale)
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def fitted_unit(self) -> str:
        """The unit that the labels are fitted in."""
        return self.scale.unit(self.unit)

    @property
    def known(self) -> NDArray[np.bool_]:
        """(n,) bool: which regions have a label."""
        return np.isfinite(self.fitted)

    def to_own(self, fitted: Vector) -> Vector:
        """Bring values from the fitted unit to the indicator's own (the exponential of a median, no smearing).

        What lies outside the values that the indicator can take is brought to the nearest that it can.
        """
        return self.bounds.hold(self.scale.own(fitted))


def read_labels(area: Area, question: Question, ledger: Ledger) -> Labels:
    """Read an indicator for every region of the area, in the order of `area.regions`.

    Raises `UnknownNameError` for a name that the area does not have, `InputError` where years are ambiguous or no
    label is left. Values that have no place on the scale cannot be used: they are counted in the ledger.
    """
    values, unit = _values(area, question.indicator, question.year)
    if question.per is not None:
        base, base_unit = _values(area, question.per, question.year)
        ledger.drop(f"label without a positive {question.per}", int((np.isfinite(values) & ~(base > 0)).sum()))
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(base > 0, values / base, np.nan)
        unit = f"share of {question.per}" if unit == base_unit else f"{unit} per {base_unit}"
    scale = Scale.of(question.scale, unit, question.plus)
    unusable = scale.unusable(values)
    ledger.drop(scale.reason, int(unusable.sum()))
    own = np.where(unusable, np.nan, values)
    labels = Labels(own, scale.fitted(own), unit, scale, Bounds.of(unit, own))
    if not labels.known.any():
        raise InputError(f"no region of {area.path} has a usable label for {question.indicator!r}")
    return labels


def _values(area: Area, indicator: str, year: int | None) -> tuple[Vector, str]:
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
