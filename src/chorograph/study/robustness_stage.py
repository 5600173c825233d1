"""`evaluate robustness`: what an encoder's features are worth when the imagery gets worse."""

from __future__ import annotations

from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.study.config import RobustnessConfig


def evaluate_robustness(config: RobustnessConfig, progress: Progress) -> Outcome:
    """Corrupt, encode, predict and score, into the folder `config.out`."""
    from chorograph.area.folder import Area

    if not config.areas or not config.model:
        raise InputError("options: robustness needs an area and a model")
    areas = [Area.open(path) for path in config.areas]

    def work(ledger: Ledger) -> None:
        from chorograph.study.robustness import run_robustness

        ledger.outputs += run_robustness(areas, config, ledger, progress)

    inputs = [area.table_path(name) for area in areas for name in ("regions", "images", "indicators")]
    asked = {**plain(config), "areas": [str(area.path.resolve()) for area in areas], "out": str(config.out.resolve())}
    return run_stage(
        "evaluate robustness", manifest=config.out / "manifest.json", config=asked, inputs=inputs, work=work
    )
