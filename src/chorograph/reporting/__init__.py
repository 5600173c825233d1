"""Pages that need no network: maps, parity plots, score tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chorograph.prediction.result import Prediction


def report(run: Prediction | Path | str, out: Path | str) -> Path:
    """Draw a run as one HTML page; `run` is what `predict` returned, or a run folder. Returns `out`.

    Raises `InputError` where a run folder lacks a file.
    """
    from tempfile import TemporaryDirectory

    from chorograph.ground.files import write_json
    from chorograph.reporting.page import write_report

    if isinstance(run, Path | str):
        return write_report(Path(run), Path(out))
    with TemporaryDirectory() as folder:
        run.write(Path(folder))
        write_json(
            Path(folder) / "manifest.json", {"stage": "predict", "config": {"area": str(run.area.path.resolve())}}
        )
        return write_report(Path(folder), Path(out))
