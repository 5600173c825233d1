"""What a run means for a decision: whom help would reach, what each kind of data adds, where to survey next."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from bokeh.models import NumeralTickFormatter, Range1d
from bokeh.models.annotations import Legend, LegendItem
from bokeh.plotting import figure

from chorograph.ground.errors import InputError
from chorograph.ground.files import check_regular, naming_damage
from chorograph.prediction.judging.scores import Row
from chorograph.reporting.charts import style
from chorograph.reporting.numbers import plain
from chorograph.reporting.run import Run

#: The share of regions that the cost curve counts as needy (`chorograph.metrics.decision.SHARES`).
_NEEDY = 0.2


@dataclass(frozen=True)
class Reached:
    """The cost curve, and in words how many of the neediest the model and its best rival find."""

    plot: figure
    text: str


def reached(run: Run, *, width: int = 600) -> Reached | None:
    """Draw how many of the neediest fifth of regions are reached when regions are served in each method's order.

    None for a run that was made before decisions were scored.
    """
    model, rival = run.scores.model, run.scores.best_baseline
    if not model.cost_curve:
        return None
    plot = figure(
        width=width, height=300, x_range=Range1d(start=0, end=1), y_range=Range1d(start=0, end=1.02), tools="",
        toolbar_location=None, x_axis_label="part of all regions served, in the predicted order",
        y_axis_label="part of the neediest fifth",
    )  # fmt: skip
    style(plot)
    plot.axis.formatter = NumeralTickFormatter(format="0 %")
    lines = [
        ("perfect order", [(0.0, 0.0), (_NEEDY, 1.0), (1.0, 1.0)], "#35855b", "dashed"),
        (model.name, model.cost_curve, "#2166ac", "solid"),
        *([(rival.name, rival.cost_curve, "#b2643c", "solid")] if rival is not None and rival.cost_curve else []),
        ("random order", [(0.0, 0.0), (1.0, 1.0)], "#8a949e", "dotted"),
    ]
    items = []
    for name, points, colour, dash in lines:
        across, up = zip(*points, strict=True)
        line: Any = plot.line(across, up, line_color=colour, line_dash=dash, line_width=2.5)
        items.append(LegendItem(label=name, renderers=[line]))
    plot.add_layout(Legend(items=items, location="bottom_right", label_text_font_size="12px", border_line_color=None))
    end = "lowest" if run.scores.neediest == "low" else "highest"
    text = (
        f"Need is taken to be the {end} values. Of the neediest fifth of regions, {_found(model)} are among the fifth "
        f"that the model calls neediest"
    )
    if rival is not None and rival.cost_curve:
        text += f", {_found(rival)} with {rival.name}"
    return Reached(plot, text + "; a random order finds 20 %.")


def ablation(folder: Path) -> list[dict[str, str]]:
    """Return the rows of ablation.csv as text; none where the run made none."""
    frame = _read(folder / "ablation.csv", ("modalities", "r2", "lower", "upper"))
    return [
        {
            "modalities": str(row["modalities"]),
            "r2": plain(float(row["r2"]), 3),
            "interval": ""
            if pd.isna(row["lower"])
            else f"{plain(float(row['lower']), 2)} to {plain(float(row['upper']), 2)}",
        }
        for row in frame.to_dict("records")
    ]


def suggestions(run: Run) -> list[dict[str, str]]:
    """Return the regions of suggested.csv with their names; none where none were asked for."""
    frame = _read(run.path / "suggested.csv", ("rank", "region_id", "variance_gone"))
    names = dict(zip(run.frame["region_id"].astype(str), run.frame["name"].astype(str), strict=True))
    return [
        {
            "rank": str(row["rank"]),
            "name": names.get(str(row["region_id"]), ""),
            "region_id": str(row["region_id"]),
            "gone": f"{plain(100 * float(row['variance_gone']), 1)} %",
        }
        for row in frame.to_dict("records")
    ]


def _found(row: Row) -> str:
    estimate = row.decision.get("recall@20")
    if estimate is None:
        return "–"
    share = f"{plain(100 * estimate.value, 0)} %"
    if not estimate.bounded:
        return share
    return f"{share} ({plain(100 * estimate.lower, 0)} to {plain(100 * estimate.upper, 0)})"


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    check_regular(path)
    with naming_damage(path, "a table", "run `chorograph predict` again"):
        frame = pd.read_csv(path, dtype={"region_id": str})
    if missing := [column for column in columns if column not in frame.columns]:
        raise InputError(f"{path} lacks the column {missing[0]!r}; run `chorograph predict` again")
    return frame
