"""`area add embeddings`: Add vectors made elsewhere: a table, or AlphaEarth's or TESSERA's files."""

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
    from chorograph.acquisition.sources.adding import add_made_elsewhere
    from chorograph.acquisition.sources.vectors.elsewhere import made_elsewhere

    if (made := made_elsewhere(asked.from_)) is not None:
        add_made_elsewhere(area, made, asked, asked, ledger, progress, replace=asked.replace)
        return
    add_embeddings(area, asked.from_, asked, asked, asked.region_id, asked, ledger, replace=asked.replace)


VERB = adding(
    "embeddings",
    "Add vectors made elsewhere: a table of images or regions, or AlphaEarth's or TESSERA's files.",
    Settings,
    add,
    tables=[],
    example="alphaearth/v1/annual/2023/10N --name alphaearth",
)
