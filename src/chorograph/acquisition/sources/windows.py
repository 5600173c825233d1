"""Rectangles of ground that are to be pictured: map tiles, squares of a resolution, or a rectangle a region."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from chorograph.acquisition.own.regions import region_at
from chorograph.area.tiles import MAX_LATITUDE, tile_bounds, tile_centre
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd

#: Half the width of the Web Mercator world, in metres.
HALF_WORLD = np.pi * 6378137.0
#: Pixels of a tile's side.
TILE_PX = 256
#: More windows than this are a slip of the keyboard.
MOST_WINDOWS = 20_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle, north up: its name, reference system, edges in that system's units, and pixels.

    `tile` is (zoom, x, y) of a map tile, x and y from the north-west; `zoom` that of map tiles whose pixels these are.
    """

    name: str
    crs: str
    west: float
    south: float
    east: float
    north: float
    width: int
    height: int
    tile: tuple[int, int, int] | None = None
    zoom: int | None = None


@dataclass(frozen=True)
class Wanted:
    """Windows with a row each: image_id, region_id (None outside of all), lon, lat, zoom?, x?, y?."""

    frame: pd.DataFrame
    windows: list[Window]


def tile_window(zoom: int, x: int, y: int, pixels: int = TILE_PX) -> Window:
    """Return the window of a map tile (EPSG:3857), called `zoom_x_y`."""
    side = 2 * HALF_WORLD / 2**zoom
    west, north = x * side - HALF_WORLD, HALF_WORLD - y * side
    return Window(f"{zoom}_{x}_{y}", "EPSG:3857", west, north - side, west + side, north, pixels, pixels, (zoom, x, y))


def tiles_of(regions: gpd.GeoDataFrame, zoom: int, pixels: int = TILE_PX) -> Wanted:
    """Return the tiles whose middle lies in a region, row by row from the north-west.

    A region without any such tile gets the one that its own middle lies in, unless another region has it.
    """
    held = regions[regions.geometry.notna()]
    x, y = _candidates(held, zoom)
    lon, lat = tile_centre(x, y, zoom)
    region, _ = region_at(lon, lat, regions)
    inside = region.notna().to_numpy()
    frame = pd.DataFrame({"x": x[inside], "y": y[inside], "region_id": region[inside].to_numpy(object)})
    frame = pd.concat([frame, _of_small_ones(held, frame, zoom)], ignore_index=True).sort_values(["y", "x"])
    lon, lat = tile_centre(frame["x"].to_numpy(), frame["y"].to_numpy(), zoom)
    windows = [tile_window(zoom, int(a), int(b), pixels) for a, b in zip(frame["x"], frame["y"], strict=True)]
    names = [window.name for window in windows]
    frame = frame.assign(image_id=names, zoom=zoom, lon=lon, lat=lat).reset_index(drop=True)
    return Wanted(frame[["image_id", "region_id", "zoom", "x", "y", "lon", "lat"]], windows)


def squares_of(regions: gpd.GeoDataFrame, resolution_m: float, pixels: int, crs: str | None) -> Wanted:
    """Return squares of `pixels` at `resolution_m` whose middle lies in a region, on a grid from the system's origin.

    `crs` is a projected system in metres; by default the UTM zone of the regions' middle.
    """
    held = regions[regions.geometry.notna()]
    system = projected(held, crs)
    side = resolution_m * pixels
    x, y = _cells(held.to_crs(system).geometry.explode(ignore_index=True).bounds.to_numpy(), side)
    lon, lat = _degrees((x + 0.5) * side, (y + 0.5) * side, system)
    region, _ = region_at(lon, lat, regions)
    rows = np.flatnonzero(region.notna().to_numpy())
    rows = rows[np.lexsort((x[rows], -y[rows]))]
    windows = [
        Window(
            f"r{y[k]:.0f}c{x[k]:.0f}", system, x[k] * side, y[k] * side, (x[k] + 1) * side, (y[k] + 1) * side, pixels,
            pixels,
        )
        for k in rows
    ]  # fmt: skip
    names = [window.name for window in windows]
    frame = {"image_id": names, "region_id": region.to_numpy(object)[rows], "lon": lon[rows], "lat": lat[rows]}
    return Wanted(pd.DataFrame(frame), windows)


def rectangles_of(regions: gpd.GeoDataFrame, resolution_m: float, crs: str | None, most_px: int = 8192) -> Wanted:
    """Return the rectangle around each region at `resolution_m`, its edges on whole pixels from the system's origin."""
    held = regions[regions.geometry.notna()]
    system = projected(held, crs)
    bounds = held.to_crs(system).bounds.to_numpy()
    low, high = np.floor(bounds[:, :2] / resolution_m), np.ceil(bounds[:, 2:] / resolution_m)
    size = (high - low).astype(int)
    if (large := size.max(axis=1) > most_px).any():
        raise InputError(
            f"the rectangle of {held['region_id'].iloc[int(np.argmax(large))]!r} has more than {most_px:,} pixels a "
            "side; give a coarser --resolution-m"
        )
    windows = [
        Window(f"region-{name}", system, west, south, east, north, width, height)
        for name, (west, south), (east, north), (width, height) in zip(
            held["region_id"], (low * resolution_m).tolist(), (high * resolution_m).tolist(), size.tolist(), strict=True
        )
    ]
    x, y = (low + high).T / 2 * resolution_m
    lon, lat = _degrees(x, y, system)
    names = [window.name for window in windows]
    frame = {"image_id": names, "region_id": held["region_id"].to_numpy(object), "lon": lon, "lat": lat}
    return Wanted(pd.DataFrame(frame), windows)


def projected(regions: gpd.GeoDataFrame, crs: str | None) -> str:
    """Return the name of a projected system in metres: `crs`, or the UTM zone of the regions' middle."""
    from pyproj import CRS

    if crs is None:
        return f"EPSG:{regions.estimate_utm_crs().to_epsg()}"
    system = CRS.from_user_input(crs)
    if not system.is_projected or system.axis_info[0].unit_conversion_factor != 1.0:
        raise InputError(f"{crs} is not a projected reference system in metres; give one, such as EPSG:32610")
    return crs


def degrees_bounds(window: Window) -> tuple[float, float, float, float]:
    """Return (west, south, east, north) of the window in degrees, its bent edges within."""
    if window.tile is not None:
        zoom, x, y = window.tile
        return tuple(float(edge) for edge in tile_bounds(x, y, zoom))  # type: ignore[return-value]
    from pyproj import Transformer

    to_degrees = Transformer.from_crs(window.crs, "EPSG:4326", always_xy=True)
    return to_degrees.transform_bounds(window.west, window.south, window.east, window.north)


def outlines(windows: list[Window]) -> NDArray[np.object_]:
    """Return the windows as polygons in degrees."""
    edges = np.array([degrees_bounds(window) for window in windows], dtype=np.float64).reshape(-1, 4)
    return np.asarray(shapely.box(*edges.T), dtype=object)


def _candidates(regions: gpd.GeoDataFrame, zoom: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return each tile that the rectangle around a part of a region touches, once."""
    west, south, east, north = regions.geometry.explode(ignore_index=True).bounds.to_numpy().T
    count = 2**zoom
    left, right = (np.floor((edge + 180.0) / 360.0 * count).astype(np.int64) for edge in (west, east))
    top, bottom = (_row(edge, count) for edge in (north, south))
    x, y = _ranges(left, right, top, bottom)
    # A polygon drawn past 180 degrees goes on at the other end.
    key = np.unique(y * count + x % count)
    return key % count, key // count


def _row(lat: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    bent = np.arcsinh(np.tan(np.radians(np.clip(lat, -MAX_LATITUDE, MAX_LATITUDE))))
    return np.clip(np.floor((1.0 - bent / np.pi) / 2.0 * count), 0, count - 1).astype(np.int64)


def _cells(bounds: NDArray[np.float64], side: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    low, high = np.floor(bounds[:, :2] / side).astype(np.int64), np.floor(bounds[:, 2:] / side).astype(np.int64)
    x, y = _ranges(low[:, 0], high[:, 0], low[:, 1], high[:, 1])
    cells = np.unique(np.stack([x, y]), axis=1)
    return cells[0], cells[1]


def _ranges(left: Any, right: Any, top: Any, bottom: Any) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return every (x, y) of rectangles of whole numbers, ends within."""
    if (number := float(((right - left + 1.0) * (bottom - top + 1.0)).sum())) > MOST_WINDOWS:
        raise InputError(f"there would be {number:,.0f} windows; give a smaller zoom, or a coarser resolution")
    grids = [
        np.meshgrid(np.arange(a, b + 1), np.arange(c, d + 1), indexing="ij")
        for a, b, c, d in zip(left, right, top, bottom, strict=True)
    ]
    if not grids:
        raise InputError("no region has a geometry, so no imagery can be asked for")
    return np.concatenate([x.ravel() for x, _ in grids]), np.concatenate([y.ravel() for _, y in grids])


def _of_small_ones(regions: gpd.GeoDataFrame, frame: pd.DataFrame, zoom: int) -> pd.DataFrame:
    small = regions[~regions["region_id"].isin(frame["region_id"])]
    if small.empty:
        return frame.iloc[:0]
    point = small.geometry.representative_point()
    count = 2**zoom
    x = np.floor((point.x.to_numpy() + 180.0) / 360.0 * count).astype(np.int64) % count
    found = pd.DataFrame({"x": x, "y": _row(point.y.to_numpy(), count), "region_id": small["region_id"].to_numpy()})
    found = found.drop_duplicates(["x", "y"])
    taken = pd.MultiIndex.from_frame(frame[["x", "y"]])
    return found[~pd.MultiIndex.from_frame(found[["x", "y"]]).isin(taken)]


def _degrees(x: Any, y: Any, system: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from pyproj import Transformer

    lon, lat = Transformer.from_crs(system, "EPSG:4326", always_xy=True).transform(np.asarray(x), np.asarray(y))
    return np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
