"""Points of interest of any file: counts a region, or points with a category."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from chorograph.acquisition.coordinates.baidu import TO_WGS84
from chorograph.acquisition.own.own_settings import PointSettings, Reading
from chorograph.acquisition.own.places import places_of
from chorograph.acquisition.own.reading.ids import id_column_of, match_regions
from chorograph.acquisition.own.reading.numbers import is_textual, numbers
from chorograph.acquisition.own.reading.tables import OwnTable, read_table
from chorograph.acquisition.own.regions import region_at
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger

if TYPE_CHECKING:
    import geopandas as gpd

_CATEGORY = ("category", "poi", "kind", "type", "class", "fclass", "amenity", "basic_category")


def read_points(
    path: Path,
    asked: PointSettings,
    reading: Reading,
    id_column: str,
    regions: gpd.GeoDataFrame,
    ledger: Ledger,
    *,
    layer: str | None = None,
) -> pd.DataFrame:
    """Return region_id, poi and count.

    A table with the regions' ids holds counts, wide (a column a category) or long (poi, count), or with a category
    column one point a row. A table without them holds points, which are counted in the region they lie in.
    """
    table = read_table(path, reading, layer=layer)
    notes = list(table.notes)
    if not len(table):
        raise InputError(f"{path} holds a header and no row")
    column = id_column_of(table, id_column, regions["region_id"], notes)
    if column is not None:
        ids = match_regions(table, column, regions["region_id"], notes)
        frame = _told(table, ids, column, asked, notes)
    else:
        frame = _placed(table, asked, regions, ledger, notes, id_column)
    ledger.warnings.extend(note for note in notes if note not in ledger.warnings)
    return frame


def _told(table: OwnTable, ids: pd.Series[Any], id_column: str, asked: PointSettings, notes: list[str]) -> pd.DataFrame:
    if asked.category is not None:
        return _counted(ids, table.filled(table.need([asked.category])))
    poi, count = table.find(("poi",)), table.find(("count",))
    if poi is not None and count is not None:
        frame = pd.DataFrame({"region_id": ids, "poi": table.filled(poi), "count": _counts(table, count, notes)})
        if (twice := frame.duplicated(["region_id", "poi"])).any():
            raise InputError(
                f"{table.path}: {frame['poi'][twice].iloc[0]!r} of a region appears twice ({table.line(twice)})"
            )
        return frame
    columns = [column for column in table.columns if column != id_column]
    if words := [column for column in columns if is_textual(table, column)]:
        notes.append(f"{table.path.name}: columns of words are no counts and were left out: {', '.join(words)}")
        columns = [column for column in columns if column not in words]
    if not columns:
        raise InputError(f"{table.path} has no column of counts beside {id_column}")
    parts = [pd.DataFrame({"region_id": ids, "poi": name, "count": _counts(table, name, notes)}) for name in columns]
    frame = pd.concat(parts, ignore_index=True)
    if frame.duplicated(["region_id", "poi"]).any():
        twice = ids.duplicated()
        raise InputError(f"{table.path}: region {ids[twice].iloc[0]!r} appears twice ({table.line(twice)})")
    return frame


def _placed(
    table: OwnTable, asked: PointSettings, regions: gpd.GeoDataFrame, ledger: Ledger, notes: list[str], id_column: str
) -> pd.DataFrame:
    places = places_of(table)
    if places is None:
        raise InputError(
            f"{table.path} has neither the regions' ids ({id_column}) nor places; name its id column, or give lon, lat"
        )
    column = table.need([asked.category] if asked.category else _CATEGORY)
    held = ~shapely.is_missing(places.to_numpy())
    points = shapely.point_on_surface(places.to_numpy())
    lon, lat = shapely.get_x(points), shapely.get_y(points)
    if asked.points_crs != "wgs84":
        lon, lat = TO_WGS84[asked.points_crs](lon, lat)
    found, _ = region_at(lon, lat, regions)
    inside = found.notna().to_numpy()
    ledger.drop("point of interest without a place", int((~held).sum()))
    ledger.drop("point of interest in no region", int((held & ~inside).sum()))
    categories = table.text(column)
    ledger.drop("point of interest without a category", int((categories.isna().to_numpy() & inside).sum()))
    kept = inside & categories.notna().to_numpy()
    if not kept.any():
        raise InputError(
            f"{table.path}: none of {len(table)} points lies in a region; are longitude and latitude swapped, or is "
            "the reference system another?"
        )
    if 2 * kept.sum() < len(table):
        notes.append(f"{table.path.name}: only {int(kept.sum())} of {len(table)} points lie in a region")
    return _counted(found[kept], categories.set_axis(np.arange(len(table)))[kept])


def _counted(ids: pd.Series[Any], categories: pd.Series[Any]) -> pd.DataFrame:
    rows = pd.DataFrame({"region_id": ids.to_numpy(object), "poi": categories.to_numpy(object)})
    return rows.groupby(["region_id", "poi"], sort=True).size().rename("count").reset_index()


def _counts(table: OwnTable, column: str, notes: list[str]) -> pd.Series[Any]:
    """Return a column of counts; an empty cell is none."""
    values = numbers(table, column, notes).fillna(0)
    if (odd := (values < 0) | (values % 1 != 0)).any():
        raise InputError(
            f"{table.path}: {column} is {values[odd].iloc[0]:g} in {table.line(odd)}; a count is a whole number from 0"
        )
    return values
