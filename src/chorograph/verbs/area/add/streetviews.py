"""`area add streetviews`: Add a folder of street views with a table of their places."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import Reading, StreetSettings
from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import OfRegions, Step, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(OfRegions, Reading, StreetSettings, Step):
    """Settings of `chorograph area add streetviews`."""

    def inputs(self) -> list[Path]:
        """Return the folder, and the table of its pictures."""
        return [self.from_] + ([self.tiles_table] if self.tiles_table else [])


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    from chorograph.acquisition.own.adding import add_street_views

    add_street_views(area, asked.from_, asked, asked, asked.region_id, asked, ledger, progress, replace=asked.replace)


VERB = adding(
    "streetviews",
    "Add a folder of street views with a table of their places.",
    Settings,
    add,
    tables=["images"],
    example="views --tiles-table views.csv --most 20",
)
