"""The settings of studies: how far a question is asked of predictions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import SEEDS, at_least, setting
from chorograph.prediction.probes.names import PROBES
from chorograph.prediction.settings import TaskSettings

CORRUPTION_NAMES = ("cloud", "noise", "blur", "brightness", "flip", "rotation", "resolution", "jpeg")


@dataclass(frozen=True, kw_only=True)
class ExplainSettings:
    """How far a run is looked into."""

    concepts: Path | None = setting(None, help="a text file of words or phrases, one a line; default: a list of 18")
    tiles: int = setting(
        6, help="how many tiles are looked into by occlusion: half raise, half lower a prediction", within=at_least(1)
    )
    grid: int = setting(8, help="cells a side that an occluded tile is parted into", within=at_least(2))
    draws: int = setting(5, help="how often the labels are permuted for the sanity check", within=at_least(1))
    seed: int = setting(0, help="decides permutations, re-drawn weights and the bootstrap", within=SEEDS)
    device: str = setting("cpu", help="torch device of the encoder: cpu, cuda")


@dataclass(frozen=True, kw_only=True)
class RobustnessSettings(TaskSettings):
    """Which corruptions, of which encoders' features, the predictions of a task are tested on."""

    model: list[str] = setting(["default"], help="encoders, as `embed` takes them; trained on whatever area")
    corruptions: str = setting("all", help=f"comma-separated, of {', '.join(CORRUPTION_NAMES)}; all; none")
    matrix: bool = setting(
        True, help="also encoder x feature set (original, cloudy, augmented, combined), fitted and tested on each"
    )
    view: str = setting("satellite", help="which images", choices=("satellite", "street"))
    images: int = setting(0, help="images a region at most, drawn; 0: all", within=at_least(0))
    device: str = setting("cpu", help="torch device of the encoders: cpu, cuda")
    modalities: str = setting("image", help="what the probe reads, comma-separated, as for predict; image among them")
    probe: str = setting("ridge", help="what is fitted on the features (`chorograph list probes`)", choices=PROBES)


@dataclass(frozen=True, kw_only=True)
class TextSettings(TaskSettings):
    """How the towers are trained that tell what text adds."""

    model: str = setting("coca-small", help="the CoCa architecture that is trained, from scratch")
    epochs: int = setting(12, help="passes over the images, the same for every variant", within=at_least(1))
    seeds: list[int] = setting(
        [0], help="each variant is trained once a seed; scores are means over them", within=SEEDS
    )
    origin: list[str] = setting(
        [], help="captions of these origins alone: template, refined, model:NAME, and what was before; default: all"
    )
    components: int = setting(64, help="components of the captions' TF-IDF, for text alone", within=at_least(1))
    modalities: str = setting("image", help="what the probe reads, comma-separated, as for predict; image among them")
    device: str = setting("auto", help="torch device: auto, cpu, cuda")


@dataclass(frozen=True, kw_only=True)
class TransferSettings(TaskSettings):
    """With which vectors and towards which end of need areas are compared."""

    embeddings: str = setting("efficientnet-lite0", help="image vectors made by `chorograph embed`, by model name")
    modalities: str = setting("image", help="comma-separated, of image, context, shape, poi; places do not transfer")
    neediest: str = setting("low", help="which end of the indicator is need: low or high", choices=("low", "high"))
