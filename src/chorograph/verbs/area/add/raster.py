"""`area add raster`: Add indicators from a raster: sums, means, densities and class shares of its cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import RasterSettings
from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import Step, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(RasterSettings, Step):
    """Settings of `chorograph area add raster`."""

    @property
    def called(self) -> str:
        """Several indicators may be taken from one raster."""
        return f"{self.from_.name}-{self.name or self.statistic}-{self.year or ''}"


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    from chorograph.acquisition.sources.adding import add_raster

    add_raster(area, asked.from_, asked, asked, ledger, replace=asked.replace)


VERB = adding(
    "raster",
    "Add indicators from a raster: sums, means, densities and class shares of its cells.",
    Settings,
    add,
    tables=["indicators"],
    example="worldpop_2020.tif --statistic sum --name population --unit people --year 2020",
)
