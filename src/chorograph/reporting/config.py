"""What `report` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting


@dataclass(frozen=True)
class ReportConfig:
    """Settings of `chorograph report`."""

    run: Path = setting(help="the run folder that `chorograph predict` wrote")
    out: Path | None = setting(None, help="the HTML file; by default report.html in the run folder")
