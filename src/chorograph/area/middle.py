"""The middle of regions on the globe, also where they lie on both sides of the date line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import ArrayLike, NDArray


def middle_of(regions: gpd.GeoDataFrame | gpd.GeoSeries) -> tuple[float, float]:
    """Return (lon, lat) of the middle of the bounds of regions in EPSG:4326; (0, 0) where none has a geometry.

    Longitudes are taken as a circle: the bounds are the shortest arc that holds every part of every region.
    """
    parts = shapely.get_parts(np.asarray(regions.geometry, dtype=object))
    bounds = shapely.bounds(parts[~shapely.is_empty(parts)])
    if not len(bounds):
        return 0.0, 0.0
    return _middle_of_arcs(bounds[:, 0], bounds[:, 2]), float((bounds[:, 1].min() + bounds[:, 3].max()) / 2)


def equal_area(regions: gpd.GeoDataFrame | gpd.GeoSeries, units: str = "m") -> str:
    """Return Lambert's equal-area projection about the middle of regions, for `to_crs`; `units` is m or km.

    Areas are exact, and lengths nearly so at the size of a city.
    """
    lon, lat = middle_of(regions)
    return f"+proj=laea +lat_0={lat:.4f} +lon_0={lon:.4f} +datum=WGS84 +units={units} +no_defs"


def wrapped(lon: ArrayLike) -> NDArray[np.float64]:
    """Return longitudes brought to -180 <= lon < 180."""
    return np.asarray((np.asarray(lon, dtype=np.float64) + 180.0) % 360.0 - 180.0)


def _middle_of_arcs(west: NDArray[np.float64], east: NDArray[np.float64]) -> float:
    """Return the middle longitude of the complement of the widest gap between arcs from `west` to `east`."""
    order = np.argsort(wrapped(west))
    start, width = wrapped(west)[order], np.clip(east - west, 0.0, 360.0)[order]
    # How far the arcs so far reach; a gap lies between that and where the next arc starts.
    reach = np.maximum.accumulate(start + width)
    reach = np.maximum(reach, reach[-1] - 360.0)
    gaps = np.append(start[1:], start[0] + 360.0) - reach
    widest = int(np.argmax(gaps))
    if gaps[widest] <= 0:
        return 0.0
    first = start[(widest + 1) % len(start)]
    last = reach[widest] if first <= reach[widest] else reach[widest] + 360.0
    return float(wrapped((first + last) / 2))
