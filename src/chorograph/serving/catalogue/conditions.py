"""What narrows a search: bounds on the map, ranges of indicators."""

from __future__ import annotations

import math

import numpy as np
import shapely
from numpy.typing import NDArray

from chorograph.ground.errors import InputError
from chorograph.serving.catalogue.served import ServedArea


def parse_bbox(text: str) -> tuple[float, float, float, float]:
    """Return west, south, east, north of a text of four numbers (of six: heights are left out); `InputError` else."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (4, 6) or not all(map(math.isfinite, numbers)):
        raise InputError(f"bbox is west,south,east,north in degrees, not {text[:100]!r}")
    west, south, east, north = numbers if len(numbers) == 4 else (numbers[0], numbers[1], numbers[3], numbers[4])
    if south > north:
        raise InputError(f"bbox: its south ({south}) lies north of its north ({north})")
    return west, south, east, north


def rows_in(served: ServedArea, bbox: str) -> NDArray[np.int64]:
    """Return the rows of the regions that meet a box; a west beyond its east crosses the 180th meridian."""
    west, south, east, north = parse_bbox(bbox)
    parts = [(west, east)] if west <= east else [(west, 180.0), (-180.0, east)]
    found = [served.tree.query(shapely.box(w, south, e, north), predicate="intersects") for w, e in parts]
    return np.unique(np.concatenate(found)).astype(np.int64)


def allowed_rows(served: ServedArea, bbox: str | None, where: list[str] | None) -> NDArray[np.bool_] | None:
    """Return which regions (n,) meet the bounds and every range of an indicator; None without conditions.

    The value of a region is what was observed, or else predicted.
    """
    if bbox is None and not where:
        return None
    allowed = np.ones(len(served.regions), dtype=bool)
    if bbox is not None:
        allowed[:] = False
        allowed[rows_in(served, bbox)] = True
    for condition in where or []:
        key, _, ends = condition.rpartition(":")
        low, dots, high = ends.partition("..")
        if not key or not dots:
            raise InputError(f"a condition is INDICATOR:LOW..HIGH, not {condition[:100]!r}")
        layer = served.layer(key)
        run = layer.run()
        values = layer.observed if run is None else np.where(np.isfinite(layer.observed), layer.observed, run.predicted)
        with np.errstate(invalid="ignore"):
            allowed &= (values >= _end(low, -math.inf)) & (values <= _end(high, math.inf))
    return allowed


def _end(text: str, otherwise: float) -> float:
    try:
        return float(text) if text.strip() else otherwise
    except ValueError:
        raise InputError(f"a condition's ends are numbers, not {text[:50]!r}") from None
