"""`area add captions`: Add captions: texts beside pictures, a table of files and titles, or metadata.jsonl."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.acquisition.own.own_settings import CaptionSettings, Reading
from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.area.add.step import Step, run_step
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(Reading, CaptionSettings, Step):
    """Settings of `chorograph area add captions`."""


def inputs(settings: Settings) -> list[Path]:
    """Return what is added."""
    return [settings.from_]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Add to the area; the manifest lies within it, in `added`."""

    def work(area: Area, ledger: Ledger) -> None:
        from chorograph.acquisition.own.adding import add_captions

        add_captions(area, settings.from_, settings, settings, settings, ledger, progress, replace=settings.replace)

    return run_step("captions", settings, inputs(settings), ["captions"], work)


VERB = Verb(
    "area add captions",
    "Add captions: texts beside pictures, a table of files and titles, or metadata.jsonl.",
    Settings,
    run,
    ("area",),
    "chorograph area add captions my-area --from pairs",
)
