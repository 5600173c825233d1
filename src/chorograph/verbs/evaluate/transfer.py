"""`chorograph evaluate transfer`: what a model of one area is worth in another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.study.settings import TransferSettings
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings(TransferSettings):
    """Settings of `chorograph evaluate transfer`."""

    areas: list[Path] = setting(help="two or more area folders, each embedded with the same encoder")
    indicator: str = setting(help="what to predict, as named in every area's indicators.parquet")
    out: Path = setting(help="folder for transfer.csv, transfer.json and transfer.md")


def inputs(settings: Settings) -> list[Path]:
    """Return the tables and vectors of each area."""
    from chorograph.area.folder import Area
    from chorograph.models.encoders.registry import resolve

    areas = [Area.open(path) for path in settings.areas]
    tables = ("regions", "images", "indicators", "poi_counts")
    files = [area.table_path(name) for area in areas for name in tables]
    return files + [area.embeddings_path(resolve(settings.embeddings)) for area in areas]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Train on each area, test on each, into the folder `settings.out`."""
    from chorograph.area.folder import Area

    if len(settings.areas) < 2:
        raise InputError("options: transfer needs two or more areas")
    areas = [Area.open(path) for path in settings.areas]
    names = [str(area.path.resolve()) for area in areas]
    if len(set(names)) < len(names):
        raise InputError("options: the same area was given twice")

    def work(ledger: Ledger) -> None:
        from chorograph.study.transfer import run_transfer

        ledger.outputs += run_transfer(areas, settings.indicator, settings, settings.out, ledger, progress)

    asked = {**plain(settings), "areas": names, "out": str(settings.out.resolve())}
    manifest = settings.out / "manifest.json"
    return run_stage("evaluate transfer", manifest=manifest, config=asked, inputs=inputs(settings), work=work)


VERB = Verb(
    "evaluate transfer",
    "Train on each area, test on each: the matrix of transfer.",
    Settings,
    run,
    ("areas",),
    "chorograph evaluate transfer beijing shanghai --indicator income --log --out transfer",
)
