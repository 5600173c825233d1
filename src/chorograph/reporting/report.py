"""The report of a run: one HTML file that draws from a double-clicked file, without any network."""

from __future__ import annotations

from pathlib import Path

from chorograph.ground.files import atomic_path
from chorograph.reporting.page import render
from chorograph.reporting.run import read_runs


def write_report(run: Path, out: Path | None = None) -> Path:
    """Write the report of the run folder `run` as one HTML file (default `run/report.html`); returns where.

    Raises `InputError` naming the file of the run folder that is missing or damaged. An area that has moved costs the
    report its names, tiles and sources, and the page says so.
    """
    run, out = Path(run), Path(out) if out is not None else Path(run) / "report.html"
    runs, left_out = read_runs(run)
    html = render(runs, left_out)
    with atomic_path(out) as temporary:
        temporary.write_text(html, encoding="utf-8")
    return out
