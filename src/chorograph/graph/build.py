"""Building an urban knowledge graph from an area's polygons, and points, business areas and flows where they are given.

Each relation is a function that returns pairs of row numbers; thresholds are metres on the sphere. The relations and
their thresholds are those of KnowCL (Liu et al. 2023); `coCheckin` needs visits of single people and is not built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.spatial import KDTree

from chorograph.area.splits import EARTH_RADIUS_M, to_sphere
from chorograph.ground.arrays import Indices, Vector
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd

#: Profiles that are compared at once: bounds the memory of large areas.
_CHUNK = 2000


@dataclass(frozen=True)
class Thresholds:
    """Where relations begin, in metres, as a cosine, and as a number of trips."""

    near_m: float = 1000.0
    service_m: float = 3000.0
    competitive_m: float = 500.0
    similar: float = 0.95
    flow: float = 1.0


@dataclass(frozen=True)
class Sources:
    """What a graph is built from beside the regions; every table is optional.

    `points`: poi, category, lon, lat. `counts`: region_id, poi (a category), count, where there are no points.
    `business_areas`: business_area, lon, lat. `flows`: origin, destination (regions), count.
    """

    points: pd.DataFrame | None = None
    counts: pd.DataFrame | None = None
    business_areas: pd.DataFrame | None = None
    flows: pd.DataFrame | None = None


def border_by(regions: gpd.GeoDataFrame) -> Indices:
    """Return pairs of regions that share a border of some length; a common corner is none."""
    one, other = regions.sindex.query(regions.geometry, predicate="intersects")
    apart = one != other
    one, other = one[apart], other[apart]
    geometry = regions.geometry.to_numpy()
    shared = shapely.intersection(geometry[one], geometry[other])
    # Polygons drawn a little into each other overlap in slivers, which have a length too.
    held = shapely.length(shared) > 0
    return _sorted(one[held], other[held])


def within_m(
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    metres: float,
    others: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
) -> Indices:
    """Return pairs (row, other row) of points at most `metres` apart; without `others`, within one set, both ways."""
    chord = 2 * EARTH_RADIUS_M * np.sin(metres / (2 * EARTH_RADIUS_M))
    here = to_sphere(lon, lat)
    tree = KDTree(here)
    if others is None:
        found = tree.query_pairs(chord, output_type="ndarray").astype(np.int64)
        return _sorted(np.r_[found[:, 0], found[:, 1]], np.r_[found[:, 1], found[:, 0]])
    pairs = tree.sparse_distance_matrix(KDTree(to_sphere(*others)), chord, output_type="coo_matrix")
    return _sorted(pairs.row.astype(np.int64), pairs.col.astype(np.int64))


def located_at(lon: NDArray[np.float64], lat: NDArray[np.float64], regions: gpd.GeoDataFrame) -> Indices:
    """Return pairs (point, region that holds it); a point on a border belongs to the first of its regions."""
    point, region = regions.sindex.query(shapely.points(lon, lat), predicate="intersects")
    pairs = _sorted(point, region)
    return np.asarray(pairs[np.unique(pairs[:, 0], return_index=True)[1]])


def similar_function(profiles: NDArray[np.float64], least: float) -> Indices:
    """Return pairs of rows whose profiles (n, kinds) have a cosine of at least `least`; empty profiles have none."""
    norm = np.linalg.norm(profiles, axis=1)
    held = np.flatnonzero(norm > 0)
    unit = profiles[held] / norm[held, None]
    one, other = [], []
    for start in range(0, len(held), _CHUNK):
        # Rounding must not decide about equal profiles.
        a, b = np.nonzero(unit[start : start + _CHUNK] @ unit.T >= least - 1e-9)
        apart = a + start != b
        one.append(held[a[apart] + start])
        other.append(held[b[apart]])
    return _sorted(np.concatenate([np.empty(0, np.int64), *one]), np.concatenate([np.empty(0, np.int64), *other]))


def flow_transition(flows: pd.DataFrame, region_ids: pd.Series[str], least: float) -> Indices:
    """Return pairs (origin, destination) of different regions whose summed count is at least `least`.

    Raises `InputError` with the row for a region that the area does not have.
    """
    index = pd.Index(region_ids)
    ends = []
    for column in ("origin", "destination"):
        rows = index.get_indexer(pd.Index(flows[column]))
        if (unknown := rows < 0).any():
            row = int(np.flatnonzero(unknown)[0])
            raise InputError(f"flows, row {row + 1}: {column} {flows[column].iloc[row]!r} is no region of the area")
        ends.append(rows)
    number = len(index)
    table = coo_array((flows["count"].to_numpy(np.float64), (ends[0], ends[1])), shape=(number, number)).tocsr().tocoo()
    held = (table.data >= least) & (table.row != table.col)
    return _sorted(table.row[held], table.col[held])


def build_graph(
    regions: gpd.GeoDataFrame, sources: Sources, thresholds: Thresholds
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (triples, entities) of everything that the sources allow.

    Entities are named `KIND:ID`. Regions without geometry take part in flows and profiles only. Raises `InputError`
    where not one fact comes out.
    """
    ids = regions["region_id"]
    region = ("region:" + ids.astype(str)).to_numpy(object)
    parts: list[pd.DataFrame] = []
    entities = [_entities(region, "region", ids.to_numpy(object))]
    shaped = np.flatnonzero(regions.geometry.notna().to_numpy())
    placed = regions.iloc[shaped].reset_index(drop=True)
    if len(placed):
        parts.append(_facts("borderBy", region[shaped], region[shaped], border_by(placed)))
        # The middle of the polygon, also where it lies outside: KnowCL's paper says centres.
        middle = _centres(placed)
        parts.append(_facts("nearBy", region[shaped], region[shaped], within_m(*middle, thresholds.near_m)))
    else:
        middle = (np.empty(0), np.empty(0))
    profiles = None
    if sources.points is not None:
        more, made, profiles = _points(sources.points, placed, region[shaped], len(region), shaped, thresholds)
        parts += more
        entities += made
    elif sources.counts is not None and len(sources.counts):
        wide = sources.counts.pivot_table(index="region_id", columns="poi", values="count", aggfunc="sum", fill_value=0)
        profiles = wide.reindex(pd.Index(ids), fill_value=0).to_numpy(np.float64)
    if profiles is not None:
        parts.append(_facts("similarFunction", region, region, similar_function(profiles, thresholds.similar)))
    if (centres := sources.business_areas) is not None:
        named = ("business_area:" + centres["business_area"].astype(str)).to_numpy(object)
        at = (centres["lon"].to_numpy(np.float64), centres["lat"].to_numpy(np.float64))
        entities.append(_entities(named, "business_area"))
        if len(placed):
            service = within_m(*at, thresholds.service_m, middle)
            parts.append(_facts("provideService", named, region[shaped], service))
        if (points := sources.points) is not None:
            poi = ("poi:" + points["poi"].astype(str)).to_numpy(object)
            where = (points["lon"].to_numpy(np.float64), points["lat"].to_numpy(np.float64))
            parts.append(_facts("belongTo", poi, named, within_m(*where, thresholds.service_m, at)))
    if sources.flows is not None:
        flows = flow_transition(sources.flows, ids, thresholds.flow)
        parts.append(_facts("flowTransition", region, region, flows))
    triples = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    if triples.empty:
        raise InputError(
            "no fact came out: the area has no polygons near each other, no points of interest, no flows; give --poi, "
            "--flows or --business-areas, or larger distances"
        )
    return triples, pd.concat(entities, ignore_index=True)


def _points(
    points: pd.DataFrame,
    placed: gpd.GeoDataFrame,
    region: NDArray[np.object_],
    number: int,
    shaped: Indices,
    thresholds: Thresholds,
) -> tuple[list[pd.DataFrame], list[pd.DataFrame], NDArray[np.float64]]:
    """Return the facts and entities of points of interest, and the profile of categories of all `number` regions."""
    poi = ("poi:" + points["poi"].astype(str)).to_numpy(object)
    codes, categories = pd.factorize(points["category"].astype(str), sort=True)
    category = ("category:" + pd.Series(categories).astype(str)).to_numpy(object)
    lon, lat = points["lon"].to_numpy(np.float64), points["lat"].to_numpy(np.float64)
    at = located_at(lon, lat, placed) if len(placed) else np.empty((0, 2), np.int64)
    profiles = np.zeros((number, len(categories)))
    np.add.at(profiles, (shaped[at[:, 1]], codes[at[:, 0]]), 1.0)
    rivals = _rivals(lon, lat, codes.astype(np.int64), thresholds.competitive_m)
    facts = [
        _facts("locateAt", poi, region, at),
        _facts("cateOf", poi, category, np.stack([np.arange(len(poi)), codes.astype(np.int64)], axis=1)),
        _facts("competitive", poi, poi, rivals),
    ]
    return facts, [_entities(poi, "poi"), _entities(category, "category")], profiles


def _rivals(lon: Vector, lat: Vector, codes: Indices, metres: float) -> Indices:
    """Return pairs of points of one category at most `metres` apart: a category at a time, for a city has millions."""
    pairs = [np.empty((0, 2), np.int64)]
    for code in np.unique(codes):
        rows = np.flatnonzero(codes == code)
        pairs.append(rows[within_m(lon[rows], lat[rows], metres)])
    together = np.concatenate(pairs)
    return _sorted(together[:, 0], together[:, 1])


def _centres(regions: gpd.GeoDataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    middle = shapely.centroid(regions.geometry.to_numpy())
    return shapely.get_x(middle), shapely.get_y(middle)


def _facts(relation: str, heads: NDArray[np.object_], tails: NDArray[np.object_], pairs: Indices) -> pd.DataFrame:
    return pd.DataFrame({"head": heads[pairs[:, 0]], "relation": relation, "tail": tails[pairs[:, 1]]})


def _entities(names: NDArray[np.object_], kind: str, region_ids: NDArray[np.object_] | None = None) -> pd.DataFrame:
    return pd.DataFrame({"entity": names, "kind": kind, "region_id": None if region_ids is None else region_ids})


def _sorted(one: NDArray[np.int64], other: NDArray[np.int64]) -> Indices:
    pairs = np.stack([one, other], axis=1).astype(np.int64)
    return np.asarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])


def counted(triples: pd.DataFrame) -> Mapping[str, int]:
    """Return how many facts each relation has, by name."""
    return {str(name): int(number) for name, number in triples["relation"].value_counts().sort_index().items()}
