"""Vectors of the ground made elsewhere, a vector a cell: brought to regions by the share of each cell in a region."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_array

from chorograph.acquisition.sources.rasters import Bounds, Raster, on_raster
from chorograph.ground.arrays import Mask, Matrix, Vector, Vectors
from chorograph.ground.errors import MissingExtraError

#: Cells of a side that are read at once: those of AlphaEarth's own blocks, 256 MB of 64 numbers.
_SIDE = 1024


@dataclass(frozen=True)
class Field:
    """A raster of vectors: `read` returns a window of it as float32 (width, rows, columns), NaN where there is none.

    `raster` says its grid.
    """

    raster: Raster
    width: int
    read: Callable[[slice, slice], Vectors]


def pooled(fields: Iterable[Field], geometry: NDArray[np.object_], width: int) -> tuple[Matrix, Vector]:
    """Return the mean vector (n, width) of polygons (EPSG:4326), and the share (n,) of each that has vectors.

    A cell weighs by its area in the polygon. A polygon in several fields takes its mean over all; one in none is NaN.
    Cells are weighed once and a block of vectors multiplied by the weights, which is several times as fast as a mean a
    band.
    """
    sums, weights, shares = np.zeros((len(geometry), width)), np.zeros(len(geometry)), np.zeros(len(geometry))
    for field in fields:
        placed, area = on_raster(geometry, field.raster)
        held = np.flatnonzero(~shapely.is_missing(placed))
        if not len(held):
            continue
        cell_width, cell_height = field.raster.cell
        for rows, columns in _blocks(field.raster, shapely.total_bounds(placed[held])):
            bounds = field.raster.bounds_of(rows, columns)
            near = held[shapely.intersects(placed[held], shapely.box(*bounds))]
            if not len(near):
                continue
            shape = (rows.stop - rows.start, columns.stop - columns.start)
            coverage = _coverage(placed[near], field.raster, bounds, shape)
            values = field.read(rows, columns).reshape(width, -1)
            known: Mask = np.asarray(np.isfinite(values).all(0))
            coverage = coverage @ _diagonal(known.astype(np.float64))
            sized = coverage @ _diagonal(_areas(field.raster, bounds, shape))
            sums[near] += sized @ np.where(known, values, 0.0).T.astype(np.float64)
            weights[near] += sized.sum(1)
            shares[near] += coverage.sum(1) * cell_width * cell_height / area[near]
    with np.errstate(invalid="ignore"):
        return sums / np.where(weights > 0, weights, np.nan)[:, None], shares


def _blocks(raster: Raster, bounds: Any) -> Iterable[tuple[slice, slice]]:
    window = raster.window(tuple(float(edge) for edge in bounds))  # type: ignore[arg-type]
    if window is None:
        return
    rows, columns = window
    for top in range(rows.start // _SIDE * _SIDE, rows.stop, _SIDE):
        for left in range(columns.start // _SIDE * _SIDE, columns.stop, _SIDE):
            yield (
                slice(max(top, rows.start), min(top + _SIDE, rows.stop)),
                slice(max(left, columns.start), min(left + _SIDE, columns.stop)),
            )


def _coverage(placed: NDArray[np.object_], raster: Raster, bounds: Bounds, shape: tuple[int, int]) -> Any:
    """Return the share of each cell of a block that lies in each polygon, as a sparse matrix (polygons, cells)."""
    try:
        import geopandas as gpd
        from exactextract import exact_extract
        from exactextract.raster import NumPyRasterSource
    except ImportError as error:
        raise MissingExtraError.of("acquire", error) from error
    crs = raster.crs.to_wkt()
    west, south, east, north = bounds
    source = NumPyRasterSource(np.zeros(shape, np.float32), west, south, east, north, srs_wkt=crs)
    frame = gpd.GeoDataFrame({"row": np.arange(len(placed))}, geometry=placed, crs=crs)
    found = exact_extract(source, frame, ["cell_id", "coverage"], include_cols=["row"], output="pandas")
    found = found.sort_values("row")
    lengths = [len(cells) for cells in found["cell_id"]]
    pointers = np.concatenate([[0], np.cumsum(lengths)])
    cells = np.concatenate([*found["cell_id"], np.empty(0, np.int64)]).astype(np.int64)
    shares = np.concatenate([*found["coverage"], np.empty(0)])
    return csr_array((shares, cells, pointers), shape=(len(placed), shape[0] * shape[1]))


def _areas(raster: Raster, bounds: Bounds, shape: tuple[int, int]) -> Vector:
    """Return what each cell of a block weighs: its area, in degrees with the cosine of its latitude."""
    _, south, _, north = bounds
    width, height = raster.cell
    size = np.full(shape[0], width * height)
    if raster.crs.is_geographic:
        middle = north - (np.arange(shape[0]) + 0.5) * (north - south) / shape[0]
        size = width * height * np.cos(np.radians(middle))
    return np.repeat(size, shape[1])


def _diagonal(values: Vector) -> Any:
    from scipy.sparse import diags_array

    return diags_array(values)
