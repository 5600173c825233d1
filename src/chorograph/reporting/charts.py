"""The parity plot, and the model's R2 beside the baselines'."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import (
    BooleanFilter,
    BoxSelectTool,
    CDSView,
    ColumnDataSource,
    FactorRange,
    FixedTicker,
    HoverTool,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    TapTool,
    WheelZoomTool,
)
from bokeh.models.annotations import Legend, LegendItem, Span, Whisker
from bokeh.models.renderers import DataRenderer
from bokeh.plotting import figure

from chorograph.prediction.judging.scores import Row
from chorograph.reporting.maps import TOOLTIPS
from chorograph.reporting.numbers import log_ticks, tick_labels, ticks
from chorograph.reporting.run import Run, axis_unit

_INSIDE, _OUTSIDE = "#2166ac", "#d95f02"
_COLOURS = {"model": "#2166ac", "baseline": "#7a8590", "attainable": "#1b7837"}
#: R2 below this is drawn at the edge: how much worse than the mean no longer matters.
_R2_FLOOR = -0.5


@dataclass(frozen=True)
class Parity:
    """The plot, how many regions are in it, and how many have their truth outside the interval."""

    plot: figure
    n: int
    outside: int
    not_drawn: int


def parity(run: Run, source: ColumnDataSource, *, width: int = 500, height: int = 430) -> Parity:
    """Plot predicted against true values of the held-out regions, with intervals and the line of equality."""
    log, unit = run.scores.log, axis_unit(run.scores)
    truth, predicted = (np.asarray(source.data[name], dtype=float) for name in ("truth", "prediction"))
    lower, upper = (np.asarray(source.data[name], dtype=float) for name in ("lower", "upper"))
    scored = run.scored.to_numpy()
    drawn = scored & (truth > 0) & (predicted > 0) if log else scored
    inside = (lower <= truth) & (truth <= upper)
    low, high = _span(np.concatenate([truth[drawn], predicted[drawn]]), log=log)
    plot = figure(
        frame_width=width, frame_height=height,
        x_range=Range1d(start=low, end=high), y_range=Range1d(start=low, end=high),
        x_axis_type="log" if log else "linear", y_axis_type="log" if log else "linear", tools=[
            BoxSelectTool(), PanTool(), WheelZoomTool(modifiers={"ctrl": True}), TapTool(), ResetTool(), SaveTool(),
        ], toolbar_location="right", x_axis_label=f"truth, {unit}", y_axis_label=f"predicted, {unit}",
    )  # fmt: skip
    style(plot)
    marks = tick_labels((log_ticks if log else ticks)(low, high))
    for axis in (plot.xaxis[0], plot.yaxis[0]):
        _mark(axis, marks)
    plot.line([low, high], [low, high], line_dash="dashed", line_color="#1b2733", line_width=1.2)
    items = []
    points: list[DataRenderer] = []
    for label, chosen, colour, marker in (
        ("truth inside the interval", drawn & inside, _INSIDE, "circle"),
        ("truth outside the interval", drawn & ~inside, _OUTSIDE, "triangle"),
    ):
        view = CDSView(filter=BooleanFilter(chosen.tolist()))
        plot.segment(
            "truth", "lower", "truth", "upper", source=source, view=view, line_color=colour, line_alpha=0.28,
            nonselection_line_alpha=0.05, selection_line_alpha=0.9,
        )  # fmt: skip
        point: Any = plot.scatter(
            "truth", "prediction", source=source, view=view, marker=marker, size=6, fill_color=colour, fill_alpha=0.75,
            line_color="white", line_width=0.4, nonselection_fill_alpha=0.12, nonselection_line_alpha=0.1,
        )  # fmt: skip
        points.append(point)
        items.append(LegendItem(label=f"{label} ({int(chosen.sum())})", renderers=[point]))
    plot.add_tools(HoverTool(renderers=points, tooltips=TOOLTIPS))
    plot.add_layout(
        Legend(
            items=items, orientation="horizontal", border_line_color=None, label_text_font_size="12px", margin=0,
        ),
        "above",
    )  # fmt: skip
    return Parity(plot, int(drawn.sum()), int((drawn & ~inside).sum()), int((scored & ~drawn).sum()))


def r2_chart(rows: list[Row], *, width: int = 600) -> figure:
    """Draw R2 in the fitted unit with its interval for every row that has one, in the order given."""
    scored = [(row, estimate) for row in rows if (estimate := row.fitted["r2"]) is not None]
    # Narrow enough to leave most of the width to the scale.
    names = [textwrap.fill(row.name, 24) for row, _ in scored]
    worst = min([estimate.value if not estimate.bounded else estimate.lower for _, estimate in scored] + [0.0])
    floor = max(worst, _R2_FLOOR)
    plot = figure(
        width=width, height=min(90 + 52 * len(names), 470),
        x_range=Range1d(start=floor - 0.06 * (1 - floor), end=1.0), y_range=FactorRange(factors=names[::-1]), tools="",
        toolbar_location=None, x_axis_label="R², 1 is perfect, 0 is no better than the mean",
    )  # fmt: skip
    style(plot)
    plot.ygrid.visible = False
    plot.yaxis.major_label_text_font_size = "13px"
    plot.yaxis.major_tick_line_color = None
    _mark(plot.xaxis[0], tick_labels(ticks(floor, 1.0)))
    plot.add_layout(Span(location=0, dimension="height", line_color="#8a949e", line_width=1))
    data = ColumnDataSource(
        {
            "name": names,
            "value": [max(estimate.value, floor) for _, estimate in scored],
            "lower": [max(estimate.lower if estimate.bounded else estimate.value, floor) for _, estimate in scored],
            "upper": [max(estimate.upper if estimate.bounded else estimate.value, floor) for _, estimate in scored],
            "colour": [_COLOURS.get(row.kind, _COLOURS["baseline"]) for row, _ in scored],
            "text": [f"{estimate.value:.2f}".replace("-", "−") for _, estimate in scored],
        }
    )
    plot.add_layout(
        Whisker(
            base="name", lower="lower", upper="upper", source=data, dimension="width", line_color="colour",
            line_width=2, upper_head=None, lower_head=None,
        )
    )  # fmt: skip
    plot.scatter("value", "name", source=data, size=10, fill_color="colour", line_color="white")
    plot.text(
        "value", "name", "text", source=data, y_offset=-8, text_align="center", text_font_size="12px",
        text_color="#1b2733",
    )  # fmt: skip
    return plot


def _span(values: np.ndarray[tuple[int], np.dtype[np.float64]], *, log: bool) -> tuple[float, float]:
    """Return axis ends a little beyond the values."""
    if not values.size:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    if log:
        margin = (high / low) ** 0.05 if high > low else 1.5
        return low / margin, high * margin
    margin = 0.05 * (high - low) or abs(high) * 0.1 or 1.0
    return low - margin, high + margin


def _mark(axis: Any, marks: dict[float, str]) -> None:
    axis.ticker = FixedTicker(ticks=list(marks))
    axis.major_label_overrides = marks


def style(plot: figure) -> None:
    """Give a plot the page's quiet lines and readable labels."""
    plot.toolbar.logo = None
    plot.outline_line_color = "#c5ccd3"
    plot.grid.grid_line_color = "#e8ebee"
    plot.axis.axis_label_text_font_style = "normal"
    plot.axis.axis_label_text_font_size = "13px"
    plot.axis.axis_label_text_color = "#1b2733"
    plot.axis.major_label_text_font_size = "12px"
    plot.axis.major_label_text_color = "#1b2733"
    plot.axis.minor_tick_line_color = None
    plot.axis.axis_line_color = "#8a949e"
