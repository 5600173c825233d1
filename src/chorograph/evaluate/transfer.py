"""`evaluate transfer`: what a model of one area is worth in another."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.area.config import plain, setting
from chorograph.area.errors import InputError
from chorograph.area.stage import Ledger, Outcome, Progress, run_stage
from chorograph.predict.config import PROBES


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


def evaluate_transfer(config: TransferConfig, progress: Progress) -> Outcome:
    """Train on each area, test on each, into the folder `config.out`."""
    from chorograph.area.folder import Area
    from chorograph.models.registry import resolve

    if len(config.areas) < 2:
        raise InputError("options: transfer needs two or more areas")
    areas = [Area.open(path) for path in config.areas]
    names = [area.path.resolve() for area in areas]
    if len(set(names)) < len(names):
        raise InputError("options: the same area was given twice")

    def work(ledger: Ledger) -> None:
        from chorograph.evaluate.transfer_matrix import run_transfer

        ledger.outputs += run_transfer(areas, config, ledger, progress)

    inputs = [area.table_path(name) for area in areas for name in ("regions", "images", "indicators", "poi_counts")]
    inputs += [area.embeddings_path(resolve(config.embeddings)) for area in areas]
    asked = {**plain(config), "areas": [str(name) for name in names], "out": str(config.out.resolve())}
    return run_stage("evaluate transfer", manifest=config.out / "manifest.json", config=asked, inputs=inputs, work=work)
