"""`graph info`: what an area's graph connects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Outcome, Progress
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph graph info`."""

    area: Path = setting(help="the area folder")


def inputs(settings: Settings) -> list[Path]:
    """Return the tables that are read."""
    return [settings.area / f"{name}.parquet" for name in ("regions", "triples", "entities")]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Tell sizes, what each relation connects, and which relations say the same thing twice; nothing is written."""
    from chorograph.area.folder import Area
    from chorograph.graph.facts import Graph
    from chorograph.graph.inverses import inverse_of

    area = Area.open(settings.area)
    graph = Graph.read(area)
    rows = graph.rows_of(area.regions["region_id"])
    facts: dict[str, Any] = {"entities": {}, "relations": {}}
    for kind in sorted(set(graph.kinds)):
        facts["entities"][kind] = int((graph.kinds == kind).sum())
    for row in graph.kinds_of_relations().to_dict("records"):
        said = facts["relations"].setdefault(row["relation"], [])
        said.append(f"{row['head_kind']} to {row['tail_kind']}: {row['facts']:,}")
    for number, other in enumerate(inverse_of(graph)):
        if other >= 0:
            what = "symmetric" if other == number else f"inverse of {graph.relations[other]}"
            facts["relations"][graph.relations[number]].append(what)
    counts = {
        "facts": len(graph.facts),
        "entities": graph.number_of_entities,
        "relations": graph.number_of_relations,
        "regions in the graph": int((rows >= 0).sum()),
        "regions without an entity": int((rows < 0).sum()),
    }
    return Outcome({"stage": "graph info", "config": plain(settings), "counts": counts, "facts": facts}, skipped=False)


VERB = Verb(
    "graph info",
    "Say what an area's graph connects, and which relations say the same thing twice.",
    Settings,
    run,
    ("area",),
    "chorograph graph info my-area",
)
