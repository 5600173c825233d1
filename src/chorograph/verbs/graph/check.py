"""`graph check`: every rule of an area's graph."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.errors import AreaError
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Outcome, Progress
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph graph check`."""

    area: Path = setting(help="the area folder")


def inputs(settings: Settings) -> list[Path]:
    """Return the tables that are read."""
    return [settings.area / f"{name}.parquet" for name in ("regions", "triples", "entities")]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Check the graph; raises `AreaError` listing every problem, tells notes as warnings. Nothing is written."""
    from chorograph.area.folder import Area
    from chorograph.graph.check import check_graph, declared_kinds

    area = Area.open(settings.area)
    problems, notes = check_graph(area, declared_kinds(area))
    if problems:
        raise AreaError(f"{settings.area} has {len(problems)} problems:\n" + "\n".join(f"- {p}" for p in problems))
    counts = {"facts": len(area.triples), "entities": len(area.entities)}
    return Outcome(
        {"stage": "graph check", "config": plain(settings), "counts": counts, "warnings": notes}, skipped=False
    )


VERB = Verb(
    "graph check", "Check every rule of an area's graph.", Settings, run, ("area",), "chorograph graph check my-area"
)
