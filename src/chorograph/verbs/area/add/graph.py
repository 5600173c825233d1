"""`area add graph`: Add facts of a knowledge graph: head, relation, tail."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.ground.stage import Ledger, Outcome, Progress
from chorograph.verbs.area.add.step import Step, run_step
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(Step):
    """Settings of `chorograph area add graph`."""


def inputs(settings: Settings) -> list[Path]:
    """Return what is added."""
    return [settings.from_]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Add to the area; the manifest lies within it, in `added`."""

    def work(area: Area, ledger: Ledger) -> None:
        from chorograph.acquisition.own.adding import add_graph

        add_graph(area, settings.from_, settings, ledger, replace=settings.replace)

    return run_step("graph", settings, inputs(settings), ["triples", "entities"], work)


VERB = Verb(
    "area add graph",
    "Add facts of a knowledge graph: head, relation, tail.",
    Settings,
    run,
    ("area",),
    "chorograph area add graph my-area --from facts.tsv",
)
