"""Where regions lie: a point inside each, positions on the sphere, blocks of a fixed global grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray

#: Mean Earth radius, in metres (IUGG).
EARTH_RADIUS_M = 6_371_008.8
_METRES_PER_DEGREE = EARTH_RADIUS_M * np.pi / 180


def inner_points(regions: gpd.GeoDataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lon and lat of a point inside each region; `InputError` where a region has no geometry."""
    if (absent := regions.geometry.isna() | regions.geometry.is_empty).any():
        raise InputError(
            f"region {regions.loc[absent, 'region_id'].iloc[0]!r} has no geometry ({int(absent.sum())} in all): "
            "spatial splits need polygons; use a given split or leave_group_out"
        )
    points = regions.geometry.representative_point()
    return points.x.to_numpy(), points.y.to_numpy()


def block_of(lon: NDArray[np.float64], lat: NDArray[np.float64], block_m: float) -> NDArray[np.int64]:
    """Return a number for the block of each point: rows of equal latitude, columns by the row's middle latitude.

    The grid starts at (0, 0) degrees, whatever the points are; equal numbers mean the same block.
    """
    row = np.floor(lat * _METRES_PER_DEGREE / block_m)
    middle = (row + 0.5) * block_m / _METRES_PER_DEGREE
    column = np.floor(lon * np.cos(np.radians(middle)) * _METRES_PER_DEGREE / block_m)
    _, numbers = np.unique(np.stack([row, column]), axis=1, return_inverse=True)
    return numbers.reshape(-1).astype(np.int64)


def to_sphere(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 3) positions on the sphere in metres; chords between near points are distances on the ground."""
    longitude, latitude = np.radians(lon), np.radians(lat)
    unit = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )
    return np.asarray(EARTH_RADIUS_M * unit)
