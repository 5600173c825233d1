"""`area build`: an area from anybody's own files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.acquisition.own.own_settings import OwnFiles
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(OwnFiles):
    """Settings of `chorograph area build`."""

    out: Path = setting(help="the area folder to make; must not exist yet")


def inputs(settings: Settings) -> list[Path]:
    """Return the user's files."""
    return settings.paths()


def run(settings: Settings, progress: Progress) -> Outcome:
    """Build the area; its manifest lies within."""

    def work(ledger: Ledger) -> None:
        from chorograph.acquisition.own.build import build_area

        build_area(settings, settings.out, ledger, progress)

    return run_stage(
        "area build",
        manifest=settings.out / "manifest.json",
        config=plain(settings),
        inputs=inputs(settings),
        work=work,
    )


VERB = Verb(
    "area build",
    "Build an area from your own tiles, polygons and tables.",
    Settings,
    run,
    example="chorograph area build --tiles tiles --tiles-table tiles.csv --regions tracts.geojson "
    "--region-id geoid --indicators indicators.csv --out my-area",
)
