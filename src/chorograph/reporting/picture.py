"""A map as a picture: what a notebook shows of an indicator, drawn as SVG without a plotting library."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise
from pathlib import Path

import geopandas as gpd
import numpy as np

from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path
from chorograph.prediction.judging.scores import Scores
from chorograph.reporting.maps import outlines_of
from chorograph.reporting.page import VALUES, Layer, colour_of, layer_of, quantity_of
from chorograph.reporting.wording import indicator_title

_WIDTH, _HEIGHT, _LEGEND = 640, 480, 170


@dataclass(frozen=True)
class Picture:
    """A drawing that shows itself in a notebook; `svg` is its text."""

    svg: str

    def _repr_svg_(self) -> str:
        return self.svg

    def save(self, path: Path | str) -> Path:
        """Write the drawing as an SVG file; returns where."""
        out = Path(path)
        with atomic_path(out) as temporary:
            temporary.write_text(self.svg, encoding="utf-8")
        return out

    def __repr__(self) -> str:
        """Say what it is, not all of it."""
        return f"<Picture, {len(self.svg):,} characters of SVG; .save(path) writes it>"


def draw_map(frame: gpd.GeoDataFrame, scores: Scores) -> Picture:
    """Draw the predictions of an indicator in classes of colour, with a legend; regions without one are grey.

    Raises `InputError` where no region has a place.
    """
    paths, view, _ = outlines_of(frame)
    if not any(paths):
        raise InputError("the regions have no geometry, so there is no map to draw")
    quantity = quantity_of(frame, scores)
    values = frame["predicted"].to_numpy(float)
    log = scores.log and bool((values[np.isfinite(values)] > 0).all())
    layer = layer_of(values, quantity, VALUES, log=log)
    shapes = "".join(
        f'<path d="{path}" fill="{colour_of(value, layer)}"><title>{escape(str(region))}: {quantity.text(value)}'
        "</title></path>"
        for path, value, region in zip(paths, values, frame["region_id"], strict=True)
        if path
    )
    return Picture(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH + _LEGEND}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH + _LEGEND} {_HEIGHT}" font-family="sans-serif" font-size="12">'
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="{" ".join(map(str, view))}">'
        f'<g stroke="#5f6b77" stroke-width="0.5" style="vector-effect: non-scaling-stroke">{shapes}</g></svg>'
        f"{_legend(layer, scores)}</svg>"
    )


def _legend(layer: Layer, scores: Scores) -> str:
    left = _WIDTH + 12
    words = [f'<text x="{left}" y="20" font-weight="bold">{escape(indicator_title(scores))}</text>']
    words.append(f'<text x="{left}" y="36">{escape(scores.unit)}</text>')
    ends = layer.labels
    said = [f"below {ends[0]}", *(f"{low} to {high}" for low, high in pairwise(ends)), f"{ends[-1]} and above"]
    for number, (colour, text) in enumerate(zip(layer.colours, said, strict=True)):
        top = 48 + 20 * number
        words.append(f'<rect x="{left}" y="{top}" width="22" height="14" fill="{colour}" stroke="#5f6b77"/>')
        words.append(f'<text x="{left + 30}" y="{top + 11}">{escape(text)}</text>')
    return "".join(words)
