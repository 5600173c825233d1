"""`area info`: what an area holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Outcome, Progress
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph area info`."""

    area: Path = setting(help="the area folder")


def inputs(settings: Settings) -> list[Path]:
    """Return the area."""
    return [settings.area]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Say what the area holds, what it lacks and which verb adds it; nothing is written, no table is loaded whole."""
    from chorograph.area.contents import indicators_of, lacking
    from chorograph.area.folder import Area

    area = Area.open(settings.area)
    facts = {
        "title": area.title,
        "synthetic": area.synthetic,
        "indicators": indicators_of(area),
        "embeddings": sorted(p.stem for p in (area.path / "embeddings").glob("*.parquet")),
        "predictions": sorted(p.stem for p in (area.path / "predictions").glob("*.parquet")),
        "sources": [f"{source.name} ({source.licence})" for source in area.sources],
        "lacks": lacking(area),
        **dict(area.facts),
    }
    return Outcome(
        {"stage": "area info", "config": plain(settings), "counts": area.sizes(), "facts": facts}, skipped=False
    )


VERB = Verb(
    "area info",
    "Say what an area holds, what it lacks, and which verb adds it.",
    Settings,
    run,
    ("area",),
    "chorograph area info my-area",
)
