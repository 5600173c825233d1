"""Tile arithmetic of the Web Mercator scheme (EPSG:3857, XYZ: y grows southwards).

Formulas: OGC Two Dimensional Tile Matrix Set, `WebMercatorQuad`; the tests compare with morecantile.
All functions take scalars or arrays; longitudes and latitudes are degrees in WGS84.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Latitude where the square Web Mercator world ends, in degrees.
MAX_LATITUDE = 85.0511287798066
#: Ground length of one pixel at zoom 0 on the equator, in metres, for tiles of 256 px.
EQUATOR_METRES_PER_PIXEL = 2 * np.pi * 6378137.0 / 256


def tile_of(lon: ArrayLike, lat: ArrayLike, zoom: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the tile (x, y) that holds each point; points beyond the scheme fall into its outermost tiles."""
    count = 2**zoom
    x, y = _fraction(lon, lat)
    column = np.clip(np.floor(x * count), 0, count - 1).astype(np.int64)
    row = np.clip(np.floor(y * count), 0, count - 1).astype(np.int64)
    return column, row


def tile_bounds(x: ArrayLike, y: ArrayLike, zoom: int) -> tuple[NDArray[np.float64], ...]:
    """Return (west, south, east, north) of each tile in degrees."""
    count = 2**zoom
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    west, east = x / count * 360.0 - 180.0, (x + 1) / count * 360.0 - 180.0
    return west, _latitude((y + 1.0) / count), east, _latitude(y / count)


def tile_centre(x: ArrayLike, y: ArrayLike, zoom: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (lon, lat) of each tile's centre on the map, in degrees; `zoom` may be one a tile."""
    count = 2.0 ** np.asarray(zoom, dtype=np.float64)
    lon = (np.asarray(x, dtype=np.float64) + 0.5) / count * 360.0 - 180.0
    return lon, _latitude((np.asarray(y, dtype=np.float64) + 0.5) / count)


def metres_per_pixel(lat: ArrayLike, zoom: int) -> NDArray[np.float64]:
    """Return the ground length of a tile's pixel at latitude `lat`, in metres, for tiles of 256 px."""
    length: NDArray[np.float64] = np.cos(np.radians(np.asarray(lat, dtype=np.float64)))
    return np.asarray(length * (EQUATOR_METRES_PER_PIXEL / 2**zoom))


def _fraction(lon: ArrayLike, lat: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    latitude = np.radians(np.clip(np.asarray(lat, dtype=np.float64), -MAX_LATITUDE, MAX_LATITUDE))
    x = (np.asarray(lon, dtype=np.float64) + 180.0) / 360.0
    y = (1.0 - np.arcsinh(np.tan(latitude)) / np.pi) / 2.0
    return x, y


def _latitude(fraction: NDArray[np.float64]) -> NDArray[np.float64]:
    latitude: NDArray[np.float64] = np.degrees(np.arctan(np.sinh(np.pi * (1.0 - 2.0 * fraction))))
    return latitude
