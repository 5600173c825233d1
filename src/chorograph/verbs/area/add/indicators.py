"""`area add indicators`: Add a table of indicators, joined by the regions' ids or by place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import IndicatorSettings, Reading
from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import OfLayers, OfRegions, Step, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(OfRegions, OfLayers, Reading, IndicatorSettings, Step):
    """Settings of `chorograph area add indicators`."""


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    from chorograph.acquisition.own.adding import add_indicators

    add_indicators(
        area, asked.from_, asked, asked, asked.region_id, asked, ledger, layer=asked.layer, replace=asked.replace
    )


VERB = adding(
    "indicators",
    "Add a table of indicators, joined by the regions' ids or by place.",
    Settings,
    add,
    tables=["indicators"],
    example="incomes.xlsx --region-id GEOID --unit income=USD",
)
