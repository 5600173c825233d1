"""Regions that are Baidu tiles, as UrbanCLIP and UrbanVLP have them: `CITY/16_X_Y`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from chorograph.acquisition.coordinates.baidu import bd09_to_wgs84, metres_to_bd09, tile_polygon
from chorograph.acquisition.holding import hold
from chorograph.area.draft import AreaDraft
from chorograph.ground.csv_rows import read_cells
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, Progress

_NAME = re.compile(r"(?P<zoom>\d{1,2})_(?P<x>\d+)_(?P<y>\d+)(_s)?")
_PAIR = re.compile(r"\(\s*(?P<x>\d+)\s*,\s*(?P<y>\d+)\s*\)")


def region_of(city: str, name: str, where: str) -> str:
    """Return the region id of a tile's file name; `InputError` saying `where` for another kind of name."""
    match = _NAME.fullmatch(Path(name).stem)
    if match is None:
        raise InputError(f"{where}: {name!r} is not a tile's name ZOOM_X_Y_s.jpg")
    return f"{city}/{match['zoom']}_{match['x']}_{match['y']}"


def region_of_pair(city: str, text: str, where: str) -> str:
    """Return the region id of a cell such as `(12677, 4730)`, read without evaluating it."""
    match = _PAIR.fullmatch(text.strip())
    if match is None:
        raise InputError(f"{where}: {text!r} is not a tile (X, Y)")
    return f"{city}/16_{match['x']}_{match['y']}"


def tile_of_region(region_id: str) -> tuple[int, int, int]:
    """Return (zoom, x, y) of a region id."""
    zoom, x, y = region_id.rsplit("/", 1)[1].split("_")
    return int(zoom), int(x), int(y)


def tile_regions(region_ids: Iterable[str]) -> gpd.GeoDataFrame:
    """Return the regions: outlines in WGS84 from the tile indices, grouped by city."""
    ids = sorted(set(region_ids))
    polygons = [tile_polygon(x, y, zoom) for zoom, x, y in map(tile_of_region, ids)]
    groups = [name.rsplit("/", 1)[0] for name in ids]
    return gpd.GeoDataFrame({"region_id": ids, "group": groups}, geometry=polygons, crs=4326)


def tile_images(
    draft: AreaDraft,
    region_ids: Iterable[str],
    files: dict[str, Path],
    ledger: Ledger,
    progress: Progress,
    *,
    skip_bad: bool,
    source: str,
    licence: str,
) -> pd.DataFrame:
    """Return one satellite image a region; those without a file are known, with an empty uri, and counted."""
    rows: list[dict[str, Any]] = []
    ids = sorted(set(region_ids))
    for done, region_id in enumerate(ids, start=1):
        zoom, x, y = tile_of_region(region_id)
        uri, sha256 = hold(draft, region_id, files.get(region_id), ledger, skip_bad=skip_bad)
        size = 256.0 * 2.0 ** (18 - zoom)
        lon, lat = bd09_to_wgs84(*metres_to_bd09((x + 0.5) * size, (y + 0.5) * size))
        rows.append(
            {
                "image_id": region_id,
                "region_id": region_id,
                "view": "satellite",
                "uri": uri,
                "sha256": sha256,
                "lon": float(lon),
                "lat": float(lat),
            }
        )
        progress("reading tiles", done, len(ids))
    # zoom, x and y of the contract are Web Mercator's; Baidu's indices stay in the id.
    frame = pd.DataFrame(rows).assign(source=source, licence=licence)
    ledger.count("images known", len(frame))
    ledger.count("images held", int(frame["uri"].notna().sum()))
    return frame


def numbers(frame: pd.DataFrame, column: str, path: Path) -> pd.Series[Any]:
    """Return a text column as numbers; `InputError` naming the line of the first that is none."""
    values = pd.to_numeric(frame[column], errors="coerce")
    if (wrong := (frame[column].notna() & values.isna()) | (values.abs() == np.inf)).any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{path}: {column} is {frame[column].iloc[row]!r}, no number, in line {row + 2}")
    return values


def read_table(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """Read a CSV as text; `InputError` where it is unreadable or lacks one of `columns`."""
    frame = read_cells(path).replace("", None)
    if missing := [column for column in columns if column not in frame.columns]:
        raise InputError(f"{path} has no column {missing[0]!r}; it has {', '.join(frame.columns)}")
    return frame
