"""`pretrain-views`, the old name of `pretrain --objective views`: towers on tiles and the street views around them."""

from __future__ import annotations

from pathlib import Path

from chorograph.ground.stage import Outcome, Progress
from chorograph.pretraining.config import ViewsConfig as Settings
from chorograph.verbs.training import train_stage
from chorograph.verbs.verb import Verb


def inputs(settings: Settings) -> list[Path]:
    """Return the tables that are learnt from."""
    from chorograph.pretraining.objectives.views import views_inputs

    return views_inputs(settings)


def run(settings: Settings, progress: Progress) -> Outcome:
    """Write the towers into `out` and the tiles' vectors into the area."""
    from chorograph.pretraining.objectives.views import train_views

    manifest = settings.out / "manifest.json"
    return train_stage(
        "pretrain-views", settings, manifest, inputs(settings), lambda *rest: train_views(settings, *rest), progress,
        objective="views",
    )  # fmt: skip


VERB = Verb(
    "pretrain-views",
    "Old name of `pretrain --objective views`: tiles and their street views, one vector a tile (UrbanVLP).",
    Settings,
    run,
    ("area",),
    "chorograph pretrain-views my-area --out towers",
)
