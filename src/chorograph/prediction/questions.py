"""The questions of a run: indicators as they are described, as settings overrule, or guessed where nobody said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import skew

from chorograph.area.descriptions import Description, read_descriptions
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger
from chorograph.prediction.labels import Question
from chorograph.prediction.need import need_of
from chorograph.prediction.settings import TaskSettings

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: Above this skewness values are called skewed; of a lognormal with a spread of a third it is about 1.
_SKEWED = 1.0
#: Fewer values than this say nothing of their distribution.
_FEWEST = 10


def make_question(
    area: Area, indicator: str, settings: TaskSettings, ledger: Ledger, neediest: str | None = None
) -> Question:
    """Return the question that is asked of an indicator.

    A setting overrules the area's description, which overrules a guess from the values; a guess is a warning in the
    ledger, so that it is never silent.
    """
    said = read_descriptions(area).get(indicator, Description())
    per = settings.per or said.per
    if per == "none":
        per = None
    scale = "log" if settings.log else settings.scale or said.scale
    if scale is None:
        values, unit = _values(area, indicator)
        scale = guess_scale(values, unit) if per is None else "linear"
        if scale != "linear":
            ledger.warnings.append(
                "all values are positive and skewed, so their logarithm is fitted; --scale linear, or `chorograph area "
                f"describe AREA {indicator}=scale:linear`, says otherwise"
            )
    plus = settings.plus if settings.log else 0.0
    need = neediest or said.need or need_of(indicator)
    return Question(indicator, scale, per, settings.year, plus, need, said.title or "", said.kind or "")


def indicators_asked(area: Area, indicators: Sequence[str]) -> list[str]:
    """Return the indicators named, or every one that the area has.

    Raises `InputError` where the area has none, or one is named twice.
    """
    named = list(indicators) or sorted(area.indicators["indicator"].unique())
    if not named:
        raise InputError(f"{area.path} has no indicators; `chorograph area build --indicators FILE` takes them in")
    if twice := [name for name in named if named.count(name) > 1]:
        raise InputError(f"options: --indicator {twice[0]} is given twice")
    return named


def guess_scale(values: NDArray[np.float64], unit: str) -> str:
    """Return `log` for values (n,) that are all positive, skewed, and less so as logarithms; `linear` for others.

    A percentage or share is taken as it is: its order of magnitude means little.
    """
    known = values[np.isfinite(values)]
    if unit.strip().lower().startswith(("%", "per cent", "percent", "share")):
        return "linear"
    if len(known) < _FEWEST or known.min() <= 0 or np.ptp(known) == 0:
        return "linear"
    crooked = abs(float(skew(np.log(known)))) < float(skew(known))
    return "log" if skew(known) > _SKEWED and crooked else "linear"


def _values(area: Area, indicator: str) -> tuple[NDArray[np.float64], str]:
    table = area.indicators
    rows = table[table["indicator"] == indicator]
    return rows["value"].to_numpy(np.float64), "" if rows.empty else str(rows["unit"].iloc[0])
