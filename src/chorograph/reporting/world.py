"""A world map of where images lie, by UTM zone: in the report of a run, and as a page of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike

from chorograph.area.folder import Area
from chorograph.captioning.enriching.places import land_points
from chorograph.ground.errors import MissingExtraError
from chorograph.ground.files import atomic_path, read_json
from chorograph.reporting.numbers import plain

#: What `chorograph captions meta` wrote down of an area.
_STATISTICS = "captions_meta.manifest.json"
_FACTS = {
    "facts?": {
        "images by UTM zone?": {str: int},
        "places named?": {str: int},
        "captions that name a place?": int,
    }
}
_ZONE = re.compile(r"(?:[1-9]|[1-5]\d|60)[C-HJ-NP-X]")
#: UTM zones and names of places that the report lists.
_LISTED = 8

_BANDS = "CDEFGHJKLMNPQRSTUVWX"


@dataclass(frozen=True)
class InTheWorld:
    """Where images and captions of an area lie: the map, a sentence on it, and counts by zone and by name."""

    picture: Markup
    text: str
    zones: list[tuple[str, str]]
    names: list[tuple[str, str]]


def in_the_world(area: Area | None) -> InTheWorld | None:
    """Return the geo-statistics that `chorograph captions meta` counted in an area; None where it did not."""
    if area is None or not (area.path / _STATISTICS).is_file():
        return None
    facts = read_json(area.path / _STATISTICS, _FACTS).get("facts") or {}
    zones = {name: n for name, n in (facts.get("images by UTM zone") or {}).items() if _ZONE.fullmatch(name)}
    names = facts.get("places named") or {}
    if not zones and not names:
        return None
    held, named = sum(zones.values()), facts.get("captions that name a place") or 0
    within = f"{plain(len(zones), 0)} UTM {'zone' if len(zones) == 1 else 'zones'}"
    text = (
        f"{plain(held, 0)} images have a position, in {within}; the darkest hold {plain(darkest(zones), 0)} or more. "
        f"{plain(named, 0)} captions name a country, continent or town."
    )
    return InTheWorld(Markup(world_map(zones, *_towns(), text)), text, _listed(zones), _listed(names))  # noqa: S704


def _listed(counts: Mapping[str, int]) -> list[tuple[str, str]]:
    most = sorted(counts.items(), key=lambda item: -item[1])[:_LISTED]
    return [(name, plain(number, 0)) for name, number in most]


def _towns() -> tuple[ArrayLike, ArrayLike]:
    try:
        return land_points()
    except MissingExtraError:  # the map without its dots
        return [], []


def zone_box(zone: str) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a UTM zone and band as `29N` has it; Norway's exceptions are not drawn."""
    number, band = int(zone[:-1]), _BANDS.index(zone[-1])
    west, south = 6.0 * number - 186, 8.0 * band - 80
    return west, south, west + 6, south + (12 if zone[-1] == "X" else 8)


def world_map(counts: Mapping[str, int], lon: ArrayLike, lat: ArrayLike, label: str) -> str:
    """Return the map as SVG: images by zone, the darkest at the median as RS5M draws them, and the towns as dots."""
    most = darkest(counts)
    boxes = "".join(_box(zone, number, most) for zone, number in sorted(counts.items()))
    places = np.unique(np.round(np.column_stack([np.asarray(lon, float), -np.asarray(lat, float)])), axis=0)
    dots = "".join(f"M{x:.0f} {y:.0f}h.5" for x, y in places.tolist())
    return (
        f'<svg class="world" viewBox="-180 -84 360 164" role="img" aria-label="{escape(label)}">'
        f'<path d="{dots}" stroke="#999" stroke-width=".5"/>{boxes}</svg>'
    )


def darkest(counts: Mapping[str, int]) -> float:
    """Return how many images a zone holds that is drawn darkest: the median of zones."""
    return max(float(np.median(list(counts.values()))), 1.0) if counts else 1.0


def write_world(path: Path, counts: Mapping[str, int], lon: ArrayLike, lat: ArrayLike, title: str) -> Path:
    """Write a page with the map alone."""
    head = f"{title}: images by UTM zone"
    text = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(head)}</title><h1>{escape(head)}</h1>'
        f"<p>The darkest zones hold {darkest(counts):,.0f} images (the median of zones) or more; dots are towns.</p>"
        f"{world_map(counts, lon, lat, head)}</html>\n"
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
