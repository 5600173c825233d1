"""`graph build`: a graph from an area's polygons, counts, and tables of one's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.ground.errors import InputError
from chorograph.ground.settings import at_least, between, plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph graph build`."""

    area: Path = setting(help="the area folder; its triples.parquet and entities.parquet are written")
    poi: Path | None = setting(
        None, help="points of interest: CSV of poi (an id), category, lon, lat; by default the area's places, if any"
    )
    business_areas: Path | None = setting(None, help="business areas: CSV of business_area (an id), lon, lat")
    flows: Path | None = setting(None, help="origin-destination table: CSV of origin, destination (regions), count")
    near_m: float = setting(
        1000.0, help="nearBy: centres of regions at most this far apart, in metres", within=at_least(0)
    )
    service_m: float = setting(
        3000.0, help="provideService, belongTo: at most this far from a business area, metres", within=at_least(0)
    )
    competitive_m: float = setting(
        500.0, help="competitive: points of one category at most this far apart, in metres", within=at_least(0)
    )
    similar: float = setting(
        0.95, help="similarFunction: least cosine of two regions' counts by category", within=between(0, 1)
    )
    flow: float = setting(
        1.0, help="flowTransition: least summed count of an origin and destination", within=at_least(0)
    )
    replace: bool = setting(False, help="replace the graph that the area has")


def inputs(settings: Settings) -> list[Path]:
    """Return the area's tables and the user's."""
    tables = [settings.area / f"{name}.parquet" for name in ("regions", "poi_counts", "places")]
    return tables + [path for path in (settings.poi, settings.business_areas, settings.flows) if path is not None]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Build the graph; the manifest lies beside the facts, as `triples.manifest.json`."""
    from chorograph.area.folder import Area

    area = Area.open(settings.area)

    def work(ledger: Ledger) -> None:
        from chorograph.graph.build import Sources, Thresholds, build_graph, counted
        from chorograph.graph.reading import read_columns

        if area.has("triples") and not settings.replace:
            raise InputError(f"{area.path} has a graph already; --replace builds another in its place")
        sources = Sources(
            points=_points(settings.poi, area),
            counts=area.read("poi_counts") if area.has("poi_counts") else None,
            business_areas=read_columns(
                settings.business_areas, ("business_area",), ("lon", "lat"), unique="business_area"
            ),
            flows=read_columns(settings.flows, ("origin", "destination"), ("count",)),
        )
        thresholds = Thresholds(
            settings.near_m, settings.service_m, settings.competitive_m, settings.similar, settings.flow
        )
        triples, entities = build_graph(area.regions, sources, thresholds)
        if sources.points is not None:
            within = triples.loc[triples["relation"] == "locateAt", "head"].nunique()
            ledger.drop("point in no region, without locateAt", len(sources.points) - within)
        # Entities first: should writing stop between the two, no fact names an entity that is not there.
        if area.has("triples"):
            area.table_path("triples").unlink()
        ledger.outputs.append(area.write("entities", entities))
        ledger.outputs.append(area.write("triples", triples))
        ledger.count("facts", len(triples))
        ledger.count("entities", len(entities))
        ledger.facts["relations"] = counted(triples)

    return run_stage(
        "graph build",
        manifest=area.path / "triples.manifest.json",
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
        shared=[area.table_path("triples")],
    )


def _points(file: Path | None, area: Area) -> pd.DataFrame | None:
    """Return the points of interest of a file, or those that the area holds; None where there are none."""
    from chorograph.graph.reading import read_columns

    if file is None and area.has("places"):
        return area.read("places").rename(columns={"place": "poi"})
    return read_columns(file, ("poi", "category"), ("lon", "lat"), unique="poi")


VERB = Verb(
    "graph build",
    "Build a knowledge graph from an area's polygons, points, business areas and flows.",
    Settings,
    run,
    ("area",),
    "chorograph graph build my-area --poi poi.csv --flows commuters.csv",
)
