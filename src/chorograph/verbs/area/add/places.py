"""`area add places`: Add points of interest: counts, points with a category, or a map of OpenStreetMap or Overture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import MapSettings, PointSettings, Reading
from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import OfLayers, OfRegions, Step, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(OfRegions, OfLayers, Reading, PointSettings, MapSettings, Step):
    """Settings of `chorograph area add places`."""


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    from chorograph.acquisition.own.adding import add_places
    from chorograph.acquisition.sources.adding import add_map
    from chorograph.acquisition.sources.maps.osm import is_osm
    from chorograph.acquisition.sources.maps.overture import is_overture

    if is_osm(asked.from_) or is_overture(asked.from_):
        add_map(area, asked.from_, asked, asked.category, asked, ledger, replace=asked.replace)
        return
    add_places(
        area, asked.from_, asked, asked, asked.region_id, asked, ledger, layer=asked.layer, replace=asked.replace
    )


VERB = adding(
    "places",
    "Add points of interest: counts, points with a category, or a map of OpenStreetMap or Overture.",
    Settings,
    add,
    tables=["poi_counts"],
    example="shops.geojson --category fclass",
)
