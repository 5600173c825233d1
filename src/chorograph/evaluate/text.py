"""`evaluate text`: its settings and its stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.area.config import plain, setting
from chorograph.area.stage import Ledger, Outcome, Progress, run_stage


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


def evaluate_text(config: TextConfig, progress: Progress) -> Outcome:
    """Train with and without text, predict from each, and compare, into the folder `config.out`."""
    from chorograph.area.folder import Area

    area = Area.open(config.area)

    def work(ledger: Ledger) -> None:
        from chorograph.evaluate.text_ablation import run_ablation

        ledger.outputs += run_ablation(area, config, ledger, progress)

    inputs = [area.table_path(name) for name in ("regions", "images", "captions", "indicators")]
    asked = {**plain(config), "area": str(area.path.resolve()), "out": str(config.out.resolve())}
    return run_stage("evaluate text", manifest=config.out / "manifest.json", config=asked, inputs=inputs, work=work)
