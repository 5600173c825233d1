"""`area check`: every rule of an area folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.errors import AreaError
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Outcome, Progress
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph area check`."""

    area: Path = setting(help="the area folder")
    images: bool = setting(True, help="also open every held image and compare its bytes with its hash")


def inputs(settings: Settings) -> list[Path]:
    """Return the area."""
    return [settings.area]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Check the area; raises `AreaError` listing every problem. It leaves no manifest: it is done whenever asked."""
    from chorograph.area.check import check_area
    from chorograph.area.folder import Area

    area = Area.open(settings.area)
    problems = check_area(area, open_images=settings.images, progress=progress)
    if problems:
        raise AreaError(f"{settings.area} has {len(problems)} problems:\n" + "\n".join(f"- {p}" for p in problems))
    return Outcome({"stage": "area check", "config": plain(settings), "counts": area.sizes()}, skipped=False)


VERB = Verb(
    "area check", "Check every rule of an area folder.", Settings, run, ("area",), "chorograph area check my-area"
)
