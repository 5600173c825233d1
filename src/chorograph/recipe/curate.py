"""The verbs of `curate` with what its floor does not know: models by name, shipped recipes, a place to print."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from rich.console import Console

from chorograph.area.stage import Outcome, Progress
from chorograph.curate import stage
from chorograph.curate.config import CurateConfig, FitDetectorConfig
from chorograph.models.registry import load_encoder
from chorograph.recipe.run import find_recipe


def curate(config: CurateConfig, progress: Progress) -> Outcome:
    """Run a recipe's steps; the plan is printed on stderr before."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    found = replace(config, recipe=str(find_recipe(config.recipe)))
    loader = partial(load_encoder, device=config.device)
    return stage.curate(found, progress, loader, partial(console.print, markup=False))


def fit_detector(config: FitDetectorConfig, progress: Progress) -> Outcome:
    """Fit a linear head on an encoder."""
    return stage.fit_a_detector(config, progress, partial(load_encoder, device=config.device))
