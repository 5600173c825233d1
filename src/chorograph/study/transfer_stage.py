"""`evaluate transfer`: what a model of one area is worth in another."""

from __future__ import annotations

from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.study.config import TransferConfig


def evaluate_transfer(config: TransferConfig, progress: Progress) -> Outcome:
    """Train on each area, test on each, into the folder `config.out`."""
    from chorograph.area.folder import Area
    from chorograph.models.encoders.registry import resolve

    if len(config.areas) < 2:
        raise InputError("options: transfer needs two or more areas")
    areas = [Area.open(path) for path in config.areas]
    names = [area.path.resolve() for area in areas]
    if len(set(names)) < len(names):
        raise InputError("options: the same area was given twice")

    def work(ledger: Ledger) -> None:
        from chorograph.study.transfer import run_transfer

        ledger.outputs += run_transfer(areas, config, ledger, progress)

    inputs = [area.table_path(name) for area in areas for name in ("regions", "images", "indicators", "poi_counts")]
    inputs += [area.embeddings_path(resolve(config.embeddings)) for area in areas]
    asked = {**plain(config), "areas": [str(name) for name in names], "out": str(config.out.resolve())}
    return run_stage("evaluate transfer", manifest=config.out / "manifest.json", config=asked, inputs=inputs, work=work)
