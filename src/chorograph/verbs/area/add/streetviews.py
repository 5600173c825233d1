"""`area add streetviews`: Add street views: of a folder with a table of their places, or of a source."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import Reading
from chorograph.acquisition.sources.source_settings import SourceViews
from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import FromSource, OfRegions, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(SourceViews, OfRegions, Reading, FromSource):
    """Settings of `chorograph area add streetviews`."""

    def inputs(self) -> list[Path]:
        """Return the folder, and the table of its pictures."""
        return super().inputs() + ([self.tiles_table] if self.tiles_table else [])


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    if asked.is_source:
        from chorograph.acquisition.sources.street.views import add_source_views

        add_source_views(area, asked.from_, asked.called, asked, ledger, progress, replace=asked.replace)
        return
    from chorograph.acquisition.own.adding import add_street_views

    add_street_views(area, asked.path, asked, asked, asked.region_id, asked, ledger, progress, replace=asked.replace)


VERB = adding(
    "streetviews",
    "Add street views: a folder with a table of their places, or a source (chorograph list sources).",
    Settings,
    add,
    tables=["images"],
    example="views --tiles-table views.csv --most 20",
)
