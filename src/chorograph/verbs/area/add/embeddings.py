"""`area add embeddings`: Add vectors made elsewhere, of images or of regions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import EmbeddingSettings, Reading
from chorograph.ground.settings import setting
from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.area.add.step import Step, run_step
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(Reading, EmbeddingSettings, Step):
    """Settings of `chorograph area add embeddings`."""

    region_id: str = setting("region_id", help="the column that names a region, where there is one")


def inputs(settings: Settings) -> list[Path]:
    """Return what is added."""
    return [settings.from_]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Add to the area; the manifest lies within it, in `added`."""

    def work(area: Area, ledger: Ledger) -> None:
        from chorograph.acquisition.own.adding import add_embeddings

        add_embeddings(
            area, settings.from_, settings, settings, settings.region_id, settings, ledger, replace=settings.replace
        )

    return run_step("embeddings", settings, inputs(settings), [], work)


VERB = Verb(
    "area add embeddings",
    "Add vectors made elsewhere, of images or of regions.",
    Settings,
    run,
    ("area",),
    "chorograph area add embeddings my-area --from alphaearth.parquet --name alphaearth",
)
