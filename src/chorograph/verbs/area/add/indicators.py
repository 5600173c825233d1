"""`area add indicators`: Add a table of indicators, joined by the regions' ids or by place."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import IndicatorSettings, Reading
from chorograph.ground.settings import setting
from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.area.add.step import Step, run_step
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(Reading, IndicatorSettings, Step):
    """Settings of `chorograph area add indicators`."""

    region_id: str = setting("region_id", help="the column that names a region, where there is one")
    layer: str | None = setting(None, help="the layer of a file of features that has several")


def inputs(settings: Settings) -> list[Path]:
    """Return what is added."""
    return [settings.from_]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Add to the area; the manifest lies within it, in `added`."""

    def work(area: Area, ledger: Ledger) -> None:
        from chorograph.acquisition.own.adding import add_indicators

        add_indicators(
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

    return run_step("indicators", settings, inputs(settings), ["indicators"], work)


VERB = Verb(
    "area add indicators",
    "Add a table of indicators, joined by the regions' ids or by place.",
    Settings,
    run,
    ("area",),
    "chorograph area add indicators my-area --from incomes.xlsx --region-id GEOID --unit income=USD",
)
