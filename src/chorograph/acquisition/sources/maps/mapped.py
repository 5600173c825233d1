"""What a map of roads, buildings and places says of regions: counts, measures, and what is drawn around them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from chorograph.acquisition.own.regions import region_at
from chorograph.area.middle import equal_area
from chorograph.ground.arrays import Indices, Vector

if TYPE_CHECKING:
    from chorograph.ground.stage import Ledger

Bounds = tuple[float, float, float, float]

#: Classes of roads for cars, by rank: what is drawn first, and what is a main road (1 to 3).
RANKS = {
    "motorway": 1, "trunk": 1, "primary": 2, "secondary": 3, "tertiary": 4,
    "unclassified": 6, "residential": 6, "living_street": 6,
}  # fmt: skip
_MAIN, _DRAWN = 3, 4
#: Ranks of named places, by their size.
PLACES = {
    "city": 1, "town": 2, "borough": 3, "suburb": 3, "village": 3, "quarter": 4, "neighbourhood": 4,
    "hamlet": 5, "locality": 5, "macrohood": 4, "neighborhood": 4,
}  # fmt: skip
#: Lines and polygons that are drawn are simplified to this many degrees, about ten metres.
_SIMPLE_DEG = 1e-4


@dataclass(frozen=True)
class Mapped:
    """What a map holds near an area, in EPSG:4326.

    `places`: place (an id), category, name, lon, lat. `roads`: feature, category (a class of `RANKS`), name, geometry.
    `buildings`: their outlines. `drawn`: feature, kind (water or place), rank, name, geometry. None: the map was not
    asked for it, or says nothing of such things. `extent`: what the map covers, None where it does not say.
    """

    places: pd.DataFrame | None = None
    roads: pd.DataFrame | None = None
    buildings: NDArray[np.object_] | None = None
    drawn: pd.DataFrame | None = None
    extent: Bounds | None = None
    year: int | None = None
    facts: dict[str, Any] = field(default_factory=dict)


def window_of(regions: gpd.GeoDataFrame, margin: float = 0.0) -> list[Bounds]:
    """Return the rectangles that regions lie in, two where they lie on both sides of the date line."""
    bounds = shapely.bounds(shapely.get_parts(regions.geometry[regions.geometry.notna()].to_numpy()))
    (west, south), (east, north) = bounds[:, :2].min(0).tolist(), bounds[:, 2:].max(0).tolist()
    sides = [bounds]
    if east - west > 180:
        sides = [bounds[bounds[:, 0] < 0], bounds[bounds[:, 0] >= 0]]
    return [
        (side[:, 0].min() - margin, south - margin, side[:, 2].max() + margin, north + margin)
        for side in sides
        if len(side)
    ]


def counted_places(places: pd.DataFrame, regions: gpd.GeoDataFrame, ledger: Ledger) -> pd.DataFrame:
    """Return region_id, poi (the category) and count of the places that lie in a region."""
    found, _ = region_at(places["lon"], places["lat"], regions)
    inside = found.notna().to_numpy()
    ledger.count("places in a region", int(inside.sum()))
    ledger.count("places around", int((~inside).sum()))
    rows = pd.DataFrame(
        {"region_id": found[inside].to_numpy(object), "poi": places["category"].to_numpy(object)[inside]}
    )
    return rows.groupby(["region_id", "poi"], sort=True).size().rename("count").reset_index()


def measures(found: Mapped, regions: gpd.GeoDataFrame, ledger: Ledger) -> pd.DataFrame:
    """Return region_id, indicator, value and unit of what roads and buildings come to in each region.

    `road_density` and `main_road_density` (km/km²: the length of roads for cars that lies in a region, of motorways to
    secondary roads, by its area), `building_count` (those whose middle lies in it), `building_density` (buildings/km²)
    and `building_cover` (the share of its area under their outlines). A region that reaches out of the map's extent has
    none: what is not mapped there is not zero.
    """
    held = regions[regions.geometry.notna()].reset_index(drop=True)
    covered = _within(held, found.extent)
    ledger.drop("region outside of the map, without measures", int((~covered).sum()))
    projection = equal_area(held)
    flat = held.geometry.to_crs(projection).to_numpy()
    km2 = shapely.area(flat) / 1e6
    columns: dict[tuple[str, str], Vector] = {}
    if found.roads is not None:
        lines = gpd.GeoSeries(found.roads["geometry"].to_numpy(), crs=4326).to_crs(projection).to_numpy()
        rank = found.roads["category"].map(RANKS).to_numpy(np.int64)
        for name, chosen in (("road_density", rank > 0), ("main_road_density", rank <= _MAIN)):
            columns[name, "km/km²"] = _lengths(lines[chosen], flat) / 1000 / km2
    if found.buildings is not None:
        outlines = gpd.GeoSeries(found.buildings, crs=4326).to_crs(projection).to_numpy()
        outlines = np.where(shapely.is_valid(outlines), outlines, shapely.make_valid(outlines))
        number = _middles(outlines, flat)
        columns["building_count", "buildings"] = number
        columns["building_density", "buildings/km²"] = number / km2
        columns["building_cover", "share"] = np.minimum(_areas(outlines, flat) / 1e6 / km2, 1.0)
    parts = [
        pd.DataFrame({"region_id": held["region_id"], "indicator": name, "value": values, "unit": unit})[covered]
        for (name, unit), values in columns.items()
    ]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


#: How the measures are joined over areas.
KINDS = {
    "road_density": "density", "main_road_density": "density", "building_count": "count",
    "building_density": "density", "building_cover": "share",
}  # fmt: skip


def context(found: Mapped) -> pd.DataFrame:
    """Return what is drawn around regions: main roads, water and names, simplified.

    Columns: feature, kind, rank, name, geometry.
    """
    parts = [] if found.drawn is None else [found.drawn]
    if found.roads is not None and len(found.roads):
        rank = found.roads["category"].map(RANKS)
        main = found.roads[rank <= _DRAWN]
        parts.append(main.assign(kind="road", rank=rank)[["feature", "kind", "rank", "name", "geometry"]])
    if not parts:
        return pd.DataFrame()
    frame = pd.concat(parts, ignore_index=True)
    simple = shapely.simplify(frame["geometry"].to_numpy(), _SIMPLE_DEG)
    valid = ~shapely.is_empty(simple) & shapely.is_valid(simple)
    frame["geometry"] = np.where(valid, simple, frame["geometry"].to_numpy())
    return frame.drop_duplicates("feature").reset_index(drop=True)


def _within(regions: gpd.GeoDataFrame, extent: Bounds | None) -> NDArray[np.bool_]:
    """Return which regions lie in the extent of a map, to a thousandth of a degree; all where it says none."""
    if extent is None:
        return np.ones(len(regions), dtype=bool)
    west, south, east, north = extent
    bounds = shapely.bounds(regions.geometry.to_numpy())
    over = np.array([west, south, -east, -north]) - 1e-3
    return np.asarray((bounds * [1, 1, -1, -1] >= over).all(1))


def _pairs(features: NDArray[np.object_], regions: NDArray[np.object_]) -> tuple[Indices, Indices]:
    region, feature = shapely.STRtree(features).query(regions, predicate="intersects")
    return region, feature


def _lengths(lines: NDArray[np.object_], regions: NDArray[np.object_]) -> Vector:
    region, line = _pairs(lines, regions)
    shared = shapely.length(shapely.intersection(lines[line], regions[region]))
    return np.bincount(region, weights=shared, minlength=len(regions)).astype(np.float64)


def _areas(polygons: NDArray[np.object_], regions: NDArray[np.object_]) -> Vector:
    region, polygon = _pairs(polygons, regions)
    shared = shapely.area(shapely.intersection(polygons[polygon], regions[region]))
    return np.bincount(region, weights=shared, minlength=len(regions)).astype(np.float64)


def _middles(polygons: NDArray[np.object_], regions: NDArray[np.object_]) -> Vector:
    region, polygon = _pairs(shapely.point_on_surface(polygons), regions)
    _, first = np.unique(polygon, return_index=True)  # one on a border counts once
    return np.bincount(region[first], minlength=len(regions)).astype(np.float64)
