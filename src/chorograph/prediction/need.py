"""Which end of an indicator is need: a table of words, and none where no word tells."""

from __future__ import annotations

import re
from typing import Literal

Need = Literal["low", "high", "none"]

#: Words of which more is worse. A word also matches where it begins a longer one: `depriv` is deprivation, deprived.
MORE_IS_NEED = (
    "poverty", "poor", "depriv", "unemploy", "jobless", "crime", "theft", "burglar", "robber", "violen", "homicide",
    "mortality", "death", "disease", "illness", "obes", "diabet", "asthma", "depression", "suicide", "disab", "injur",
    "accident", "vulnerab", "inequal", "gini", "segregat", "overcrowd", "crowding", "homeless", "vacan", "evict",
    "slum", "informal_settlement", "illitera", "dropout", "uninsured", "food_insecur", "malnutri", "stunting", "hunger",
    "pollut", "pm25", "pm2_5", "pm10", "no2", "ozone", "noise", "flood", "hazard", "heat_risk", "heat_exposure",
    "risk", "single_parent", "teen_birth", "teenage", "debt", "arrears", "rent_burden", "cost_burden", "snap",
    "food_stamp", "dependency", "long_commute", "broken",
)  # fmt: skip
#: Words of which less is worse.
LESS_IS_NEED = (
    "income", "wealth", "earning", "salary", "wage", "gdp", "gross_domestic", "asset", "price", "home_value",
    "house_value", "property_value", "land_value", "rent_median", "bachelor", "degree", "graduate", "diploma",
    "educat", "school_attain", "literacy", "literate", "employ", "insured", "life_expectancy", "access", "green",
    "tree_canopy", "canopy", "park_area", "internet", "broadband", "electri", "sanitation", "clean_water",
    "piped_water", "vaccin", "owner_occup", "homeowner", "walkab", "wellbeing", "well_being", "happiness",
    "satisfaction", "rating",
)  # fmt: skip
#: Words that turn what follows round: "no vehicle", "without internet", "lack of access".
_NOT = ("no", "not", "non", "without", "lack", "lacking", "missing", "less", "below", "low", "under", "sans", "absent")
#: What a household is in need without; more of "no vehicle" is need, though more vehicles are not said to be less.
_GOODS = ("vehicle", "car", "toilet", "kitchen", "heating", "computer", "phone", "water", "bath", "health_insurance")
#: What makes a count or a share of anything: never a word of need by itself.
_SPACES = re.compile(r"[^a-z0-9]+")


def need_of(name: str) -> Need:
    """Return which end of an indicator is need, by the words of its name or title.

    `high`: more is worse (poverty, unemployment, crime, households without a vehicle). `low`: less is worse (income,
    prices, education). `none` where no word tells, or words tell opposite things: a map of need is then not drawn.
    """
    words = _SPACES.sub("_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()).strip("_")
    found = {_turned(words, start, "high") for start in _starts(words, MORE_IS_NEED)}
    found |= {_turned(words, start, "low") for start in _starts(words, LESS_IS_NEED)}
    found |= {"high" for start in _starts(words, _GOODS) if _negated(words, start)}
    return "high" if found == {"high"} else "low" if found == {"low"} else "none"


def _starts(words: str, table: tuple[str, ...]) -> list[int]:
    """Return where a word of the table begins a word of the name."""
    return [match.start() for word in table for match in re.finditer(rf"(?:^|(?<=_)){word}", words)]


def _negated(words: str, start: int) -> bool:
    """Return whether one of the two words before a position turns it round."""
    before = words[:start].strip("_").split("_")[-2:]
    return any(word in _NOT for word in before)


def _turned(words: str, start: int, need: str) -> str:
    return ("low" if need == "high" else "high") if _negated(words, start) else need
