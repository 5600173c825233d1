"""What the questions asked of predictions can be asked with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting
from chorograph.prediction.config import PROBES

CORRUPTION_NAMES = ("cloud", "noise", "blur", "brightness", "flip", "rotation", "resolution", "jpeg")


@dataclass(frozen=True)
class ExplainConfig:
    """Settings of `chorograph evaluate explain`."""

    run: Path = setting(help="the run folder that `chorograph predict` wrote")
    out: Path | None = setting(None, help="folder to write; by default `explanation` in the run folder, for the report")
    concepts: Path | None = setting(None, help="a text file of words or phrases, one a line; default: a list of 18")
    tiles: int = setting(6, help="how many tiles are looked into by occlusion: half raise, half lower a prediction")
    grid: int = setting(8, help="cells a side that an occluded tile is parted into")
    draws: int = setting(5, help="how often the labels are permuted for the sanity check")
    seed: int = setting(0, help="decides permutations, re-drawn weights and the bootstrap")
    device: str = setting("cpu", help="torch device of the encoder: cpu, cuda")


@dataclass(frozen=True)
class RobustnessConfig:
    """Settings of `chorograph evaluate robustness`."""

    areas: list[Path] = setting(help="one or more area folders, with images and the indicator; no graph is needed")
    indicator: str = setting(help="what to predict, as named in indicators.parquet")
    out: Path = setting(help="folder for robustness.csv, matrix.csv, robustness.md and scores.json")
    model: list[str] = setting(["default"], help="encoders, as `embed` takes them; trained on whatever area")
    corruptions: str = setting("all", help=f"comma-separated, of {', '.join(CORRUPTION_NAMES)}; all; none")
    matrix: bool = setting(
        True, help="also encoder x feature set (original, cloudy, augmented, combined), fitted and tested on each"
    )
    log: bool = setting(False, help="fit the natural logarithm")
    plus: float = setting(0.0, help="with --log: add this first; 1 fits ln(1 + y)")
    per: str | None = setting(None, help="divide by this indicator first, to predict a share or rate")
    probe: str = setting("ridge", help=f"what is fitted on the features: {', '.join(PROBES)}", choices=PROBES)
    split: str = setting(
        "spatial_block",
        help="how regions are held out: spatial_block, cluster, leave_group_out, given:NAME, random (leaky)",
        choices=("spatial_block", "cluster", "leave_group_out", "given:", "random"),
    )
    block_m: float = setting(6000.0, help="side of a spatial block, in metres")
    folds: int = setting(5, help="number of folds")
    view: str = setting("satellite", help="which images", choices=("satellite", "street"))
    images: int = setting(0, help="images a region at most, drawn; 0: all")
    device: str = setting("cpu", help="torch device of the encoders: cpu, cuda")
    seed: int = setting(0, help="decides folds, draws and corruptions")


@dataclass(frozen=True)
class TextConfig:
    """Settings of `chorograph evaluate text`."""

    area: Path = setting(help="the area folder, with images and captions")
    indicator: str = setting(help="what to predict, as named in indicators.parquet")
    out: Path = setting(help="folder for the trained models, their vectors, text.json and text.md")
    log: bool = setting(False, help="fit the natural logarithm")
    per: str | None = setting(None, help="divide by this indicator first, to predict a share or rate")
    model: str = setting("coca-small", help="the CoCa architecture that is trained, from scratch")
    epochs: int = setting(12, help="passes over the images, the same for every variant")
    seeds: list[int] = setting([0], help="each variant is trained once a seed; scores are means over them")
    components: int = setting(64, help="components of the captions' TF-IDF, for text alone")
    modalities: str = setting("image", help="what the probe reads, comma-separated, as for predict; image among them")
    probe: str = setting("gp", help="what is fitted on the features, as for predict")
    block_m: float = setting(6000.0, help="side of a spatial block, in metres")
    buffer_m: float = setting(0.0, help="training keeps this far from tested regions, in metres")
    folds: int = setting(5, help="number of folds")
    device: str = setting("auto", help="torch device: auto, cpu, cuda")


@dataclass(frozen=True)
class TransferConfig:
    """Settings of `chorograph evaluate transfer`."""

    areas: list[Path] = setting(help="two or more area folders, each embedded with the same encoder")
    indicator: str = setting(help="what to predict, as named in every area's indicators.parquet")
    out: Path = setting(help="folder for transfer.csv, transfer.json and transfer.md")
    embeddings: str = setting("efficientnet-lite0", help="image vectors made by `chorograph embed`, by model name")
    log: bool = setting(False, help="fit the natural logarithm")
    per: str | None = setting(None, help="divide by this indicator first, to predict a share or rate")
    modalities: str = setting("image", help="comma-separated, of image, context, shape, poi; places do not transfer")
    probe: str = setting("gp", help=f"what is fitted on the features: {', '.join(PROBES)}", choices=PROBES)
    block_m: float = setting(6000.0, help="side of a spatial block, for the scores within an area, in metres")
    buffer_m: float = setting(0.0, help="within an area, training keeps this far from tested regions, in metres")
    folds: int = setting(5, help="number of folds within an area")
    neediest: str = setting("low", help="which end of the indicator is need: low or high", choices=("low", "high"))
    seed: int = setting(0, help="decides folds, bootstrap and fits")
