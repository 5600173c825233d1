"""A world map of where images lie, by UTM zone: one HTML file without a network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chorograph.ground.files import atomic_path

_BANDS = "CDEFGHJKLMNPQRSTUVWX"


def zone_box(zone: str) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a UTM zone and band as `29N` has it; Norway's exceptions are not drawn."""
    number, band = int(zone[:-1]), _BANDS.index(zone[-1])
    west, south = 6.0 * number - 186, 8.0 * band - 80
    return west, south, west + 6, south + (12 if zone[-1] == "X" else 8)


def write_world(path: Path, counts: Mapping[str, int], lon: ArrayLike, lat: ArrayLike, title: str) -> Path:
    """Write the map: images by zone, colours up to the median as RS5M draws them, and the world's towns as dots."""
    from bokeh.embed import file_html
    from bokeh.models import ColumnDataSource, HoverTool, LinearColorMapper, Range1d
    from bokeh.models.annotations import ColorBar
    from bokeh.palettes import Viridis256
    from bokeh.plotting import figure
    from bokeh.resources import INLINE

    plot = figure(
        title=f"{title}: images by UTM zone", x_range=Range1d(start=-180, end=180),
        y_range=Range1d(start=-80, end=84), sizing_mode="stretch_width",
        aspect_ratio=2.2, x_axis_label="longitude, degrees", y_axis_label="latitude, degrees",
        tools="pan,wheel_zoom,reset",
    )  # fmt: skip
    plot.scatter(np.asarray(lon), np.asarray(lat), size=1, color="#888888", alpha=0.4, legend_label="towns")
    boxes = np.array([zone_box(zone) for zone in counts]).reshape(-1, 4)
    numbers = np.array(list(counts.values()), dtype=float)
    top = max(float(np.median(numbers)), 1.0) if len(numbers) else 1.0
    colours = LinearColorMapper(palette=Viridis256, low=0, high=top)
    data: dict[str, Any] = {"left": boxes[:, 0], "bottom": boxes[:, 1], "right": boxes[:, 2], "top": boxes[:, 3],
            "zone": list(counts), "images": numbers}  # fmt: skip
    drawn = plot.quad(
        source=ColumnDataSource(data),
        fill_color={"field": "images", "transform": colours},
        fill_alpha=0.75,
        line_color=None,
    )
    plot.add_tools(HoverTool(renderers=[drawn], tooltips=[("zone", "@zone"), ("images", "@images{0,0}")]))
    plot.add_layout(ColorBar(color_mapper=colours, title="images (the median, and more)"), "right")
    with atomic_path(path) as temporary:
        temporary.write_text(file_html(plot, INLINE, title=f"{title}: images by UTM zone"), encoding="utf-8")
    return path
