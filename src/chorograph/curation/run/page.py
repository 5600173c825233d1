"""The funnel as an HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from chorograph.ground.files import atomic_path


def write_page(path: Path, statistics: Mapping[str, Any], samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> Path:
    """Write the page of a run: the funnel by source, reasons by step, and `samples` of what each step dropped."""
    with atomic_path(path) as temporary:
        temporary.write_text(render(statistics, samples), encoding="utf-8")
    return path


def render(statistics: Mapping[str, Any], samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the page; every text that comes from data is escaped."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["count"] = lambda number: f"{number:,}"
    template = files("chorograph.curation.run").joinpath("page.html.jinja").read_text(encoding="utf-8")
    total = statistics["funnel"][-1]
    left, bars = total["read"], []
    for step in statistics["steps"]:
        left -= total[step]
        bars.append({"step": step, "left": left, "dropped": total[step], "share": _share(left, total["read"])})
    return environment.from_string(template).render(
        **statistics, samples=samples, bars=bars, version=version("chorograph")
    )


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0
