"""`graph align`, the old name of `pretrain --objective knowcl`: an image tower against the knowledge graph."""

from __future__ import annotations

from pathlib import Path

from chorograph.ground.stage import Outcome, Progress
from chorograph.pretraining.config import AlignConfig as Settings
from chorograph.verbs.training import train_stage
from chorograph.verbs.verb import Verb


def inputs(settings: Settings) -> list[Path]:
    """Return the tables and vectors that are learnt from."""
    from chorograph.pretraining.objectives.knowcl import align_inputs

    return align_inputs(settings)


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write the tower into `out` and the regions' vectors into the area."""
    from chorograph.pretraining.objectives.knowcl import train_alignment

    manifest = settings.out / "manifest.json"
    return train_stage(
        "graph align", settings, manifest, inputs(settings), lambda *rest: train_alignment(settings, *rest), progress,
        objective="knowcl",
    )  # fmt: skip


VERB = Verb(
    "graph align",
    "Old name of `pretrain --objective knowcl`: an image tower against the graph by contrast (KnowCL).",
    Settings,
    run,
    ("area",),
    "chorograph graph align my-area --out tower",
)
