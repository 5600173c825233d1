"""`area add captions`: Add captions: texts beside pictures, a table of files and titles, or metadata.jsonl."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import CaptionSettings, Reading
from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import Step, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(Reading, CaptionSettings, Step):
    """Settings of `chorograph area add captions`."""


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    from chorograph.acquisition.own.adding import add_captions

    add_captions(area, asked.from_, asked, asked, asked, ledger, progress, replace=asked.replace)


VERB = adding(
    "captions",
    "Add captions: texts beside pictures, a table of files and titles, or metadata.jsonl.",
    Settings,
    add,
    tables=["captions"],
    example="pairs",
)
