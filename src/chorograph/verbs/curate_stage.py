"""The verbs of `curate` with what its floor does not know: models by name, shipped recipes, a place to print."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from rich.console import Console

from chorograph.curation import stage
from chorograph.curation.config import CurateConfig, FitDetectorConfig
from chorograph.ground.recipe_file import find_recipe
from chorograph.ground.stage import Outcome, Progress
from chorograph.models.encoders.registry import load_encoder


def curate(config: CurateConfig, progress: Progress) -> Outcome:
    """Run a recipe's steps; the plan is printed on stderr before."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    found = replace(config, recipe=str(find_recipe(config.recipe)))
    loader = partial(load_encoder, device=config.device)
    return stage.curate(found, progress, loader, partial(console.print, markup=False))


def fit_detector(config: FitDetectorConfig, progress: Progress) -> Outcome:
    """Fit a linear head on an encoder."""
    return stage.fit_a_detector(config, progress, partial(load_encoder, device=config.device))
