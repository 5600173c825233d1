"""`chorograph evaluate robustness`: what an encoder's features are worth when the imagery gets worse."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.study.settings import RobustnessSettings
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(RobustnessSettings):
    """Settings of `chorograph evaluate robustness`."""

    areas: list[Path] = setting(help="one or more area folders, with images and the indicator; no graph is needed")
    indicator: str = setting(help="what to predict, as named in indicators.parquet")
    out: Path = setting(help="folder for robustness.csv, matrix.csv, robustness.md and scores.json")


def inputs(settings: Settings) -> list[Path]:
    """Return the tables of each area."""
    return [area / f"{name}.parquet" for area in settings.areas for name in ("regions", "images", "indicators")]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Corrupt, encode, predict and score, into the folder `settings.out`."""
    from chorograph.area.folder import Area

    if not settings.areas or not settings.model:
        raise InputError("options: robustness needs an area and a model")
    areas = [Area.open(path) for path in settings.areas]

    def work(ledger: Ledger) -> None:
        from chorograph.study.robustness import run_robustness

        ledger.outputs += run_robustness(areas, settings.indicator, settings, settings.out, ledger, progress)

    asked = {
        **plain(settings),
        "areas": [str(area.path.resolve()) for area in areas],
        "out": str(settings.out.resolve()),
    }
    manifest = settings.out / "manifest.json"
    return run_stage("evaluate robustness", manifest=manifest, config=asked, inputs=inputs(settings), work=work)


VERB = Verb(
    "evaluate robustness",
    "Corrupt the imagery at five strengths, and say what each encoder's predictions lose.",
    Settings,
    run,
    ("areas",),
    "chorograph evaluate robustness my-area --indicator income --log --out robustness",
)
