"""What `predict` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting

MODALITIES = ("image", "context", "location", "shape", "poi", "graph", "text")
#: Parts of the graph, computed where they are asked for by name; `graph:NAME` are vectors of `graph embed`.
GRAPH_PARTS = ("graph-degrees", "graph-categories", "graph-surroundings", "graph-position")
#: Vectors of street views, made by `embed --view street` with the model of `embeddings`; where asked for by name.
STREET = "street"
PROBES = ("gp", "ridge", "boosting", "stack", "mlp", "knowcl-mlp")
FUSIONS = ("concat", "late", "attention")
POOLINGS = ("mean", "mean+std", "attention")
#: What a run uses unless told otherwise; on King County the others added nothing to these (docs/findings.md).
STANDARD = ("image", "context", "location")


@dataclass(frozen=True)
class PredictConfig:
    """Settings of `chorograph predict`."""

    area: Path = setting(help="the area folder")
    indicator: str = setting(help="what to predict, as named in indicators.parquet")
    out: Path | None = setting(None, help="run folder for predictions, scores and manifest")
    embeddings: str = setting("default", help="image vectors made by `chorograph embed`, by model name")
    texts: str | None = setting(None, help="caption vectors made by `chorograph embed --of captions`, by model name")
    log: bool = setting(False, help="fit the natural logarithm; results are given in the indicator's own unit")
    plus: float = setting(0.0, help="with --log: add this first; 1 fits ln(1 + y), which KnowCL does")
    per: str | None = setting(None, help="divide by this indicator first, to predict a share or rate")
    year: int | None = setting(None, help="the year to use, where the indicator has several")
    split: str = setting(
        "spatial_block",
        help="how regions are held out: spatial_block, cluster, leave_group_out, given:NAME, random (leaky)",
        choices=("spatial_block", "cluster", "leave_group_out", "given:", "random"),
    )
    block_m: float = setting(6000.0, help="side of a spatial block, in metres")
    buffer_m: float = setting(0.0, help="training keeps this far from tested regions, in metres")
    folds: int = setting(5, help="number of folds")
    repeats: int = setting(1, help="deal the folds this many times, and tell how far R2 varies")
    allow_leaks: bool = setting(False, help="go on where the answer could have been known; the report says so")
    modalities: str = setting(
        "standard",
        help=f"comma-separated, of {', '.join((*MODALITIES, STREET, *GRAPH_PARTS))}, graph:NAME (vectors of "
        "`graph embed`); all: the first seven; standard: image, context (imagery around), location",
    )
    probe: str = setting("gp", help=f"what is fitted on the features: {', '.join(PROBES)}", choices=PROBES)
    fusion: str = setting(
        "concat",
        help="modalities side by side (concat), a probe each and their weights (late), weights by region (attention)",
        choices=FUSIONS,
    )
    kriging: bool = setting(False, help="krige what the probe leaves unexplained, by location")
    pooling: str = setting(
        "mean", help="how image vectors become a region's: mean, mean+std, attention", choices=POOLINGS
    )
    level: float = setting(0.9, help="nominal coverage of the intervals")
    interval: str = setting(
        "cross",
        help="conformal: residuals of all other folds (cross), of one (split), the probe's moved quantiles (quantile)",
        choices=("cross", "split", "quantile"),
    )
    shift_weights: bool = setting(False, help="weigh residuals for regions that look unlike the labelled ones")
    neediest: str = setting("low", help="which end of the indicator is need: low or high", choices=("low", "high"))
    ablate: bool = setting(False, help="also score every subset of the modalities (ablation.csv)")
    suggest: int = setting(0, help="name this many unlabelled regions whose survey would tell most (suggested.csv)")
    seed: int = setting(0, help="decides folds, bootstrap and fits")
    save: str | None = setting(None, help="also file the predictions in the area, under this name")
