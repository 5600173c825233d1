"""A made town, as OpenStreetMap and as Overture hold it: two regions of 0.01 degrees, side by side at (10, 50)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import osmium
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from osmium.osm.mutable import Node, Relation, Way
from shapely.geometry import LineString, Point, Polygon, box

WEST, EAST = box(10, 50, 10.01, 50.01), box(10.01, 50, 10.02, 50.01)
ROAD = LineString([(9.995, 50.005), (10.005, 50.005), (10.02, 50.005)])
LANE = LineString([(10.012, 50.001), (10.012, 50.009)])
LAKE = Polygon(
    [(10.001, 50.007), (10.004, 50.007), (10.004, 50.009), (10.001, 50.009)],
    [[(10.002, 50.0075), (10.003, 50.0075), (10.003, 50.0085), (10.002, 50.0085)]],
)
HOUSES = [box(10.002 + k / 1000, 50.002, 10.0025 + k / 1000, 50.0024) for k in range(3)]
HALL = box(10.0095, 50.0010, 10.0115, 50.0014)  # over the border, its middle in the east
POINTS = [
    ("amenity", "cafe", "Roma", 10.003, 50.001),
    ("amenity", "cafe", None, 10.004, 50.001),
    ("shop", "bakery", "Brot", 10.015, 50.002),
    ("amenity", "bench", None, 10.015, 50.002),
    ("amenity", "cafe", "Far", 10.1, 50.002),
]


def regions() -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame({"region_id": ["west", "east"]}, geometry=[WEST, EAST], crs=4326)


def write_osm(path: Path, *, box_of: tuple[float, float, float, float] | None = (9.9, 49.9, 10.2, 50.2)) -> Path:
    """Write the town as a .osm.pbf; a line with a missing node is broken."""
    header = osmium.io.Header()
    if box_of is not None:
        header.add_box(osmium.osm.Box(*box_of))
    header.set("osmosis_replication_timestamp", "2024-03-01T00:00:00Z")
    nodes: list[Node] = []
    ways: list[Way] = []

    def node(lon: float, lat: float, tags: dict[str, str] | None = None) -> int:
        nodes.append(Node(id=len(nodes) + 1, location=(lon, lat), tags=tags or {}, version=1))
        return len(nodes)

    def way(coords: Any, tags: dict[str, str], closed: bool = False) -> int:
        refs = [node(*at) for at in (list(coords)[:-1] if closed else coords)]
        ways.append(Way(id=len(ways) + 1, nodes=[*refs, refs[0]] if closed else refs, tags=tags, version=1))
        return len(ways)

    for key, value, name, lon, lat in POINTS:
        node(lon, lat, {key: value, **({"name": name} if name else {})})
    node(10.008, 50.004, {"place": "town", "name": "Made"})
    way(ROAD.coords, {"highway": "primary", "name": "High Street"})
    way(LANE.coords, {"highway": "residential"})
    way(LANE.coords, {"highway": "footway"})
    for house in HOUSES:
        way(house.exterior.coords, {"building": "yes"}, closed=True)
    way(HALL.exterior.coords, {"building": "public", "amenity": "townhall", "name": "Hall"}, closed=True)
    outer = way(LAKE.exterior.coords, {}, closed=True)
    inner = way(LAKE.interiors[0].coords, {}, closed=True)
    ways.append(Way(id=len(ways) + 1, nodes=[1, 99999], tags={"highway": "primary"}, version=1))
    lake = Relation(
        id=1, members=[("w", outer, "outer"), ("w", inner, "inner")], version=1,
        tags={"type": "multipolygon", "natural": "water", "name": "Mere"},
    )  # fmt: skip
    with osmium.SimpleWriter(str(path), header=header) as writer:
        for thing in nodes:
            writer.add_node(thing)
        for line in ways:
            writer.add_way(line)
        writer.add_relation(lake)
    return path


def write_overture(folder: Path, *, old: bool = False) -> Path:
    """Write the town as Overture's files; `old` ones have `categories`, newer ones `basic_category` and `taxonomy`."""

    def write(theme: str, kind: str, geometry: list[Any], **columns: list[Any]) -> None:
        place = folder / f"theme={theme}" / f"type={kind}"
        place.mkdir(parents=True)
        bounds = shapely.bounds(geometry)
        boxes = [dict(zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True)) for edges in bounds.tolist()]
        table = {"id": [f"{kind}{k}" for k in range(len(geometry))], "bbox": boxes}
        pq.write_table(
            pa.table({**table, "geometry": list(shapely.to_wkb(geometry)), **columns}), place / "part-0.parquet"
        )

    points = [*POINTS, ("amenity", None, "Nameless", 10.001, 50.001)]
    told = [value for _, value, *_ in points]
    names = [{"primary": name} if name else None for _, _, name, *_ in points]
    category = (
        {"categories": [{"primary": value} if value else None for value in told]}
        if old
        else {"basic_category": told, "taxonomy": [{"primary": f"{value}_shop"} if value else None for value in told]}
    )
    write("places", "place", [Point(lon, lat) for *_, lon, lat in points], names=names, **category)
    write(
        "transportation", "segment", [ROAD, LANE, LANE, LANE], subtype=["road", "road", "road", "rail"],
        **{"class": ["primary", "residential", "footway", None]}, names=[{"primary": "High Street"}, None, None, None],
    )  # fmt: skip
    write("buildings", "building", [*HOUSES, HALL], has_parts=[False] * 4)
    write("base", "water", [LAKE], names=[{"primary": "Mere"}], is_salt=[False])
    write(
        "divisions", "division", [Point(10.008, 50.004)], names=[{"primary": "Made"}], subtype=["locality"],
        **{"class": ["town"]},
    )  # fmt: skip
    return folder
