"""`area describe`: what the area's indicators are, said once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Outcome, Progress
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph area describe`."""

    area: Path = setting(help="the area folder")
    describe: list[str] = setting(
        [],
        help="INDICATOR=KEY:VALUE,KEY:VALUE with keys title, scale (linear, log, log1p, logit), per (another "
        "indicator), need (low, high, none), kind (count, mean, share, density), or a TOML file with a table an "
        "indicator; none: only show what is said",
    )


def run(settings: Settings, progress: Progress) -> Outcome:
    """Add what is said to the area's indicators.toml, and tell what it says now."""
    from chorograph.area.descriptions import FILE, parse_descriptions, read_descriptions, write_descriptions
    from chorograph.area.folder import Area
    from chorograph.ground.claims import SOON_S, claim

    area = Area.open(settings.area)
    said = parse_descriptions(settings.describe)
    if said:
        with claim(area.path / FILE, "area describe", wait_s=SOON_S):
            write_descriptions(area, said)
    rows = [
        [name, *(getattr(description, key) or "" for key in ("title", "scale", "per", "need", "kind"))]
        for name, description in read_descriptions(area).items()
    ]
    table = {"columns": ["indicator", "title", "scale", "per", "need", "kind"], "rows": rows}
    counts = {"indicators described": len(rows)}
    return Outcome(
        {"stage": "area describe", "config": plain(settings), "counts": counts, "facts": {"table": table}},
        skipped=False,
    )


VERB = Verb(
    "area describe",
    "Say how indicators are fitted and read: title, scale, denominator, which end is need.",
    Settings,
    run,
    ("area", "describe"),
    "chorograph area describe my-area income=scale:log,need:low 'population=title:People'",
)
