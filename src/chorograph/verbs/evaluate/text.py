"""`chorograph evaluate text`: whether text helps, by training with it and without."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.study.settings import TextSettings
from chorograph.verbs.verb import Verb

if TYPE_CHECKING:
    from chorograph.study.text import Variant


_TABLES = ("regions", "images", "captions", "captions_original", "indicators")


@dataclass(frozen=True, kw_only=True)
class Settings(TextSettings):
    """Settings of `chorograph evaluate text`."""

    area: Path = setting(help="the area folder, with images and captions")
    indicator: str = setting(help="what to predict, as named in indicators.parquet")
    out: Path = setting(help="folder for the trained models, their vectors, text.json and text.md")


def inputs(settings: Settings) -> list[Path]:
    """Return the tables of the area."""
    return [settings.area / f"{name}.parquet" for name in _TABLES]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Train with and without text, predict from each, and compare, into the folder `settings.out`."""
    from chorograph.area.captions.by_origin import of_origin
    from chorograph.area.folder import Area

    area = Area.open(settings.area)

    def work(ledger: Ledger) -> None:
        from chorograph.pretraining.config import PretrainConfig
        from chorograph.study.text import run_ablation
        from chorograph.verbs.pretrain import run as pretrain

        def train(variant: Variant, seed: int, folder: Path) -> None:
            asked = PretrainConfig(
                area=area.path,
                out=folder,
                objective=variant.objective,
                model=settings.model,
                epochs=settings.epochs,
                seed=seed,
                device=settings.device,
                shuffle_captions=variant.shuffled,
                captions=settings.origin,
            )
            pretrain(asked, progress)

        told = of_origin(area, settings.origin)
        ledger.outputs += run_ablation(told, settings.indicator, settings, settings.out, train, ledger, progress)

    asked = {**plain(settings), "area": str(area.path.resolve()), "out": str(settings.out.resolve())}
    manifest = settings.out / "manifest.json"
    return run_stage("evaluate text", manifest=manifest, config=asked, inputs=inputs(settings), work=work)


VERB = Verb(
    "evaluate text",
    "Train with and without text, and set the predictions side by side.",
    Settings,
    run,
    ("area",),
    "chorograph evaluate text my-area --indicator income --log --out text",
)
