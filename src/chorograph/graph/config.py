"""What the `graph` verbs can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting


@dataclass(frozen=True)
class GraphBuildConfig:
    """Settings of `chorograph graph build`: a graph from an area's polygons, counts, and tables of your own."""

    area: Path = setting(help="the area folder; its triples.parquet and entities.parquet are written")
    poi: Path | None = setting(None, help="points of interest: CSV of poi (an id), category, lon, lat")
    business_areas: Path | None = setting(None, help="business areas: CSV of business_area (an id), lon, lat")
    flows: Path | None = setting(None, help="origin-destination table: CSV of origin, destination (regions), count")
    near_m: float = setting(1000.0, help="nearBy: centres of regions at most this far apart, in metres")
    service_m: float = setting(3000.0, help="provideService, belongTo: at most this far from a business area, metres")
    competitive_m: float = setting(500.0, help="competitive: points of one category at most this far apart, in metres")
    similar: float = setting(0.95, help="similarFunction: least cosine of two regions' counts by category")
    flow: float = setting(1.0, help="flowTransition: least summed count of an origin and destination")
    replace: bool = setting(False, help="replace the graph that the area has")


@dataclass(frozen=True)
class GraphConfig:
    """Settings of `chorograph graph info` and `chorograph graph check`."""

    area: Path = setting(help="the area folder")
