"""The settings of predictions: what makes a task, and how it is fitted and judged."""

from __future__ import annotations

from dataclasses import dataclass

from chorograph.area.split_names import SPLITS
from chorograph.ground.settings import SEEDS, above, at_least, between, inside, setting
from chorograph.prediction.probes.names import PROBES

MODALITY_HELP = (
    "comma-separated, of image, context (imagery around), location, shape, poi, graph, text, street, graph-degrees, "
    "graph-categories, graph-surroundings, graph-position, graph:NAME (vectors of `graph embed`), "
    "region:NAME (of regions, made elsewhere, such as AlphaEarth's); all: the first seven; standard: image, context, "
    "location"
)


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """The settings that make a task: labels, features and folds of a question. Every verb with a task has them all."""

    log: bool = setting(
        False, help="fit the natural logarithm, as --scale log; results are in the indicator's own unit"
    )
    scale: str | None = setting(
        None,
        help="what is fitted: linear, log, log1p, logit (shares); unset: as the area describes the indicator, else a "
        "guess, which is told",
        choices=("linear", "log", "log1p", "logit"),
    )
    plus: float = setting(
        0.0, help="with --log: add this first; 1 fits ln(1 + y), which KnowCL does", within=at_least(0)
    )
    per: str | None = setting(
        None, help="divide by this indicator first, to predict a share or rate; none: do not, though described so"
    )
    year: int | None = setting(None, help="the year to use, where the indicator has several", within=between(1, 9999))
    split: str = setting(
        "spatial_block",
        help="how regions are held out: spatial_block, cluster, distance_matched (as far from labels as the unlabelled "
        "regions are), leave_group_out, given:NAME, random (leaky); `chorograph list splits`",
        choices=SPLITS,
    )
    block_m: float = setting(6000.0, help="side of a spatial block, in metres", within=above(0))
    buffer_m: float = setting(0.0, help="training keeps this far from tested regions, in metres", within=at_least(0))
    folds: int = setting(5, help="number of folds", within=at_least(2))
    modalities: str = setting("standard", help=MODALITY_HELP)
    pooling: str = setting(
        "mean",
        help="how image vectors become a region's: mean, mean+std, attention",
        choices=("mean", "mean+std", "attention"),
    )
    probe: str = setting("gp", help="what is fitted on the features (`chorograph list probes`)", choices=PROBES)
    seed: int = setting(0, help="decides folds, bootstrap and fits", within=SEEDS)


@dataclass(frozen=True, kw_only=True)
class PredictionSettings(TaskSettings):
    """How a task is fitted and judged, beside what makes it."""

    probe: str = setting(
        "auto",
        help="what is fitted on the features (`chorograph list probes`); auto chooses among baselines, ridge and "
        "Gaussian processes, and among kinds of data, inside the training folds",
        choices=PROBES,
    )
    texts: str | None = setting(None, help="caption vectors made by `chorograph embed --of captions`, by model name")
    fusion: str = setting(
        "concat",
        help="modalities side by side (concat), a probe each and their weights (late), weights by region (attention)",
        choices=("concat", "late", "attention"),
    )
    kriging: bool = setting(False, help="krige what the probe leaves unexplained, by location")
    level: float = setting(0.9, help="nominal coverage of the intervals", within=inside(0, 1))
    interval: str = setting(
        "cross",
        help="conformal: residuals of all other folds (cross), of one (split), the probe's moved quantiles (quantile)",
        choices=("cross", "split", "quantile"),
    )
    shift_weights: bool = setting(False, help="weigh residuals for regions that look unlike the labelled ones")
    neediest: str | None = setting(
        None,
        help="which end of the indicator is need: low or high; unset: as the area describes it, else by the words of "
        "its name, else none",
        choices=("low", "high"),
    )
    unlabelled: bool = setting(
        True, help="where ten regions or more have no label: also score in folds that test as far from labels as they"
    )
    repeats: int = setting(1, help="deal the folds this many times, and tell how far R2 varies", within=at_least(1))
    allow_leaks: bool = setting(False, help="go on where the answer could have been known; the report says so")
    ablate: bool = setting(False, help="also score every subset of the modalities (ablation.csv)")
    suggest: int = setting(
        0,
        help="name this many unlabelled regions whose survey would tell most (suggested.csv)",
        within=at_least(0),
    )
