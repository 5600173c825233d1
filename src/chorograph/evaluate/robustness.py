"""`evaluate robustness`: what an encoder's features are worth when the imagery gets worse."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.area.config import plain, setting
from chorograph.area.errors import InputError
from chorograph.area.stage import Ledger, Outcome, Progress, run_stage
from chorograph.predict.config import PROBES

CORRUPTION_NAMES = ("cloud", "noise", "blur", "brightness", "flip", "rotation", "resolution", "jpeg")


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


def evaluate_robustness(config: RobustnessConfig, progress: Progress) -> Outcome:
    """Corrupt, encode, predict and score, into the folder `config.out`."""
    from chorograph.area.folder import Area

    if not config.areas or not config.model:
        raise InputError("options: robustness needs an area and a model")
    areas = [Area.open(path) for path in config.areas]

    def work(ledger: Ledger) -> None:
        from chorograph.evaluate.robustness_run import run_robustness

        ledger.outputs += run_robustness(areas, config, ledger, progress)

    inputs = [area.table_path(name) for area in areas for name in ("regions", "images", "indicators")]
    asked = {**plain(config), "areas": [str(area.path.resolve()) for area in areas], "out": str(config.out.resolve())}
    return run_stage(
        "evaluate robustness", manifest=config.out / "manifest.json", config=asked, inputs=inputs, work=work
    )
