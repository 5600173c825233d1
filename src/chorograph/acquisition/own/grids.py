"""Regions drawn inside a boundary: squares, hexagons (H3) or map tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import shapely

from chorograph.area.middle import equal_area
from chorograph.area.tiles import tile_bounds, tile_of
from chorograph.ground.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: More cells than this are a slip of the keyboard.
_MOST_CELLS = 5_000_000


def cells_within(boundary: gpd.GeoDataFrame, grid: str) -> gpd.GeoDataFrame:
    """Return region_id and geometry of the cells whose middle lies within `boundary` (EPSG:4326).

    `grid` is `square:METRES` (sides of equal ground length about the boundary's middle), `tiles:ZOOM` (Web Mercator) or
    `h3:RESOLUTION`. A boundary smaller than a cell gets the cells it touches. Raises `InputError` for another grid, or
    one of more than five million cells.
    """
    kind, _, size = grid.partition(":")
    try:
        number = float(size)
        make = {"square": _squares, "tiles": _tiles, "h3": _hexagons}[kind]
    except (KeyError, ValueError):
        raise InputError(f"--grid is square:METRES, tiles:ZOOM or h3:RESOLUTION, not {grid!r}") from None
    area = shapely.union_all(boundary.geometry.dropna().to_numpy())
    ids, cells = make(boundary, number)
    shapely.prepare(area)
    inside = shapely.intersects(area, shapely.centroid(cells))
    if not inside.any():
        inside = shapely.intersects(area, cells)
    if not inside.any():
        raise InputError(f"no cell of {grid} lies within the boundary")
    return gpd.GeoDataFrame({"region_id": np.asarray(ids, dtype=object)[inside]}, geometry=cells[inside], crs=4326)


def _squares(boundary: gpd.GeoDataFrame, metres: float) -> tuple[list[str], NDArray[np.object_]]:
    if not 1 <= metres <= 1e6:
        raise InputError(f"a square of {metres:g} m is none; give 1 to 1,000,000")
    crs = equal_area(boundary)
    west, south, east, north = boundary.to_crs(crs).total_bounds
    columns = np.arange(np.floor(west / metres), np.ceil(east / metres))
    rows = np.arange(np.floor(south / metres), np.ceil(north / metres))
    _check(len(columns) * len(rows))
    x, y = (axis.ravel() for axis in np.meshgrid(columns, rows))
    flat = shapely.box(x * metres, y * metres, (x + 1) * metres, (y + 1) * metres)
    cells = gpd.GeoSeries(flat, crs=crs).to_crs(4326).to_numpy()
    return [f"r{row:.0f}c{column:.0f}" for column, row in zip(x, y, strict=True)], np.asarray(cells, dtype=object)


def _tiles(boundary: gpd.GeoDataFrame, zoom: float) -> tuple[list[str], NDArray[np.object_]]:
    if zoom % 1 or not 0 <= zoom <= 24:
        raise InputError(f"zoom is a whole number from 0 to 24, not {zoom:g}")
    level = int(zoom)
    west, south, east, north = boundary.total_bounds
    (first, last), (top, bottom) = tile_of([west, east], [north, south], level)
    _check((last - first + 1) * (bottom - top + 1))
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(first, last + 1), np.arange(top, bottom + 1)))
    return [f"{level}/{a}/{b}" for a, b in zip(x, y, strict=True)], np.asarray(shapely.box(*tile_bounds(x, y, level)))


def _hexagons(boundary: gpd.GeoDataFrame, resolution: float) -> tuple[list[str], NDArray[np.object_]]:
    try:
        import h3
    except ImportError as error:
        raise MissingExtraError.of("acquire", error) from error
    if resolution % 1 or not 0 <= resolution <= 15:
        raise InputError(f"an H3 resolution is a whole number from 0 to 15, not {resolution:g}")
    level = int(resolution)
    area = shapely.union_all(boundary.geometry.dropna().to_numpy())
    # Overlapping cells, so that a boundary smaller than one finds it; the caller keeps those whose middle lies within.
    cells: Any = sorted(h3.h3shape_to_cells_experimental(h3.geo_to_h3shape(area), level, contain="overlap"))
    _check(len(cells))
    shapes = [shapely.Polygon([(lon, lat) for lat, lon in h3.cell_to_boundary(cell)]) for cell in cells]
    return list(cells), np.asarray(shapes, dtype=object)


def _check(number: float) -> None:
    if number > _MOST_CELLS:
        raise InputError(f"the grid would have {number:,.0f} cells; give larger ones")
