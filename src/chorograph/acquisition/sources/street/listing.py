"""Listing what a service has around regions: small cells are asked, and full ones are asked again in quarters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, Progress

if TYPE_CHECKING:
    import geopandas as gpd

#: (west, south, east, north) in degrees.
Box = tuple[float, float, float, float]
#: Metres of a degree of latitude.
_DEGREE_M = 111_320.0
#: Cells asked at once, so that progress is seen.
_BATCH = 64
#: A cell is quartered so often at most: then what it is given is what there is.
_DEPTH = 8


@dataclass(frozen=True)
class Answer:
    """What a service said of a cell: its views, whether there are more than it gave, or why there is no answer."""

    views: list[dict[str, Any]] = field(default_factory=list)
    full: bool = False
    reason: str | None = None


def cells_around(regions: gpd.GeoDataFrame, margin_m: float, side: float) -> list[Box]:
    """Return cells of `side` degrees, on a grid from 0, that touch a region or come within `margin_m` of one."""
    held = regions.geometry[regions.geometry.notna()]
    parts = held.explode(ignore_index=True).to_numpy()
    bounds = shapely.bounds(parts)
    north = margin_m / _DEGREE_M
    east = north / np.maximum(np.cos(np.radians(np.abs(bounds[:, [1, 3]]).max(axis=1))), 0.01)
    found: set[Box] = set()
    for part, (west, south, right, top), across in zip(parts, bounds, east, strict=True):
        around = shapely.buffer(part, float(max(across, north))) if margin_m else part
        shapely.prepare(around)
        low = np.floor(np.array([west - across, south - north]) / side).astype(int)
        high = np.floor(np.array([right + across, top + north]) / side).astype(int)
        for x in range(low[0], high[0] + 1):
            for y in range(low[1], high[1] + 1):
                cell = (x * side, y * side, (x + 1) * side, (y + 1) * side)
                if around.intersects(shapely.box(*cell)):
                    found.add(_on_earth(cell))
    return sorted(found)


def list_views(
    cells: Sequence[Box], ask: Callable[[Sequence[Box]], list[Answer]], ledger: Ledger, progress: Progress
) -> list[dict[str, Any]]:
    """Return what a service has in cells, each view once by its `image_id`, in the order of their ids.

    A cell whose answer is not all there is, is asked again in quarters. Raises `InputError` where no cell is answered;
    cells without an answer are counted and told.
    """
    found: dict[str, dict[str, Any]] = {}
    waiting, asked, failed = [(cell, 0) for cell in cells], 0, []
    while waiting:
        batch, waiting = waiting[:_BATCH], waiting[_BATCH:]
        for (cell, depth), answer in zip(batch, ask([cell for cell, _ in batch]), strict=True):
            found.update((view["image_id"], view) for view in answer.views)
            if answer.reason is not None:
                failed.append(answer.reason)
            elif answer.full and depth < _DEPTH:
                waiting += [(quarter, depth + 1) for quarter in _quarters(cell)]
        asked += len(batch)
        progress("listing street views", asked, asked + len(waiting))
    if failed and len(failed) == asked:
        raise InputError(f"no street view could be listed: {failed[0]}; is the address right, and the token valid?")
    if failed:
        ledger.drop("cell that could not be listed", len(failed))
        ledger.warnings.append(f"{len(failed)} of {asked} cells could not be listed ({failed[0]}); run it again")
    return [found[name] for name in sorted(found)]


def _quarters(cell: Box) -> list[Box]:
    west, south, east, north = cell
    x, y = (west + east) / 2, (south + north) / 2
    return [(west, south, x, y), (x, south, east, y), (west, y, x, north), (x, y, east, north)]


def _on_earth(cell: Box) -> Box:
    """Return a cell beyond 180 degrees where it lies."""
    west, south, east, north = cell
    turns = np.floor((west + 180.0) / 360.0) * 360.0
    return float(west - turns), max(south, -90.0), float(east - turns), min(north, 90.0)
