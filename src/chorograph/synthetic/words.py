"""What a tile or street view of the synthetic city holds, and sentences that say so.

Facts are counted from the drawn things, never from latents or indicators. A sentence names some of the facts; rough
numbers have fixed meanings (`_ROUGH`), so equal words mean equal counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from chorograph.synthetic.land import RAIL_HALF_WIDTH, RIVER_HALF_WIDTH, TILE, Use
from chorograph.synthetic.scene import Scene
from chorograph.synthetic.things import Thing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Facts:
    """What is visible in a tile. `shares`: of the ground, by use. `things`: number of each thing by kind."""

    shares: dict[Use, float]
    things: dict[Thing, int]
    trees: int
    river: bool
    rail: bool
    arterial: bool

    @classmethod
    def of(cls, scene: Scene) -> Facts:
        """Count the facts of a scene."""
        plan = Image.new("L", (64, 64), 255)
        pen = ImageDraw.Draw(plan)
        for use, outline in scene.blocks:
            pen.polygon((outline / (TILE / 64)).ravel().tolist(), fill=int(use))
        if scene.river is not None:
            pen.line((scene.river / 4).ravel().tolist(), fill=int(Use.WATER), width=int(RIVER_HALF_WIDTH / 2))
        counts = np.bincount(np.asarray(plan).ravel(), minlength=256)
        return cls(
            shares={use: float(counts[use] / 4096) for use in Use},
            things=scene.counts,
            trees=scene.tree_count,
            river=_passes(scene.river, RIVER_HALF_WIDTH - 14),
            rail=_passes(scene.rail, RAIL_HALF_WIDTH - 12),
            arterial=any(rank == 2 and _passes(line, 0.0) for rank, line in scene.streets),
        )

    @property
    def main(self) -> Use:
        """The use of the largest share of the ground."""
        return max(self.shares, key=lambda use: self.shares[use])

    @property
    def detached(self) -> int:
        """Detached houses and villas."""
        return self.things[Thing.HOUSE] + self.things[Thing.VILLA]


_SETTINGS: dict[Use, tuple[str, ...]] = {
    Use.VILLA: ("a suburb of villas on large lots", "a quarter of large detached houses", "a villa quarter"),
    Use.DETACHED: (
        "a neighbourhood of detached houses", "a suburb of single family houses", "an estate of separate houses",
    ),
    Use.TERRACE: (
        "a dense neighbourhood of terraced houses", "streets of row houses", "a residential area of terraces",
    ),
    Use.COURTYARD: (
        "an inner city quarter of closed blocks around courtyards", "dense perimeter blocks with inner courts",
        "old town blocks built around courtyards",
    ),
    Use.SLAB: (
        "a housing estate of apartment slabs", "parallel blocks of flats on lawns", "long apartment blocks",
    ),
    Use.TOWER: ("a high-rise quarter", "tall towers that cast long shadows", "a district of tower blocks"),
    Use.INDUSTRY: ("an industrial area", "a district of factories and warehouses", "halls on concrete yards"),
    Use.COMMERCE: ("a shopping area", "a retail park with flat roofs", "a commercial area of large shops"),
    Use.PARK: ("a park", "a public park with lawns and paths", "parkland"),
    Use.SPORTS: ("a sports ground", "playing fields", "a sports park"),
    Use.FIELD: ("farmland", "open fields at the edge of the city", "fields of crops"),
    Use.FOREST: ("a forest", "dense woodland", "woods"),
    Use.WATER: ("a wide river", "a stretch of river", "open water"),
}  # fmt: skip
_SATELLITE_OPENINGS = (
    "an aerial view of", "a satellite image of", "seen from above,", "an overhead picture of", "this tile shows", "",
)  # fmt: skip
_STREET_OPENINGS = ("a street view of", "seen from the street,", "a photo taken on a street in")

# Upper bound, words for a plural, in the same sense everywhere.
_ROUGH: tuple[tuple[int, tuple[str, ...]], ...] = (
    (2, ("two", "a couple of")),
    (5, ("a few", "a handful of")),
    (9, ("several", "some")),
    (15, ("about a dozen", "around twelve")),
    (27, ("about twenty", "around twenty")),
    (45, ("dozens of", "many")),
    (10**9, ("a great many", "crowds of")),
)

_THINGS: dict[Thing, tuple[tuple[str, str], ...]] = {
    Thing.SLAB: (("apartment slab", "apartment slabs"), ("block of flats", "blocks of flats")),
    Thing.TOWER: (("high-rise tower", "high-rise towers"), ("tower", "towers with long shadows")),
    Thing.HALL: (("industrial hall", "industrial halls"), ("warehouse", "warehouses"), ("factory", "factories")),
    Thing.SHOP: (("large flat roof", "large flat roofs"), ("shop building", "shop buildings")),
    Thing.POOL: (("swimming pool", "swimming pools"), ("pool", "pools"), ("garden pool", "garden pools")),
    Thing.TRUCK: (("lorry", "lorries"), ("truck", "trucks")),
    Thing.PITCH: (("football pitch", "football pitches"), ("football field", "football fields")),
    Thing.TENNIS: (("tennis court", "tennis courts"),),
    Thing.TRACK: (("running track", "running tracks"),),
    Thing.POND: (("pond", "ponds"),),
    Thing.PLAYGROUND: (("playground", "playgrounds"),),
}  # fmt: skip
_CARS = ((4, ("hardly any cars", "empty streets")), (14, ("a few cars", "few parked cars")),
         (35, ("parked cars", "some cars")), (70, ("many cars", "rows of parked cars")),
         (10**9, ("a great many cars", "crowded parking")))  # fmt: skip
_TREES = ((8, ("hardly any trees", "few trees")), (35, ("scattered trees", "some trees")),
          (90, ("many trees", "plenty of trees")), (10**9, ("dense trees", "trees everywhere")))  # fmt: skip
_DETACHED = (("detached house", "detached houses"), ("house with a garden", "houses with gardens"),
             ("single family home", "single family homes"))  # fmt: skip
_ROWS = (("terraced house", "terraced houses"), ("row house", "row houses"))


def rough(number: int, words: Sequence[tuple[str, str]], rng: np.random.Generator) -> str:
    """Say a number of things in rough words; one thing gets its article."""
    singular, plural = words[int(rng.integers(len(words)))]
    if number == 1:
        return f"{'an' if singular[0] in 'aeiou' else 'a'} {singular}" if rng.random() < 0.6 else f"one {singular}"
    quantity = next(choices for limit, choices in _ROUGH if number <= limit)
    return f"{quantity[int(rng.integers(len(quantity)))]} {plural}"


def tile_captions(facts: Facts, rng: np.random.Generator) -> list[str]:
    """Return two or three sentences on a tile; each names another selection of its facts."""
    number = 3 if rng.random() < 0.6 else 2
    return [_sentence(facts, 4 if rank == 0 else 3, rng) for rank in range(number)]


def street_caption(facts: Facts, what: str, rng: np.random.Generator) -> str:
    """Return a sentence on a street view that was drawn from the facts of its tile; `what` stands in it."""
    opening = _STREET_OPENINGS[int(rng.integers(len(_STREET_OPENINGS)))]
    return f"{opening} {_setting(facts.main, rng)}: {what}"


def _sentence(facts: Facts, most: int, rng: np.random.Generator) -> str:
    main = facts.main
    opening = _SATELLITE_OPENINGS[int(rng.integers(len(_SATELLITE_OPENINGS)))]
    buildings, pools, telling, other = _phrases(facts, rng)
    rng.shuffle(telling)
    rng.shuffle(other)
    chosen = [*buildings[:1], *pools, *telling, *buildings[1:2]][:most]
    chosen += other[: max(1, most - len(chosen))]
    setting = _setting(main, rng)
    second = sorted((use for use in Use if use != main and facts.shares[use] > 0.15), key=lambda u: -facts.shares[u])
    if second and rng.random() < 0.5:
        setting += f" beside {_setting(second[0], rng)}"
    start = f"{opening} {setting}".strip()
    if rng.random() < 0.65 or not opening:
        return f"{start} with {_join(chosen)}"
    return f"{_join(chosen)} in {setting}" if rng.random() < 0.5 else f"{start}, {_join(chosen)}"


def _phrases(facts: Facts, rng: np.random.Generator) -> tuple[list[str], list[str], list[str], list[str]]:
    """Return phrases on buildings, the commonest first; on pools; on what else is special here; on the rest."""
    things = facts.things
    kinds = [(facts.detached * 3, facts.detached, _DETACHED), (things[Thing.ROW] * 2, things[Thing.ROW], _ROWS)]
    kinds += [
        (things[thing] * weight, things[thing], _THINGS[thing])
        for thing, weight in ((Thing.SLAB, 9), (Thing.TOWER, 14), (Thing.HALL, 20), (Thing.SHOP, 12))
    ]
    buildings = [rough(n, words, rng) for _, n, words in sorted(kinds, key=lambda k: -k[0]) if n]
    telling = [
        rough(things[thing], _THINGS[thing], rng)
        for thing in (Thing.PITCH, Thing.TENNIS, Thing.TRACK, Thing.POND, Thing.TRUCK)
        if things[thing]
    ]
    pools = []
    if things[Thing.POOL]:
        pools.append(rough(things[Thing.POOL], _THINGS[Thing.POOL], rng))
    elif facts.detached >= 5 and rng.random() < 0.6:
        pools.append(_pick(("no swimming pools", "no pools", "gardens without pools"), rng))
    if things[Thing.SOLAR] >= 2:
        where = "roofs" if rng.random() < 0.5 else "houses" if facts.detached else "roofs"
        telling.append(rough(things[Thing.SOLAR], ((f"{where} with solar panels",) * 2,), rng))
    if facts.river and facts.main != Use.WATER:
        telling.append(_pick(("a river", "a wide river", "a river bank"), rng))
    if facts.rail:
        telling.append(_pick(("a railway line", "railway tracks", "a railway"), rng))
    other = [_amount(things[Thing.CAR], _CARS, rng)]
    other.append(_amount(facts.trees, _TREES, rng))
    if facts.arterial:
        other.append(_pick(("a wide main road", "an arterial road", "a busy avenue"), rng))
    if things[Thing.PLAYGROUND]:
        other.append(rough(things[Thing.PLAYGROUND], _THINGS[Thing.PLAYGROUND], rng))
    return buildings, pools, telling, other


def _setting(use: Use, rng: np.random.Generator) -> str:
    return _pick(_SETTINGS[use], rng)


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _amount(number: int, scale: Sequence[tuple[int, Sequence[str]]], rng: np.random.Generator) -> str:
    return _pick(next(words for limit, words in scale if number <= limit), rng)


def _join(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _passes(line: NDArray[np.float64] | None, reach: float) -> bool:
    return line is not None and bool(((line > -reach) & (line < TILE + reach)).all(1).any())
