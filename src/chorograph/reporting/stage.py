"""`report` as a stage."""

from __future__ import annotations

from pathlib import Path

from chorograph.ground.files import read_json
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage
from chorograph.reporting.config import ReportConfig


def report(config: ReportConfig, progress: Progress) -> Outcome:
    """Run `report`: one HTML file from a run folder."""
    from chorograph.reporting.page import write_report

    out = config.out or config.run / "report.html"
    area = Path(read_json(config.run / "manifest.json").get("config", {}).get("area", ""))

    def work(ledger: Ledger) -> None:
        ledger.outputs.append(write_report(config.run, out))

    inputs = [config.run / name for name in ("predictions.parquet", "scores.json", "manifest.json")]
    inputs.append(config.run / "explanation" / "explanation.json")
    # Sample tiles, title and licences are the area's.
    inputs += [area / name for name in ("area.toml", "images.parquet", "regions.parquet")]
    manifest = out.with_suffix(".manifest.json")
    asked = {**plain(config), "out": str(out)}
    return run_stage("report", manifest=manifest, config=asked, inputs=inputs, work=work)
