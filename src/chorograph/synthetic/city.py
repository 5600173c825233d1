"""The synthetic city as an area: a city made from a seed, whose best attainable scores are known.

The city stands in the open ocean where the equator meets the Greenwich meridian (longitude 0, latitude 0, Gulf of
Guinea), so that nobody takes it for a real place. Everything says that it is synthetic.

Indicators are made from what can be seen in a region's tiles: the logarithm is a linear function of counts of drawn
things, averaged over the region's tiles, plus normal noise of known spread. `attainable_r2` is one minus the squared
noise that was really drawn over the total squared deviation, on that logarithmic scale, over the labelled regions: the
score of a model that sees everything and has only the noise against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area, Source
from chorograph.area.tiles import tile_centre
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.stage import Progress, silent
from chorograph.synthetic.draw import draw_tile
from chorograph.synthetic.land import CELL, ORIGIN_TILE, TILE, ZOOM, Land
from chorograph.synthetic.scene import Scene, look
from chorograph.synthetic.street import StreetView, draw_street
from chorograph.synthetic.things import METRES, Thing
from chorograph.synthetic.words import Facts, street_caption, tile_captions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

SOURCE, LICENCE = "synthetic", "CC0-1.0"
#: Share of regions without labels (whole neighbourhoods) and without images.
UNLABELLED, UNSEEN = 0.15, 0.025


@dataclass(frozen=True)
class SyntheticCityConfig:
    """What decides a synthetic city. Regions with fewer tiles than asked for give what they have."""

    regions: int = 240
    tiles_per_region: int = 5
    street_views_per_region: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers; `InputError` where one makes no city."""
        if self.regions < 2 or self.tiles_per_region < 1 or self.street_views_per_region < 0 or self.seed < 0:
            raise InputError(
                f"a synthetic city has 2 regions or more, a tile or more a region and a seed from 0; got {self}"
            )


@dataclass(frozen=True)
class SyntheticCity:
    """A planned city: the tables of an area (`uri` and `sha256` still empty), and its images, drawn when asked for."""

    config: SyntheticCityConfig
    regions: gpd.GeoDataFrame
    images: pd.DataFrame
    captions: pd.DataFrame
    indicators: pd.DataFrame
    poi_counts: pd.DataFrame
    triples: pd.DataFrame
    entities: pd.DataFrame
    attainable_r2: Mapping[str, float]
    scenes: Mapping[str, Scene]
    views: Mapping[str, StreetView]

    @property
    def title(self) -> str:
        """The title that every report of this city carries."""
        return f"Synthetic city (seed {self.config.seed})"

    def draw(self, image_id: str) -> NDArray[np.uint8]:
        """Return an image: (256, 256, 3) for a tile, (192, 256, 3) for a street view."""
        if image_id in self.scenes:
            return draw_tile(self.scenes[image_id], self.config.seed)
        if image_id in self.views:
            return draw_street(self.views[image_id])
        raise UnknownNameError.of("image", image_id, [*self.scenes, *self.views])


@dataclass(frozen=True)
class _Place:
    """A tile with what was counted in it."""

    image_id: str
    scene: Scene
    facts: Facts


def plan_city(config: SyntheticCityConfig) -> SyntheticCity:
    """Plan a city: where everything stands, what is said of it and what it amounts to; nothing is drawn yet."""
    land = Land.plan(config.seed, config.regions)
    rng = np.random.default_rng([config.seed, 10])
    regions = _regions(land, config.regions, rng)
    ids = regions["region_id"].tolist()
    places = _places(land, regions, config.tiles_per_region, rng)
    lon, lat = (np.array(values) for values in zip(*(_centre(geometry) for geometry in regions.geometry), strict=True))
    labelled = ~_clusters(lon, lat, UNLABELLED, rng)
    seen = np.ones(len(ids), dtype=bool)
    if len(ids) >= 20:
        seen[rng.choice(len(ids), max(1, round(UNSEEN * len(ids))), replace=False)] = False
    indicators, attainable = _indicators(regions, places, labelled, rng)
    poi_counts = _poi_counts(ids, places, rng)
    triples, entities = _graph(land, ids, lon, lat, poi_counts)
    images: list[tuple[Any, ...]] = []
    captions, scenes, views = [], {}, {}
    for region_id, tiles in zip(np.array(ids)[seen].tolist(), np.array(places, dtype=object)[seen], strict=True):
        for place in tiles:
            x, y = place.scene.x + ORIGIN_TILE, place.scene.y + ORIGIN_TILE
            images.append((place.image_id, region_id, "satellite", *_lon_lat(x, y), ZOOM, x, y))
            scenes[place.image_id] = place.scene
            said = tile_captions(place.facts, _generator(config.seed, place.image_id))
            captions += [(place.image_id, rank, caption) for rank, caption in enumerate(said)]
        for number in range(config.street_views_per_region):
            place = tiles[number % len(tiles)]
            image_id = f"street_{region_id}_{number + 1}"
            own = _generator(config.seed, image_id)
            views[image_id] = StreetView.of(place.facts, int(own.integers(2**31)), own)
            x, y = place.scene.x + ORIGIN_TILE, place.scene.y + ORIGIN_TILE
            images.append((image_id, region_id, "street", *_lon_lat(x, y), None, None, None))
            captions.append((image_id, 0, street_caption(place.facts, views[image_id].what, own)))
    return SyntheticCity(
        config=config,
        regions=regions,
        images=pd.DataFrame(images, columns=["image_id", "region_id", "view", "lon", "lat", "zoom", "x", "y"]).assign(
            source=SOURCE, licence=LICENCE
        ),
        captions=pd.DataFrame(
            {
                "caption_id": [f"{image_id}#{rank}" for image_id, rank, _ in captions],
                "image_id": [image_id for image_id, _, _ in captions],
                "rank": [rank for _, rank, _ in captions],
                "caption": [caption for _, _, caption in captions],
                "origin": "template",
            }
        ),
        indicators=indicators,
        poi_counts=poi_counts,
        triples=triples,
        entities=entities,
        attainable_r2=attainable,
        scenes=scenes,
        views=views,
    )


def build_synthetic(config: SyntheticCityConfig, out: Path, progress: Progress = silent) -> Area:
    """Draw a synthetic city and write it as an area at `out`."""
    city = plan_city(config)
    sources = [Source(SOURCE, LICENCE, "drawn by chorograph from a seed; no real place")]
    facts = {"attainable_r2": dict(city.attainable_r2)}
    with AreaDraft(out, out.resolve().name, city.title, sources=sources, synthetic=True, facts=facts) as draft:
        held = []
        for number, image_id in enumerate(city.images["image_id"], start=1):
            held.append(draft.write_image(image_id, city.draw(image_id)))
            progress("drawing", number, len(city.images))
        uris, digests = zip(*held, strict=True)
        draft.write("regions", city.regions)
        draft.write("images", city.images.assign(uri=uris, sha256=digests))
        for table in ("captions", "indicators", "poi_counts", "triples", "entities"):
            draft.write(table, getattr(city, table))
    return Area.open(out)


_FIRST = ("Alder", "Amber", "Ash", "Birch", "Brook", "Cedar", "Chapel", "Elm", "Fern", "Ford", "Garden", "Hazel",
          "Linden", "Maple", "Meadow", "Mill", "Orchard", "Poplar", "Rowan", "Sparrow", "Willow")  # fmt: skip
_SECOND = ("Bank", "Corner", "Court", "Cross", "Field", "Gate", "Green", "Heath", "Hill", "Lane", "Mead", "Park",
           "Rise", "Row", "Side", "Vale", "Yard")  # fmt: skip
_DISTRICTS = ("Old Town", "Eastfield", "Southbank", "Westhill", "Northgate")


def _regions(land: Land, number: int, rng: np.random.Generator) -> gpd.GeoDataFrame:
    """Return the regions: polygons that follow streets, with names and one of five districts each."""
    names = [f"{first} {second}" for first in _FIRST for second in _SECOND]
    order = rng.permutation(len(names))
    width = len(str(number))
    rows = []
    for region in range(number):
        cells = shapely.box(*np.array(land.region_rectangles(region), dtype=np.float64).T)
        straight = shapely.segmentize(shapely.union_all(cells), CELL / 4)
        shape = shapely.transform(straight, lambda points: _to_degrees(land.warp.to_world(points)))
        around, name = divmod(region, len(names))
        rows.append((f"R{region + 1:0{width}d}", names[order[name]] + (f" {around + 1}" if around else ""), shape))
    frame = gpd.GeoDataFrame(rows, columns=["region_id", "name", "geometry"], geometry="geometry", crs=4326)
    centres = np.array([_centre(geometry) for geometry in frame.geometry])
    offset = centres - centres.mean(0)
    quarter = (np.round(np.arctan2(offset[:, 1], offset[:, 0]) / (np.pi / 2)).astype(int)) % 4
    inner = np.hypot(*offset.T) < np.quantile(np.hypot(*offset.T), 0.2)
    frame["group"] = [
        _DISTRICTS[0] if central else {0: "Eastfield", 1: "Northgate", 2: "Westhill", 3: "Southbank"}[side]
        for central, side in zip(inner.tolist(), quarter.tolist(), strict=True)
    ]
    return frame[["region_id", "name", "group", "geometry"]]


def _to_degrees(world: Floats) -> Floats:
    """Return lon, lat of world pixels: the inverse of Web Mercator (see `chorograph.area.tiles`)."""
    share = world / (TILE * 2**ZOOM)  # of the world's width, from lon 0, lat 0
    return np.column_stack([360 * share[:, 0], np.degrees(np.arctan(np.sinh(-2 * np.pi * share[:, 1])))])


def _centre(geometry: Any) -> tuple[float, float]:
    point = geometry.representative_point()
    return float(point.x), float(point.y)


def _lon_lat(x: int, y: int) -> tuple[float, float]:
    lon, lat = tile_centre(x, y, ZOOM)
    return float(lon), float(lat)


def _places(land: Land, regions: gpd.GeoDataFrame, most: int, rng: np.random.Generator) -> list[list[_Place]]:
    """Choose tiles whose centre lies in each region, at random, and look at them."""
    places = []
    for geometry in regions.geometry:
        west, south, east, north = (value * TILE * 2**ZOOM / 360 / TILE for value in geometry.bounds)
        x, y = np.meshgrid(np.arange(math.floor(west), math.ceil(east) + 1),
                           np.arange(math.floor(-north) - 1, math.ceil(-south) + 2))  # fmt: skip
        lon, lat = tile_centre(x.ravel() + ORIGIN_TILE, y.ravel() + ORIGIN_TILE, ZOOM)
        inside = np.flatnonzero(shapely.contains_xy(geometry, lon, lat))
        chosen = np.sort(rng.choice(inside, min(most, len(inside)), replace=False))
        tiles = []
        for index in chosen.tolist():
            scene = look(land, int(x.flat[index]), int(y.flat[index]))
            image_id = f"{ZOOM}_{scene.x + ORIGIN_TILE}_{scene.y + ORIGIN_TILE}"
            tiles.append(_Place(image_id, scene, Facts.of(scene)))
        places.append(tiles)
    return places


def _clusters(lon: Floats, lat: Floats, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mark about `share` of the points, as a few neighbourhoods."""
    marked = np.zeros(len(lon), dtype=bool)
    target = round(share * len(lon))
    each = max(1, round(target / 4))
    while marked.sum() < target:
        middle = int(rng.integers(len(lon)))
        nearest = np.argsort(np.hypot(lon - lon[middle], lat - lat[middle]))[: min(each, target - int(marked.sum()))]
        marked[nearest] = True
    return marked


def _generator(seed: int, name: str) -> np.random.Generator:
    """Return the generator of one image: other images do not change what it draws."""
    return np.random.default_rng([seed, 11, *name.encode()])


# Indicators. Each takes a tile's scene and facts; the average over a region's tiles is the region's true value, on the
# scale that the indicator's formula then uses.


def people(scene: Scene) -> float:
    """Return how many people live in a tile: by household in houses, by floor space in flats."""
    homes = 2.9 * scene.counts[Thing.HOUSE] + 3.1 * scene.counts[Thing.VILLA] + 2.4 * scene.counts[Thing.ROW]
    return homes + scene.floor_area(Thing.SLAB, Thing.TOWER, Thing.COURT) / 80


def prosperity(facts: Facts) -> float:
    """Return the logarithm of a tile's income, but for a constant.

    Pools raise it, and so do towers, closed town blocks and, a little, detached houses, solar roofs and tennis courts;
    slabs, rows, halls, lorries and a railway lower it. Kinds of buildings with like roofs pull in opposite directions,
    and painted roofs have the colours of pools, so that the colours of a tile tell only a part.
    """
    weights = {
        Thing.POOL: 0.20, Thing.TOWER: 0.16, Thing.COURT: 0.12, Thing.TENNIS: 0.08, Thing.SOLAR: 0.03,
        Thing.SLAB: -0.32, Thing.ROW: -0.18, Thing.HALL: -0.14, Thing.TRUCK: -0.05,
    }  # fmt: skip
    score = sum(weight * math.log1p(facts.things[thing]) for thing, weight in weights.items())
    return score + 0.05 * math.log1p(facts.detached) - 0.12 * facts.rail


def emissions(scene: Scene, facts: Facts) -> float:
    """Return a tile's carbon dioxide in tonnes a year: heating of floor space, industry, cars and main roads."""
    homes = scene.floor_area(Thing.HOUSE, Thing.VILLA, Thing.ROW, Thing.SLAB, Thing.TOWER, Thing.COURT)
    return (
        0.010 * homes
        + 0.060 * scene.area(Thing.SHOP)
        + 0.110 * scene.area(Thing.HALL)
        + 1.9 * facts.things[Thing.CAR]
        + 9.0 * facts.things[Thing.TRUCK]
        + 45.0 * facts.arterial
    )


_TILE_KM2 = (TILE * METRES / 1000) ** 2
#: Spread of the noise on the logarithm, by indicator.
NOISE = {"population_density": 0.18, "population": 0.18, "median_income": 0.075, "carbon": 0.16}
UNITS = {
    "population_density": "people/km²", "population": "people", "median_income": "crowns/year",
    "carbon": "t CO₂/km²/year",
}  # fmt: skip


def _indicators(
    regions: gpd.GeoDataFrame, places: list[list[_Place]], labelled: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[pd.DataFrame, dict[str, float]]:
    def mean(measure: Callable[[_Place], float]) -> Floats:
        return np.array([np.mean([measure(place) for place in tiles]) for tiles in places])

    # A few people and some smoke everywhere: a logarithm needs them, and so does farmland.
    density = np.log(mean(lambda p: people(p.scene)) / _TILE_KM2 + 25.0)
    km2 = regions.geometry.to_crs("ESRI:54034").area.to_numpy() / 1e6  # cylindrical equal area
    shared = rng.normal(0, 1, len(regions))  # the same error in both: counts are wrong, areas are not
    truth = {
        "population_density": (density, shared),
        "population": (density + np.log(km2), shared),
        "median_income": (math.log(38_000.0) + mean(lambda p: prosperity(p.facts)), rng.normal(0, 1, len(regions))),
        "carbon": (
            np.log(mean(lambda p: emissions(p.scene, p.facts)) / _TILE_KM2 + 150.0),
            rng.normal(0, 1, len(regions)),
        ),
    }
    frames, attainable = [], {}
    for name, (signal, draw) in truth.items():
        noise = NOISE[name] * draw
        value = signal + noise
        total = ((value[labelled] - value[labelled].mean()) ** 2).sum()
        attainable[name] = round(float(1 - (noise[labelled] ** 2).sum() / total), 4)
        frames.append(
            pd.DataFrame(
                {
                    "region_id": regions["region_id"][labelled].to_numpy(),
                    "indicator": name,
                    "value": np.exp(value[labelled]),
                    "unit": UNITS[name],
                    "source": SOURCE,
                }
            )
        )
    return pd.concat(frames, ignore_index=True), attainable


# Expected number in a region by kind: a constant, and how many for each thing seen in a tile.
_POI: dict[str, tuple[float, dict[Thing, float]]] = {
    "school": (0.5, {Thing.HOUSE: 0.03, Thing.SLAB: 0.2, Thing.ROW: 0.03}),
    "restaurant": (0.3, {Thing.COURT: 0.2, Thing.SHOP: 0.5, Thing.TOWER: 0.5}),
    "cafe": (0.2, {Thing.COURT: 0.15, Thing.TOWER: 0.5}),
    "supermarket": (0.4, {Thing.SHOP: 0.8, Thing.SLAB: 0.2}),
    "clinic": (0.3, {Thing.COURT: 0.03, Thing.SLAB: 0.1}),
    "office": (0.2, {Thing.TOWER: 1.2, Thing.COURT: 0.06}),
    "factory": (0.0, {Thing.HALL: 1.6}),
    "car_repair": (0.2, {Thing.HALL: 0.5, Thing.SHOP: 0.3}),
    "sports_club": (0.1, {Thing.PITCH: 1.5, Thing.TENNIS: 0.5}),
    "park": (0.4, {Thing.POND: 1.0, Thing.PLAYGROUND: 0.6}),
    "place_of_worship": (0.6, {Thing.COURT: 0.03}),
    "bus_stop": (2.0, {Thing.ROW: 0.08, Thing.SLAB: 0.5, Thing.COURT: 0.12, Thing.HOUSE: 0.03}),
}


def _poi_counts(ids: list[str], places: list[list[_Place]], rng: np.random.Generator) -> pd.DataFrame:
    """Draw points of interest: numbers that follow what stands in the region, with Poisson noise."""
    rows = []
    for region_id, tiles in zip(ids, places, strict=True):
        for poi, (base, rates) in _POI.items():
            seen = sum(rate * np.mean([p.facts.things[thing] for p in tiles]) for thing, rate in rates.items())
            rows.append((region_id, poi, int(rng.poisson(base + seen))))
    return pd.DataFrame(rows, columns=["region_id", "poi", "count"])


def _graph(
    land: Land, ids: list[str], lon: Floats, lat: Floats, poi_counts: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return triples and entities: borders, three near regions that do not border, points of interest and kinds."""
    pairs: set[tuple[int, int]] = set()
    for first, second in ((land.region[:, :-1], land.region[:, 1:]), (land.region[:-1], land.region[1:])):
        beside = (first != second) & (first >= 0) & (second >= 0)
        pairs |= set(zip(first[beside].tolist(), second[beside].tolist(), strict=True))
    borders = pairs | {(b, a) for a, b in pairs}
    facts = [(f"region:{ids[a]}", "borderBy", f"region:{ids[b]}") for a, b in sorted(borders)]
    for a in range(len(ids)):
        order = np.argsort(np.hypot(lon - lon[a], lat - lat[a]), kind="stable").tolist()
        near = [b for b in order if b != a and (a, b) not in borders][:3]
        facts += [(f"region:{ids[a]}", "nearBy", f"region:{ids[b]}") for b in near]
    entities: list[tuple[str, str, str | None]] = [(f"region:{name}", "region", name) for name in ids]
    entities += [(f"category:{poi}", "category", None) for poi in _POI]
    for region_id, poi, count in poi_counts.itertuples(index=False, name=None):
        for number in range(count):
            entity = f"poi:{region_id}:{poi}:{number + 1}"
            entities.append((entity, "poi", region_id))
            facts.append((entity, "locateAt", f"region:{region_id}"))
            facts.append((entity, "cateOf", f"category:{poi}"))
    return (
        pd.DataFrame(facts, columns=["head", "relation", "tail"]),
        pd.DataFrame(entities, columns=["entity", "kind", "region_id"]),
    )
