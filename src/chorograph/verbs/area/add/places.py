"""`area add places`: Add points of interest: counts a region, or points with a category."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import PointSettings, Reading
from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import OfLayers, OfRegions, Step, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(OfRegions, OfLayers, Reading, PointSettings, Step):
    """Settings of `chorograph area add places`."""


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    from chorograph.acquisition.own.adding import add_places

    add_places(
        area, asked.from_, asked, asked, asked.region_id, asked, ledger, layer=asked.layer, replace=asked.replace
    )


VERB = adding(
    "places",
    "Add points of interest: counts a region, or points with a category.",
    Settings,
    add,
    tables=["poi_counts"],
    example="shops.geojson --category fclass",
)
