"""A world map of where images lie, by UTM zone: one HTML file without a network."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

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
    """Write the map: images by zone, the darkest at the median as RS5M draws them, and the world's towns as dots."""
    most = max(float(np.median(list(counts.values()))), 1.0) if counts else 1.0
    boxes = "".join(_box(zone, number, most) for zone, number in sorted(counts.items()))
    places = np.unique(np.round(np.column_stack([np.asarray(lon, float), -np.asarray(lat, float)])), axis=0)
    dots = "".join(f"M{x:.0f} {y:.0f}h.5" for x, y in places.tolist())
    head = f"{escape(title)}: images by UTM zone"
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{head}</title><h1>{head}</h1>'
        f"<p>The darkest zones hold {most:,.0f} images (the median of zones) or more; dots are towns.</p>"
        f'<svg viewBox="-180 -84 360 164" role="img" aria-label="{head}">'
        f'<path d="{dots}" stroke="#999" stroke-width=".5"/>{boxes}</svg></html>\n'
    )
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _box(zone: str, number: int, most: float) -> str:
    west, south, east, north = zone_box(zone)
    opacity = 0.15 + 0.7 * min(number / most, 1.0)
    return (
        f'<rect x="{west:g}" y="{-north:g}" width="{east - west:g}" height="{north - south:g}" fill="#1a5276" '
        f'fill-opacity="{opacity:.2f}"><title>{escape(zone)}: {number:,} images</title></rect>'
    )
