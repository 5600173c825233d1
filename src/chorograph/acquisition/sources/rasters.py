"""Rasters of numbers, seen north up: their grid, and the polygons of regions laid on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from chorograph.acquisition.sources.documents import is_url
from chorograph.acquisition.sources.secrets import with_secrets
from chorograph.area.raster_files import open_raster, open_remote_raster
from chorograph.ground.arrays import Mask, Vector
from chorograph.ground.errors import InputError

#: Edges are cut to this many degrees before they are brought to another projection: a chord of 2 km lies 0.1 m off.
_EDGE_DEG = 0.02
SUFFIXES = (".tif", ".tiff")

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Raster:
    """An opened raster, whichever way its rows run.

    `bounds`: west, south, east, north in `crs`. `shape`: rows, columns. `place` names it in messages.
    """

    dataset: Any
    crs: pyproj.CRS
    bounds: Bounds
    shape: tuple[int, int]
    place: str

    @property
    def south_up(self) -> bool:
        """Whether its rows run from south to north, as AlphaEarth's do."""
        return bool(self.dataset.transform.e > 0)

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of a cell, in units of the reference system."""
        west, south, east, north = self.bounds
        return (east - west) / self.shape[1], (north - south) / self.shape[0]

    def read(self, bands: int | list[int], rows: slice, columns: slice) -> Any:
        """Return a window as it is stored (masked where it says no data), the first row the northernmost."""
        from rasterio.windows import Window

        top, height = rows.start, rows.stop - rows.start
        if self.south_up:
            top = self.shape[0] - rows.stop
        window = Window(columns.start, top, columns.stop - columns.start, height)
        read = self.dataset.read(bands, window=window, masked=True)
        return read[..., ::-1, :] if self.south_up else read

    def window(self, bounds: Bounds) -> tuple[slice, slice] | None:
        """Return the rows and columns of the cells that touch `bounds` (in `crs`); None where there are none."""
        west, _, _, north = self.bounds
        width, height = self.cell
        first = (int(np.floor((north - bounds[3]) / height)), int(np.floor((bounds[0] - west) / width)))
        last = (int(np.ceil((north - bounds[1]) / height)), int(np.ceil((bounds[2] - west) / width)))
        rows, columns = (
            slice(max(0, low), min(most, high)) for low, high, most in zip(first, last, self.shape, strict=True)
        )
        return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None

    def bounds_of(self, rows: slice, columns: slice) -> Bounds:
        """Return the bounds of a window, in `crs`."""
        west, _, _, north = self.bounds
        width, height = self.cell
        return (
            west + columns.start * width,
            north - rows.stop * height,
            west + columns.stop * width,
            north - rows.start * height,
        )


@contextmanager
def opened(place: Path | str, crs: str | None = None, allowed: Sequence[str] = ()) -> Iterator[Raster]:
    """Open a raster of this machine, or at a URL; `crs` is that of a raster that names none, or a wrong one.

    A URL may name variables of the environment as `${NAME}`, which no message shows; `allowed` are private networks
    that may be asked. Raises `InputError` naming the raster: it cannot be read, says not where it lies, or lies askew.
    """
    if not is_url(str(place)):
        with open_raster(Path(place)) as dataset:
            yield of_dataset(dataset, str(place), crs)
        return
    url, networks = with_secrets(str(place)), [ip_network(network) for network in allowed]
    try:
        with open_remote_raster(url, allowed=networks) as dataset:
            yield of_dataset(dataset, str(place), crs)
    except InputError as error:
        raise InputError(str(error).replace(url, str(place))) from None


def of_dataset(dataset: Any, place: str, crs: str | None = None) -> Raster:
    """Return an opened dataset as a `Raster`; `InputError` where it says not where it lies, or lies askew."""
    transform = dataset.transform
    if transform.is_identity:
        raise InputError(f"{place} does not say where it lies; give a GeoTIFF with its georeference")
    if transform.b or transform.d:
        raise InputError(f"{place} lies askew to its reference system; turn it with gdalwarp first")
    if crs is None and dataset.crs is None:
        raise InputError(f"{place} does not say its reference system; say it, for example --raster-crs EPSG:4326")
    try:
        system = pyproj.CRS.from_user_input(crs if crs is not None else dataset.crs.to_wkt())
    except pyproj.exceptions.CRSError as error:
        raise InputError(f"{place}: there is no reference system {crs!r}; say it as EPSG:4326 ({error})") from error
    ys = (transform.f, transform.f + transform.e * dataset.height)
    east = transform.c + transform.a * dataset.width
    return Raster(dataset, system, (transform.c, min(ys), east, max(ys)), (dataset.height, dataset.width), place)


def raster_files(path: Path | str) -> list[Path | str]:
    """Return the raster itself (a file or URL), or those below a folder, by name; `InputError` where there are none."""
    if is_url(str(path)):
        return [str(path)]
    path = Path(path)
    if path.is_file():
        return [path]
    found = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
    if not found:
        raise InputError(f"{path} holds no raster ({', '.join(SUFFIXES)})")
    return list(found)


def name_of(place: Path | str) -> str:
    """Return what a raster is called: the last part of its path, without the query of a URL."""
    return str(place).partition("?")[0].rstrip("/").rsplit("/", 1)[-1]


def on_raster(geometry: NDArray[np.object_], raster: Raster) -> tuple[NDArray[np.object_], Vector]:
    """Return polygons (EPSG:4326) in the raster's reference system, and their areas in its units, squared.

    None for those that cannot touch it. Longitudes are those of the globe: 181 is -179, and a raster may run from 0 to
    360. A polygon on both sides of the date line becomes one of two parts; its area is that of the whole, also where
    only a part of it lies on the raster. Polygons that share an edge still share it.
    """
    geometry = np.asarray(geometry, dtype=object).copy()
    geometry[shapely.is_missing(geometry) | shapely.is_empty(geometry)] = None
    if raster.crs.is_geographic:
        same = raster.crs.equals("EPSG:4326", ignore_axis_order=True)
        placed = _turned(geometry, raster.bounds)
        return (placed if same else _projected(placed, raster)), shapely.area(geometry)
    geometry = _turned(geometry, (-180.0, -90.0, 180.0, 90.0))
    near = _touching(geometry, _degrees(raster))
    placed = np.full(len(geometry), None, dtype=object)
    placed[near] = _projected(shapely.segmentize(geometry[near], _EDGE_DEG), raster)
    return placed, shapely.area(placed)


def _turned(geometry: NDArray[np.object_], span: Bounds) -> NDArray[np.object_]:
    """Return polygons turned around the globe into the longitudes of `span`; what fits nowhere is None."""
    west, _, east, _ = span
    bounds = shapely.bounds(geometry)
    inside = (bounds[:, 0] >= west) & (bounds[:, 2] <= east)
    found: NDArray[np.object_] = np.full(len(geometry), None, dtype=object)
    found[inside] = geometry[inside]
    strip = shapely.box(west, -90.0, east, 90.0)
    for row in np.flatnonzero(~inside & np.isfinite(bounds[:, 0])).tolist():
        parts = []
        for turn in (-360.0, 0.0, 360.0):
            if bounds[row, 0] + turn < east and bounds[row, 2] + turn > west:
                moved = shapely.transform(geometry[row], lambda xy, turn=turn: xy + np.array([turn, 0.0]))
                parts.append(shapely.intersection(moved, strip))
        whole = shapely.union_all(parts) if parts else None
        found[row] = whole if whole is not None and shapely.area(whole) > 0 else None
    return found


def _projected(geometry: NDArray[np.object_], raster: Raster) -> NDArray[np.object_]:
    change = pyproj.Transformer.from_crs("EPSG:4326", raster.crs, always_xy=True)
    placed = shapely.transform(geometry, lambda xy: np.stack(change.transform(xy[:, 0], xy[:, 1]), axis=1))
    placed = np.asarray(placed, dtype=object)
    # What the projection cannot say lies too far off to touch the raster.
    placed[~np.isfinite(shapely.bounds(placed)).all(1)] = None
    return placed


def _degrees(raster: Raster) -> Bounds:
    """Return the raster's bounds in degrees; west is greater than east where it lies across the date line."""
    change = pyproj.Transformer.from_crs(raster.crs, "EPSG:4326", always_xy=True)
    west, south, east, north = (float(edge) for edge in change.transform_bounds(*raster.bounds, densify_pts=21))
    if not np.isfinite([west, south, east, north]).all():
        raise InputError(f"{raster.place}: its corners are no places in {raster.crs.name}; say --raster-crs")
    return west, south, east, north


def _touching(geometry: NDArray[np.object_], span: Bounds) -> Mask:
    west, south, east, north = span
    bounds = shapely.bounds(geometry)
    with np.errstate(invalid="ignore"):
        high = (bounds[:, 3] >= south) & (bounds[:, 1] <= north)
        if west <= east:
            return np.asarray(high & (bounds[:, 2] >= west) & (bounds[:, 0] <= east))
        return np.asarray(high & ((bounds[:, 2] >= west) | (bounds[:, 0] <= east)))
