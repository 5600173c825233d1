"""`area new`: an area of regions alone, or an empty corpus, to which `area add` adds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.acquisition.own.own_settings import NewArea
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, make_folder
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(NewArea):
    """Settings of `chorograph area new`."""

    out: Path = setting(help="the area folder to make; must not exist yet")


def inputs(settings: Settings) -> list[Path]:
    """Return the file of regions or the boundary."""
    return [path for path in (settings.regions, settings.boundary) if path is not None]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Make the area; its manifest lies within."""

    def work(ledger: Ledger, out: Path) -> None:
        from chorograph.acquisition.own.build import new_area

        new_area(settings, out, ledger)

    return make_folder(
        "area new",
        out=settings.out,
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
    )


VERB = Verb(
    "area new",
    "Begin an area: regions of a file, cells inside a boundary, or an empty corpus.",
    Settings,
    run,
    ("out",),
    "chorograph area new my-area --regions tracts.geojson --region-id geoid",
)
