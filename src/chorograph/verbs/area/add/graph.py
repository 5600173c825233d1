"""`area add graph`: Add facts of a knowledge graph: head, relation, tail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorograph.ground.stage import Ledger, Progress
from chorograph.verbs.area.add.step import Step, adding

if TYPE_CHECKING:
    from chorograph.area.folder import Area


@dataclass(frozen=True, kw_only=True)
class Settings(Step):
    """Settings of `chorograph area add graph`."""


def add(area: Area, asked: Settings, ledger: Ledger, progress: Progress) -> None:
    """Add to the area."""
    from chorograph.acquisition.own.adding import add_graph

    add_graph(area, asked.from_, asked, ledger, replace=asked.replace)


VERB = adding(
    "graph",
    "Add facts of a knowledge graph: head, relation, tail.",
    Settings,
    add,
    tables=["triples", "entities"],
    example="facts.tsv",
)
