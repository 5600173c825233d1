"""`area add raster`: Add indicators from a raster: sums, means, densities and class shares of its cells."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import RasterSettings
from chorograph.ground.settings import placed, setting
from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import Step, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(RasterSettings, Step):
    """Settings of `chorograph area add raster`."""

    from_: str = setting(help="the raster, a folder of rasters side by side, or a GeoTIFF at an http(s) URL")  # type: ignore[assignment]
    allow: list[str] = setting([], help="a private network that may be asked, such as 127.0.0.0/8 or 10.0.0.0/8")
    i_have_permission: bool = setting(False, help="I may take this raster: its terms or its owner allow it to me")

    def __post_init__(self) -> None:
        if not self.is_remote:
            object.__setattr__(self, "from_", str(placed(Path(self.from_))))

    @property
    def is_remote(self) -> bool:
        """Whether it lies at a URL."""
        return self.from_.startswith(("http://", "https://"))

    def inputs(self) -> list[Path]:
        """Return the file or folder; a URL is none."""
        return [] if self.is_remote else [Path(self.from_)]

    @property
    def called(self) -> str:
        """Several indicators may be taken from one raster."""
        place = self.from_.partition("?")[0] if self.is_remote else Path(self.from_).name
        return f"{place}-{self.name or self.statistic}-{self.year or ''}"


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    from chorograph.acquisition.sources.adding import add_raster
    from chorograph.acquisition.sources.permission import check_not_forbidden
    from chorograph.acquisition.sources.secrets import check_no_secret

    if asked.is_remote:
        check_not_forbidden(check_no_secret(asked.from_), asked.i_have_permission)
    add_raster(area, asked.from_, asked, asked, ledger, replace=asked.replace, allowed=asked.allow)


VERB = adding(
    "raster",
    "Add indicators from a raster: sums, means, densities and class shares of its cells.",
    Settings,
    add,
    tables=["indicators"],
    example="worldpop_2020.tif --statistic sum --name population --unit people --year 2020",
)
