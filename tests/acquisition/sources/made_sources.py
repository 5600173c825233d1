"""An area of two regions beside each other, each of three by four map tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
from shapely.geometry import box

from chorograph.area.draft import AreaDraft
from chorograph.area.tiles import tile_bounds

#: The tiles of the regions: zoom 16, six columns, four rows, somewhere in Bavaria.
ZOOM, WEST, NORTH, COLUMNS, ROWS = 16, 34880, 22640, 6, 4
ALLOW = ["127.0.0.3/32"]


def tiles_box(x: int, y: int, columns: int, rows: int) -> Any:
    """Return the rectangle of tiles in degrees, a little smaller than they are."""
    west, _, _, north = (float(edge) for edge in tile_bounds(x, y, ZOOM))
    _, south, east, _ = (float(edge) for edge in tile_bounds(x + columns - 1, y + rows - 1, ZOOM))
    return box(west, south, east, north).buffer(-(east - west) / 100)


def make_area(path: Path) -> Path:
    """Make the area."""
    shapes = [tiles_box(WEST, NORTH, 3, ROWS), tiles_box(WEST + 3, NORTH, 3, ROWS)]
    with AreaDraft(path, "city", "City") as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": ["west", "east"]}, geometry=shapes, crs=4326))
    return path


def tables(area: Path) -> dict[str, Any]:
    """Return what an area holds apart from times: the bytes of its files, and what its manifests count."""
    found: dict[str, Any] = {}
    for path in sorted(area.rglob("*")):
        if path.is_file() and not path.name.endswith("manifest.json"):
            found[str(path.relative_to(area))] = path.read_bytes()
    return found
