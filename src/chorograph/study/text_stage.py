"""`evaluate text`: its stage."""

from __future__ import annotations

from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.study.config import TextConfig


def evaluate_text(config: TextConfig, progress: Progress) -> Outcome:
    """Train with and without text, predict from each, and compare, into the folder `config.out`."""
    from chorograph.area.folder import Area

    area = Area.open(config.area)

    def work(ledger: Ledger) -> None:
        from chorograph.study.text import run_ablation

        ledger.outputs += run_ablation(area, config, ledger, progress)

    inputs = [area.table_path(name) for name in ("regions", "images", "captions", "indicators")]
    asked = {**plain(config), "area": str(area.path.resolve()), "out": str(config.out.resolve())}
    return run_stage("evaluate text", manifest=config.out / "manifest.json", config=asked, inputs=inputs, work=work)
