"""Where the rows of a table lie: its own geometries, or its columns of longitude and latitude."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from chorograph.acquisition.own.reading.numbers import numbers
from chorograph.acquisition.own.reading.tables import OwnTable
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd

#: How columns of degrees are called, the plainest first.
LON = ("lon", "longitude", "lng", "long", "lon_wgs84", "lng_wgs84", "x_lon", "centroid_lon", "center_lon")
LAT = ("lat", "latitude", "lat_wgs84", "y_lat", "centroid_lat", "center_lat")


def degrees_of(table: OwnTable, notes: list[str] | None = None) -> tuple[pd.Series[Any], pd.Series[Any]] | None:
    """Return longitude and latitude of a table's rows: of columns, else the middles of its geometries, else None.

    `InputError` where there is only one of the columns, or where a cell is no degree.
    """
    lon, lat = table.find(LON), table.find(LAT)
    if lon is None and lat is None:
        if table.geometry is None:
            return None
        middles = shapely.centroid(table.geometry.to_numpy())
        x, y = (pd.Series(axis, index=table.frame.index) for axis in (shapely.get_x(middles), shapely.get_y(middles)))
        return x, y
    if lon is None or lat is None:
        missing, held = (LON, lat) if lon is None else (LAT, lon)
        near = table.near(missing[1]) or table.near(missing[0])
        hint = f"; did you mean {near!r}?" if near not in (None, held) else ""
        raise InputError(f"{table.path} has {held} but no {missing[0]}{hint}")
    x, y = (numbers(table, column, notes, thousands=False) for column in (lon, lat))
    for column, values, most in ((lon, x, 360.0), (lat, y, 90.0)):
        if (beyond := values.abs() > most).any():
            other = " (are longitude and latitude swapped?)" if values.abs().max() <= 180 else ""
            raise InputError(
                f"{table.path}: {column} is {values[beyond].iloc[0]:g} in {table.line(beyond)}, which is no degree"
                f"{other}; bring places to EPSG:4326"
            )
    return x, y


def places_of(table: OwnTable) -> gpd.GeoSeries | None:
    """Return the places of a table in EPSG:4326, None where it has none."""
    import geopandas as gpd

    if table.geometry is not None:
        return table.geometry
    degrees = degrees_of(table)
    if degrees is None:
        return None
    lon, lat = degrees
    if (absent := lon.isna() | lat.isna()).any():
        raise InputError(f"{table.path}: longitude or latitude is empty in {table.line(absent)}")
    return gpd.GeoSeries(gpd.points_from_xy(lon.astype(float), lat.astype(float)), crs=4326, index=np.arange(len(lon)))
