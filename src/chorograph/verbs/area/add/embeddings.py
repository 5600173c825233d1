"""`area add embeddings`: Add vectors made elsewhere, of images or of regions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import EmbeddingSettings, Reading
from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import OfRegions, Step, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(OfRegions, Reading, EmbeddingSettings, Step):
    """Settings of `chorograph area add embeddings`."""


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    from chorograph.acquisition.own.adding import add_embeddings

    add_embeddings(area, asked.from_, asked, asked, asked.region_id, asked, ledger, replace=asked.replace)


VERB = adding(
    "embeddings",
    "Add vectors made elsewhere, of images or of regions.",
    Settings,
    add,
    tables=[],
    example="alphaearth.parquet --name alphaearth",
)
