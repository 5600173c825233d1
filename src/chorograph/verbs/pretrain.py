"""`pretrain`: whatever is trained, by the name of its objective."""

from __future__ import annotations

from pathlib import Path

from chorograph.ground.stage import Outcome, Progress
from chorograph.pretraining.config import PretrainConfig as Settings
from chorograph.pretraining.config import settings_of
from chorograph.pretraining.objectives.registry import OBJECTIVES
from chorograph.verbs.training import train_stage
from chorograph.verbs.verb import Verb


def inputs(settings: Settings) -> list[Path]:
    """Return the files that the objective learns from."""
    trainer = OBJECTIVES[settings.objective]
    return trainer.inputs(settings_of(settings, trainer))


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write what the objective writes into `out`; vectors of views, knowcl, tucker and compgcn into the area."""
    trainer = OBJECTIVES[settings.objective]
    own = settings_of(settings, trainer)
    return train_stage(
        "pretrain",
        settings,
        settings.out / "manifest.json",
        trainer.inputs(own),
        lambda *rest: trainer.train(own, *rest),
        progress,
    )


VERB = Verb(
    "pretrain",
    "Train a model on an area's images and captions, street views or graph, by the name of its objective.",
    Settings,
    run,
    ("area",),
    "chorograph pretrain my-area --out coca-small",
)
