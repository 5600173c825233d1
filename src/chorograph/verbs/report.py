"""`report`: a run as one HTML page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import plain, setting
from chorograph.ground.stage import Ledger, Outcome, Progress, read_manifest, run_stage
from chorograph.verbs.verb import Verb


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of `chorograph report`."""

    run: Path = setting(help="the run folder that `chorograph predict` wrote")
    out: Path | None = setting(None, help="the HTML file; by default report.html in the run folder")


def inputs(settings: Settings) -> list[Path]:
    """Return the files of the run, its explanation, and what the page takes from the area."""
    area = Path(read_manifest(settings.run / "manifest.json")["config"].get("area", ""))
    own = [settings.run / name for name in ("predictions.parquet", "scores.json", "manifest.json")]
    own.append(settings.run / "explanation")
    # Sample tiles, title, licences, descriptions, roads and the place in the world are the area's.
    tables = ("area.toml", "images.parquet", "regions.parquet", "descriptions.parquet", "context.parquet")
    return own + [area / name for name in (*tables, "captions_meta.manifest.json")]


def run(settings: Settings, progress: Progress) -> Outcome:
    """Draw the page; its manifest lies beside."""
    out = settings.out or settings.run / "report.html"

    def work(ledger: Ledger) -> None:
        from chorograph.reporting.report import write_report

        ledger.outputs.append(write_report(settings.run, out))

    return run_stage(
        "report",
        manifest=out.with_suffix(".manifest.json"),
        config={**plain(settings), "out": str(out)},
        inputs=inputs(settings),
        work=work,
    )


VERB = Verb(
    "report", "Draw a run as one HTML page that needs no network.", Settings, run, ("run",), "chorograph report run"
)
