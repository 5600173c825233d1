"""Choropleths: the regions in local metres, and four linked maps of prediction, truth, residual and interval width."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from bokeh.core.properties import field
from bokeh.models import (
    BooleanFilter,
    CDSView,
    ColorMapper,
    ColumnDataSource,
    FixedTicker,
    HoverTool,
    LinearColorMapper,
    LogColorMapper,
    PanTool,
    Range1d,
    ResetTool,
    SaveTool,
    TapTool,
    WheelZoomTool,
    ZoomInTool,
    ZoomOutTool,
)
from bokeh.models.annotations import ColorBar, ScaleBar
from bokeh.models.annotations.dimensional import MetricLength
from bokeh.models.renderers import DataRenderer
from bokeh.palettes import Purples256, RdBu11, Viridis256, interp_palette
from bokeh.plotting import figure
from numpy.typing import NDArray

from chorograph.area.middle import equal_area
from chorograph.reporting.numbers import Quantity, log_ticks, percent, robust_range, tick_labels, ticks
from chorograph.reporting.run import Run, axis_unit

#: Width of a map's frame in CSS pixels: two beside each other on a laptop of 1366 px.
FRAME_WIDTH = 556
_FRAME_HEIGHTS = (290, 372)
MISSING = "#d9dde1"
_OUTLINE = "#5f6b77"
#: Beyond this many corners, panning four maps is no longer smooth.
_MOST_CORNERS = 150_000
#: From this many regions on, a map that is being dragged shows a tenth of them until the hand rests.
_COARSE_WHILE_MOVING = 4000
#: Simplified borders may be this far off, in pixels of the first view: not visible until one zooms in.
_TOLERANCE_PX = 0.35
#: Round ratios for the ticks of a map of predicted over true values.
_FACTORS = (1.01, 1.02, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0, 30.0, 100.0, 1000.0)


@dataclass(frozen=True)
class Shapes:
    """Polygons as bokeh wants them: region, part, ring, corner, in whole metres; and how they were simplified."""

    xs: list[list[list[list[int]]]]
    ys: list[list[list[list[int]]]]
    full: tuple[float, float, float, float]
    dense: tuple[float, float, float, float]
    tolerance_m: float
    drawn: int


@dataclass(frozen=True)
class Maps:
    """The four figures by name, whether their first view leaves out far regions, and what to say about them."""

    figures: dict[str, figure]
    cropped: bool
    views: dict[str, tuple[float, float, float, float]]
    tolerance_m: float
    without_polygon: int


@dataclass(frozen=True)
class _Scale:
    """How values become colours, and the ticks of the colour bar."""

    mapper: ColorMapper
    ticks: dict[Any, Any]
    title: str


def shapes(regions: gpd.GeoDataFrame) -> Shapes:
    """Project regions to metres about their centre, simplify their shared borders together, and list their corners.

    The projection is Lambert's azimuthal equal-area one: true areas everywhere, true shapes near the centre. Borders
    are simplified as a coverage, so that neighbours stay neighbours, where the polygons form one.
    """
    held = regions.geometry.notna() & ~regions.geometry.is_empty
    polygons = regions.loc[held, ["geometry"]]
    metres = polygons.to_crs(equal_area(polygons))
    geometry = np.asarray(metres.geometry, dtype=object)
    full = tuple(float(edge) for edge in shapely.total_bounds(geometry))
    dense = _dense_box(shapely.bounds(geometry), full)
    tolerance = _TOLERANCE_PX * max((dense[2] - dense[0]) / FRAME_WIDTH, (dense[3] - dense[1]) / _FRAME_HEIGHTS[1])
    simple = _simplify(geometry, tolerance)
    while shapely.get_num_coordinates(simple).sum() > _MOST_CORNERS and tolerance < 64 * (dense[2] - dense[0]):
        tolerance *= 2
        simple = _simplify(geometry, tolerance)
    xs: list[list[list[list[int]]]] = [[] for _ in range(len(regions))]
    ys: list[list[list[list[int]]]] = [[] for _ in range(len(regions))]
    for position, shape in zip(np.flatnonzero(held.to_numpy()), simple, strict=True):
        for part in shapely.get_parts(shape):
            if shapely.get_type_id(part) != shapely.GeometryType.POLYGON:
                continue
            rings = [np.rint(shapely.get_coordinates(ring)).astype(int) for ring in shapely.get_rings(part)]
            xs[position].append([ring[:, 0].tolist() for ring in rings])
            ys[position].append([ring[:, 1].tolist() for ring in rings])
    return Shapes(xs, ys, full, dense, tolerance, int(held.sum()))  # type: ignore[arg-type]


def region_source(run: Run, outlines: Shapes | None, quantity: Quantity) -> ColumnDataSource:
    """Build the one table that every map and chart draws from, so that a region picked in one is picked in all."""
    frame = run.frame
    scored = run.scored.to_numpy()
    target, predicted = _floats(frame["target"]), _floats(frame["predicted"])
    lower, upper = _floats(frame["lower"]), _floats(frame["upper"])
    residual = np.where(scored, predicted - target, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(scored & (target > 0) & (predicted > 0), predicted / target, np.nan)
    columns: dict[str, Any] = {
        "xs": outlines.xs if outlines else [[] for _ in range(len(frame))],
        "ys": outlines.ys if outlines else [[] for _ in range(len(frame))],
        "region": _titles(run),
        "truth": target,
        "prediction": predicted,
        "lower": lower,
        "upper": upper,
        "residual": np.log(ratio) if run.scores.log else residual,
        "width": upper - lower,
        "prediction_text": [quantity.text(value) for value in predicted],
        "interval_text": [quantity.interval(*ends) for ends in zip(lower, upper, strict=True)],
        "truth_text": ["not known" if np.isnan(value) else quantity.exact(value) for value in target],
        "residual_text": [_residual_text(quantity, *pair) for pair in zip(residual, ratio, strict=True)],
        "status": _status(run),
        "basis": [_basis_text(*pair) for pair in zip(frame["basis"], frame["n_images"], strict=True)],
    }
    return ColumnDataSource(columns, name="regions")


def draw_maps(run: Run, outlines: Shapes, source: ColumnDataSource) -> Maps:
    """Draw the four maps over one source and one pair of ranges: moving one moves all."""
    width, height = FRAME_WIDTH, _frame_height(outlines.dense)
    dense, full = _fit(outlines.dense, width / height), _fit(outlines.full, width / height)
    x_range = Range1d(start=dense[0], end=dense[2], name="map-x")
    y_range = Range1d(start=dense[1], end=dense[3], name="map-y")
    unlabelled = run.unlabelled.to_numpy()
    figures = {}
    for name, scale in _scales(run, source).items():
        plot = _empty_map(height, x_range, y_range)
        fill = field(name, scale.mapper)
        drawn: list[DataRenderer] = []
        for hatched in (False, True):
            view = CDSView(filter=BooleanFilter((unlabelled == hatched).tolist()))
            drawn.append(
                plot.multi_polygons(
                    "xs", "ys", source=source, view=view, fill_color=fill, line_color=_OUTLINE, line_width=0.35,
                    hatch_pattern="/" if hatched else " ", hatch_color="#000000", hatch_alpha=0.4, hatch_scale=8,
                    hatch_weight=0.7, nonselection_fill_alpha=0.25, nonselection_line_alpha=0.3,
                    nonselection_hatch_alpha=0.15,
                )
            )  # fmt: skip
        plot.add_tools(HoverTool(renderers=drawn, tooltips=TOOLTIPS, point_policy="follow_mouse"))
        plot.add_layout(_colour_bar(scale), "below")
        plot.add_layout(_scale_bar(x_range))
        figures[name] = plot
    return Maps(
        figures=figures,
        cropped=outlines.dense != outlines.full,
        views={"dense": dense, "full": full},
        tolerance_m=outlines.tolerance_m,
        without_polygon=len(run.frame) - outlines.drawn,
    )


#: What the pointer tells about a region, in the maps and the parity plot. bokeh escapes the values.
TOOLTIPS = (
    '<div style="font: 13px/1.45 system-ui, sans-serif; color: #1b2733; max-width: 300px; padding: 2px 4px">'
    "<strong>@region</strong><br>predicted <strong>@prediction_text</strong><br>interval @interval_text<br>"
    "truth <strong>@truth_text</strong><br>residual @residual_text<br>"
    '<span style="color: #52606d">@status<br>from @basis</span></div>'
)


def _simplify(geometry: NDArray[np.object_], tolerance: float) -> NDArray[np.object_]:
    """Simplify polygons by metres of `tolerance`; a polygon that would vanish keeps its own corners."""
    polygonal = np.isin(
        shapely.get_type_id(geometry), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
    )
    # GEOS simplifies shared borders once from 3.12 on, and only where polygons neither overlap nor gape.
    if shapely.geos_version >= (3, 12, 0) and polygonal.all() and shapely.coverage_is_valid(geometry):
        simple = shapely.coverage_simplify(geometry, tolerance)
    else:
        simple = shapely.simplify(geometry, tolerance, preserve_topology=True)
    return np.where(shapely.is_empty(simple), geometry, simple)


def _dense_box(
    bounds: NDArray[np.float64], full: tuple[float, ...], share: float = 0.92
) -> tuple[float, float, float, float]:
    """Return the box that holds most regions whole, where that is much smaller than the box of all; else that of all.

    A county with a few vast rural tracts would otherwise show its city in a corner.
    """
    tail = 100 * (1 - share) / 2
    # The far edges of the regions kept, so that no region of the dense part is cut at the frame.
    west, south = np.percentile(bounds[:, :2], tail, axis=0)
    east, north = np.percentile(bounds[:, 2:], 100 - tail, axis=0)
    margin = 0.04 * max(east - west, north - south)
    box = (west - margin, south - margin, east + margin, north + margin)
    box = (max(box[0], full[0]), max(box[1], full[1]), min(box[2], full[2]), min(box[3], full[3]))
    area, whole = (box[2] - box[0]) * (box[3] - box[1]), (full[2] - full[0]) * (full[3] - full[1])
    chosen = box if 0 < area < 0.55 * whole else full
    return tuple(float(edge) for edge in chosen)  # type: ignore[return-value]


def _frame_height(box: tuple[float, float, float, float]) -> int:
    tall = FRAME_WIDTH * (box[3] - box[1]) / max(box[2] - box[0], 1e-9)
    return round(min(max(tall, _FRAME_HEIGHTS[0]), _FRAME_HEIGHTS[1]))


def _fit(box: tuple[float, float, float, float], aspect: float) -> tuple[float, float, float, float]:
    """Widen a box to `aspect` (width over height), with a small margin: metres are then equally long both ways."""
    west, south, east, north = box
    width, height = max((east - west) * 1.04, 1.0), max((north - south) * 1.04, 1.0)
    width, height = max(width, height * aspect), max(height, width / aspect)
    x, y = (west + east) / 2, (south + north) / 2
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _scales(run: Run, source: ColumnDataSource) -> dict[str, _Scale]:
    data = {name: np.asarray(source.data[name], dtype=float) for name in ("prediction", "truth", "residual", "width")}
    log, unit = run.scores.log, axis_unit(run.scores)
    values = _value_scale(np.concatenate([data["prediction"], data["truth"]]), Viridis256, unit, log=log)
    return {
        "prediction": values,
        "truth": values,  # the same colours, so that the two maps can be compared
        "residual": _ratio_scale(data["residual"]) if log else _residual_scale(data["residual"], unit),
        "width": _value_scale(data["width"], tuple(reversed(Purples256)), unit, log=log),
    }


def _value_scale(values: NDArray[np.float64], palette: Sequence[str], unit: str, *, log: bool) -> _Scale:
    positive = values[np.isfinite(values) & (values > 0)]
    low, high = robust_range(positive if log else values)
    log = log and low > 0
    kind = LogColorMapper if log else LinearColorMapper
    marks = (log_ticks if log else ticks)(low, high)
    title = f"{unit}{', logarithmic scale' if log else ''}"
    return _Scale(kind(palette=list(palette), low=low, high=high, nan_color=MISSING), tick_labels(marks), title)


def _residual_scale(residual: NDArray[np.float64], unit: str) -> _Scale:
    limit = _symmetric_limit(residual)
    marks = ticks(-limit, limit, most=7)
    labels = {mark: ("+" if mark > 0 else "") + label for mark, label in tick_labels(marks).items()}
    return _Scale(_diverging(limit), labels, f"predicted minus truth, {unit}")


def _ratio_scale(log_ratio: NDArray[np.float64]) -> _Scale:
    """Colour logarithms of predicted over truth: twice too high and half as high are equally dark."""
    limit = _symmetric_limit(log_ratio)
    outer = max((factor for factor in _FACTORS if np.log(factor) <= limit), default=_FACTORS[0])
    inner = min(_FACTORS, key=lambda factor: abs(np.log(factor) - np.log(outer) / 2))
    labels = {0.0: "as the truth"}
    for factor in {inner, outer}:
        labels[float(-np.log(factor))] = f"÷{factor:g}"
        labels[float(np.log(factor))] = f"×{factor:g}"
    return _Scale(_diverging(limit), dict(sorted(labels.items())), "predicted as a multiple of the truth")


def _symmetric_limit(values: NDArray[np.float64]) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(np.percentile(finite, 96)) or 1.0 if finite.size else 1.0


def _diverging(limit: float) -> ColorMapper:
    # Blue is too low, red too high: told apart by people who confuse red and green.
    return LinearColorMapper(palette=list(interp_palette(RdBu11, 255)), low=-limit, high=limit, nan_color=MISSING)


def _empty_map(height: int, x_range: Range1d, y_range: Range1d) -> figure:
    # A wheel that zooms would trap a reader who only scrolls down the page, hence the control key.
    wheel = WheelZoomTool(modifiers={"ctrl": True})
    pan = PanTool()
    plot = figure(
        frame_width=FRAME_WIDTH, frame_height=height, x_range=x_range, y_range=y_range, tools=[
            pan, wheel, ZoomInTool(), ZoomOutTool(), TapTool(), ResetTool(), SaveTool(),
        ], active_drag=pan, toolbar_location="right", min_border=2, lod_threshold=_COARSE_WHILE_MOVING,
    )  # fmt: skip
    plot.axis.visible = False
    plot.grid.visible = False
    plot.toolbar.logo = None
    plot.outline_line_color = "#c5ccd3"
    plot.background_fill_color = "#fbfcfd"
    return plot


def _colour_bar(scale: _Scale) -> ColorBar:
    return ColorBar(
        color_mapper=scale.mapper, ticker=FixedTicker(ticks=list(scale.ticks)),
        major_label_overrides={**scale.ticks}, title=scale.title, title_text_font_style="normal",
        title_text_font_size="12px", title_text_color="#1b2733", title_standoff=4, major_label_text_font_size="12px",
        major_label_text_color="#1b2733", major_tick_line_color="#1b2733", major_tick_in=0, major_tick_out=4,
        bar_line_color="#8a949e", orientation="horizontal", width=FRAME_WIDTH - 60, height=10, location=(24, 0),
        padding=4, margin=2, background_fill_alpha=0,
    )  # fmt: skip


def _scale_bar(x_range: Range1d) -> ScaleBar:
    return ScaleBar(
        range=x_range, unit="m", dimensional=MetricLength(), location="bottom_left", bar_length=0.16,
        bar_line_width=1.5, background_fill_alpha=0.75, border_line_color=None, label_text_font_size="11px", padding=4,
        margin=6,
    )  # fmt: skip


def _titles(run: Run) -> list[str]:
    pairs = zip(run.frame["region_id"].astype(str), run.frame["name"], strict=True)
    return [f"{name} ({region})" if name and name != region else region for region, name in pairs]


def _status(run: Run) -> list[str]:
    folds = ["labelled, not held out" if pd.isna(fold) else f"held out in fold {fold}" for fold in run.frame["fold"]]
    return ["unlabelled, predicted only" if bare else fold for fold, bare in zip(folds, run.unlabelled, strict=True)]


def _basis_text(basis: Any, n_images: Any) -> str:
    text = str(basis) if pd.notna(basis) else "data not recorded"
    if pd.isna(n_images):
        return text
    return f"{text} ({int(n_images)} {'image' if int(n_images) == 1 else 'images'})"


def _residual_text(quantity: Quantity, residual: float, ratio: float) -> str:
    if np.isnan(residual):
        return "not known"
    relative = f" ({'+' if ratio > 1 else ''}{percent(ratio - 1)})" if np.isfinite(ratio) else ""
    return f"{quantity.text(residual, signed=True)}{relative}"


def _floats(column: Any) -> NDArray[np.float64]:
    return np.asarray(column, dtype=np.float64)
