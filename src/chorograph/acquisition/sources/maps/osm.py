"""OpenStreetMap files (`.osm.pbf`): places, roads, buildings, and what is drawn around regions.

The file is read as a stream, twice; the places of its nodes are held in memory (an extract of a city, not the planet).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from chorograph.acquisition.sources.maps.mapped import PLACES, RANKS, Bounds, Mapped, window_of
from chorograph.ground.errors import InputError, MissingExtraError
from chorograph.ground.files import check_regular

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.ground.stage import Ledger

SUFFIXES = (".osm.pbf", ".osm", ".osm.gz", ".osm.bz2")
#: Tags that make a thing a place; its category is `key=value`.
KEYS = ("amenity", "shop", "leisure", "tourism", "office", "healthcare", "craft", "historic", "public_transport")
#: What those keys say that is no place of interest: street furniture, parts of a place.
_FURNITURE = {
    "amenity=bench", "amenity=waste_basket", "amenity=parking_space", "amenity=bicycle_parking",
    "amenity=vending_machine", "amenity=parking_entrance", "amenity=hunting_stand", "leisure=picnic_table",
    "leisure=firepit", "public_transport=stop_position", "public_transport=platform", "public_transport=stop_area",
    "tourism=information",
}  # fmt: skip
_WATERWAYS = {"river": 2, "canal": 3}
#: How far the first node of a line or outline may lie from the regions, in degrees.
_MARGIN = 0.5


@dataclass
class _Held:
    """What was kept so far, geometries as WKB in hexadecimal digits."""

    places: list[tuple[Any, ...]] = field(default_factory=list)
    roads: list[tuple[Any, ...]] = field(default_factory=list)
    buildings: list[str] = field(default_factory=list)
    drawn: list[tuple[Any, ...]] = field(default_factory=list)


def is_osm(path: Path) -> bool:
    """Return whether a file is called as files of OpenStreetMap are."""
    return path.name.lower().endswith(SUFFIXES)


def read_osm(
    path: Path, regions: gpd.GeoDataFrame, take: Sequence[str], ledger: Ledger, keys: Sequence[str] = KEYS
) -> Mapped:
    """Return what a file of OpenStreetMap holds near regions: of `take` (places, roads, buildings, context).

    Places are nodes, and outlines by a point inside; one that carries several of `keys` is one of each. Roads are those
    for cars. What cannot be drawn (a line whose nodes are missing, a broken outline) is counted. Raises `InputError`
    naming a file that cannot be read.
    """
    try:
        import osmium
    except ImportError as error:
        raise MissingExtraError.of("acquire", error) from error
    check_regular(path)
    near = window_of(regions, _MARGIN)
    wanted = [*(keys if "places" in take else ()), *(["building"] if "buildings" in take else ())]
    wanted += ["highway"] if {"roads", "context"} & set(take) else []
    wanted += ["natural", "waterway", "place"] if "context" in take else []
    held = _Held()
    try:
        processor = osmium.FileProcessor(path).with_areas().with_filter(osmium.filter.KeyFilter(*wanted))
        header = processor.header
        for thing in processor:
            _take(thing, held, near, set(take), keys, ledger)
    except RuntimeError as error:
        raise InputError(f"{path} cannot be read as OpenStreetMap: {error}") from error
    stamp = header.get("osmosis_replication_timestamp") or header.get("timestamp") or ""
    box = header.box()
    extent = (box.bottom_left.lon, box.bottom_left.lat, box.top_right.lon, box.top_right.lat) if box.valid() else None
    if extent is None:
        ledger.warnings.append(f"{path.name} does not say what it covers: a region outside of it counts as empty")
    return Mapped(
        places=pd.DataFrame(held.places, columns=["place", "category", "name", "lon", "lat"])
        if "places" in take
        else None,
        roads=_frame(held.roads, ["feature", "category", "name"]) if {"roads", "context"} & set(take) else None,
        buildings=shapely.from_wkb(np.array(held.buildings, dtype=object)) if "buildings" in take else None,
        drawn=_frame(held.drawn, ["feature", "kind", "rank", "name"]) if "context" in take else None,
        extent=extent,
        year=int(stamp[:4]) if stamp[:4].isdigit() else None,
        facts={"timestamp": stamp or None, "extent": extent},
    )


def _frame(rows: list[tuple[Any, ...]], columns: list[str]) -> pd.DataFrame:
    frame = pd.DataFrame([row[:-1] for row in rows], columns=columns)
    return frame.assign(geometry=shapely.from_wkb(np.array([row[-1] for row in rows], dtype=object)))


def _take(thing: Any, held: _Held, near: list[Bounds], take: set[str], keys: Sequence[str], ledger: Ledger) -> None:
    """Keep what a node, way or outline is wanted for."""
    if thing.is_node():
        if thing.location.valid() and _inside(thing.location, near):
            _node(thing, held, take, keys)
    elif thing.is_way():
        if {"roads", "context"} & take and len(thing.nodes) and _inside(thing.nodes[0].location, near):
            _way(thing, held, take, ledger)
    elif thing.is_area():
        _area(thing, held, near, take, keys, ledger)


def _node(node: Any, held: _Held, take: set[str], keys: Sequence[str]) -> None:
    tags, at = node.tags, node.location
    name = tags.get("name")
    if "places" in take:
        held.places += [
            (f"node/{node.id}{mark}", category, name, at.lon, at.lat) for mark, category in _categories(tags, keys)
        ]
    if "context" in take and name and (rank := PLACES.get(tags.get("place", ""))):
        held.drawn.append(
            (f"node/{node.id}", "place", rank, name, shapely.to_wkb(shapely.Point(at.lon, at.lat), hex=True))
        )


def _way(way: Any, held: _Held, take: set[str], ledger: Ledger) -> None:
    kind = way.tags.get("highway", "").removesuffix("_link")
    rank = _WATERWAYS.get(way.tags.get("waterway", "")) if "context" in take else None
    if kind not in RANKS and rank is None:
        return
    line = _drawn(way, "create_linestring", ledger)
    if line is None:
        return
    name = way.tags.get("name")
    if kind in RANKS and way.tags.get("area") != "yes":
        held.roads.append((f"way/{way.id}", kind, name, line))
    elif rank is not None:
        held.drawn.append((f"way/{way.id}", "water", rank, name, line))


def _area(area: Any, held: _Held, near: list[Bounds], take: set[str], keys: Sequence[str], ledger: Ledger) -> None:
    tags = area.tags
    categories = list(_categories(tags, keys)) if "places" in take else []
    building = "buildings" in take and tags.get("building", "no") != "no"
    water = "context" in take and tags.get("natural") == "water"
    if not (categories or building or water):
        return
    ring = next(iter(area.outer_rings()), None)
    if ring is None or not len(ring) or not _inside(ring[0].location, near):
        return
    outline = _drawn(area, "create_multipolygon", ledger)
    if outline is None:
        return
    name, ident = tags.get("name"), f"{'way' if area.from_way() else 'relation'}/{area.orig_id()}"
    if building:
        held.buildings.append(outline)
    if water:
        held.drawn.append((ident, "water", 1, name, outline))
    if categories:
        middle = shapely.point_on_surface(shapely.from_wkb(outline))
        held.places += [(f"{ident}{mark}", category, name, middle.x, middle.y) for mark, category in categories]


def _categories(tags: Any, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield what marks a category beyond the first, and the category, of a thing with these tags."""
    number = 0
    for key in keys:
        value = tags.get(key)
        if value and value != "no" and f"{key}={value}" not in _FURNITURE:
            yield (f"#{key}" if number else ""), f"{key}={value}"
            number += 1


def _inside(location: Any, near: list[Bounds]) -> bool:
    if not location.valid():
        return False
    lon, lat = location.lon, location.lat
    return any(west <= lon <= east and south <= lat <= north for west, south, east, north in near)


def _drawn(thing: Any, how: str, ledger: Ledger) -> str | None:
    """Return the geometry of a way or outline as WKB in hexadecimal digits; None, counted, where it has none."""
    import osmium

    try:
        wkb: str = getattr(_factory(), how)(thing)
    except (osmium.InvalidLocationError, RuntimeError):
        ledger.drop("line or outline of the map that cannot be drawn")
        return None
    return wkb


@cache
def _factory() -> Any:
    import osmium

    return osmium.geom.WKBFactory()
