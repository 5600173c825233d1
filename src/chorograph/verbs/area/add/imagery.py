"""`area add imagery`: Add satellite pictures: of a folder, of a tile service, or out of rasters."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import Reading
from chorograph.acquisition.sources.source_settings import SourceImagery
from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import FromSource, OfRegions, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(SourceImagery, OfRegions, Reading, FromSource):
    """Settings of `chorograph area add imagery`."""

    def inputs(self) -> list[Path]:
        """Return the folder, and the table of its pictures."""
        return super().inputs() + ([self.tiles_table] if self.tiles_table else [])

    @property
    def called(self) -> str:
        """Return what is added, and how finely."""
        fine = f"zoom {self.zoom}" if self.zoom is not None else f"{self.resolution_m:g} m" if self.resolution_m else ""
        fine += "" if self.by == "square" else f" by {self.by}"
        return f"{self.from_} {fine}" if self.is_source else super().called


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    if asked.is_source:
        from chorograph.acquisition.sources.imagery import add_source_imagery

        add_source_imagery(area, asked.from_, asked.called, asked, ledger, progress, replace=asked.replace)
        return
    from chorograph.acquisition.own.adding import add_imagery

    add_imagery(area, asked.path, asked, asked, asked.region_id, asked, ledger, progress, replace=asked.replace)


VERB = adding(
    "imagery",
    "Add satellite pictures: a folder placed by a table, by names or by itself; or a source (chorograph list sources).",
    Settings,
    add,
    tables=["images"],
    example="provider:USGS.USImagery --zoom 16",
)
