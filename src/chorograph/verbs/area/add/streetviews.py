"""`area add streetviews`: Add a folder of street views with a table of their places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import Reading, StreetSettings
from chorograph.ground.settings import setting
from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.area.add.step import Step, run_step
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(Reading, StreetSettings, Step):
    """Settings of `chorograph area add streetviews`."""

    region_id: str = setting("region_id", help="the column that names a region, where there is one")


def inputs(settings: Settings) -> list[Path]:
    """Return what is added."""
    return [settings.from_] + ([settings.tiles_table] if settings.tiles_table else [])


def run(settings: Settings, progress: Progress) -> Outcome:
    """Add to the area; the manifest lies within it, in `added`."""

    def work(area: Area, ledger: Ledger) -> None:
        from chorograph.acquisition.own.adding import add_street_views

        add_street_views(
            area,
            settings.from_,
            settings,
            settings,
            settings.region_id,
            settings,
            ledger,
            progress,
            replace=settings.replace,
        )

    return run_step("streetviews", settings, inputs(settings), ["images"], work)


VERB = Verb(
    "area add streetviews",
    "Add a folder of street views with a table of their places.",
    Settings,
    run,
    ("area",),
    "chorograph area add streetviews my-area --from views --tiles-table views.csv --most 20",
)
