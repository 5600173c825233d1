"""`area add places`: Add points of interest: counts a region, or points with a category."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import PointSettings, Reading
from chorograph.ground.settings import setting
from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.area.add.step import Step, run_step
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(Reading, PointSettings, Step):
    """Settings of `chorograph area add places`."""

    region_id: str = setting("region_id", help="the column that names a region, where there is one")
    layer: str | None = setting(None, help="the layer of a file of features that has several")


def inputs(settings: Settings) -> list[Path]:
    """Return what is added."""
    return [settings.from_]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Add to the area; the manifest lies within it, in `added`."""

    def work(area: Area, ledger: Ledger) -> None:
        from chorograph.acquisition.own.adding import add_places

        add_places(
            area,
            settings.from_,
            settings,
            settings,
            settings.region_id,
            settings,
            ledger,
            layer=settings.layer,
            replace=settings.replace,
        )

    return run_step("places", settings, inputs(settings), ["poi_counts"], work)


VERB = Verb(
    "area add places",
    "Add points of interest: counts a region, or points with a category.",
    Settings,
    run,
    ("area",),
    "chorograph area add places my-area --from shops.geojson --category fclass",
)
