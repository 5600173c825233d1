"""Regions of any file of polygons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from chorograph.acquisition.own.own_settings import Reading, RegionSettings
from chorograph.acquisition.own.reading.features import of_table, read_features
from chorograph.acquisition.own.reading.ids import as_ids
from chorograph.acquisition.own.reading.tables import FEATURES, PARQUET, read_table
from chorograph.area.middle import wrapped
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.stage import Ledger

#: Degrees of latitude south and north of which there is no city.
_NO_CITY = (-60.0, 80.0)
_AREAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)


def read_regions(path: Path, asked: RegionSettings, reading: Reading, ledger: Ledger) -> gpd.GeoDataFrame:
    """Return region_id, name?, group? and geometry (EPSG:4326) of every feature.

    Raises `InputError` naming the file and the feature: no id, an id that appears twice, no polygon, one that is not
    valid. A region without a geometry is kept, counted and told.
    """
    frame = _features(path, asked, reading, ledger)
    attributes = [str(column) for column in frame.columns if column != frame.geometry.name]
    if not len(frame):
        raise InputError(f"{path} holds no feature")
    if not attributes:
        raise InputError(f"{path} holds geometries without attributes, so no ids (a shapefile has them in its .dbf)")
    id_column = _find(path, asked.region_id, attributes)
    ids = as_ids(frame[id_column])
    for row, name in enumerate(ids, start=1):
        if name is None:
            raise InputError(f"{path}: feature {row} has no {id_column}")
    if (twice := pd.Series(ids).duplicated()).any():
        row = int(np.flatnonzero(twice)[0])
        raise InputError(
            f"{path}: {id_column} {ids[row]!r} appears twice (again at feature {row + 1}, {int(twice.sum())} in all); "
            "an id names one region: dissolve its parts, or choose another column with --region-id"
        )
    geometry = _polygons(path, np.array(frame.geometry, dtype=object), ids, asked.make_valid, ledger)
    _tell_nested(path, geometry, ids, ledger)
    _, south, _, north = shapely.total_bounds(geometry)
    if north < _NO_CITY[0] or south > _NO_CITY[1]:
        ledger.warnings.append(
            f"{path.name}: all regions lie between {south:.2f} and {north:.2f} degrees of latitude, where no city is: "
            "are longitude and latitude swapped?"
        )
    columns: dict[str, Any] = {"region_id": ids, "geometry": geometry}
    for target, column in (("name", asked.name_column), ("group", asked.group_column)):
        if column is not None:
            columns[target] = as_ids(frame[_find(path, column, attributes)])
        elif target in attributes and target != id_column:
            columns[target] = as_ids(frame[target])
    return gpd.GeoDataFrame(columns, geometry="geometry", crs=4326)


def region_at(lon: Any, lat: Any, regions: gpd.GeoDataFrame) -> tuple[pd.Series[Any], int]:
    """Return the region that holds each point, None for none, and how many points lie on a border of several.

    A point on a border belongs to the region that comes first. Degrees are compared around the globe: 181 is -179.
    """
    held = regions.geometry.notna().to_numpy()
    ids = regions["region_id"].to_numpy(object)[held]
    tree = shapely.STRtree(regions.geometry.to_numpy()[held])
    lon, lat = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    found = np.full(len(lon), -1)
    several = 0
    # Polygons may be drawn past 180 degrees, or points be told so.
    for turned in (lon, wrapped(lon), wrapped(lon) + 360.0, wrapped(lon) - 360.0):
        left = np.flatnonzero((found < 0) & np.isfinite(turned) & np.isfinite(lat))
        if not len(left):
            break
        points, polygons = tree.query(shapely.points(turned[left], lat[left]), predicate="intersects")
        order = np.lexsort((polygons, points))
        first, where, times = np.unique(points[order], return_index=True, return_counts=True)
        found[left[first]] = polygons[order][where]
        several += int((times > 1).sum())
    named = [ids[row] if row >= 0 else None for row in found.tolist()]
    return pd.Series(named, dtype=object), several


def _features(path: Path, asked: RegionSettings, reading: Reading, ledger: Ledger) -> gpd.GeoDataFrame:
    if path.suffix.lower() in (*FEATURES, *PARQUET) or path.is_dir():
        return read_features(
            path, layer=asked.layer, crs=asked.crs, encoding=reading.encoding, kinds=("Polygon",), notes=ledger.warnings
        )
    table = read_table(path, reading)
    return of_table(table.path, table.frame, asked.crs)


def _find(path: Path, column: str, columns: list[str]) -> str:
    if column in columns:
        return column
    folded = [name for name in columns if name.casefold() == column.casefold()]
    if len(folded) == 1:
        return folded[0]
    raise UnknownNameError.of(f"column of {path}", column, columns)


def _polygons(path: Path, geometry: Any, ids: list[str | None], make_valid: bool, ledger: Ledger) -> Any:
    held = ~shapely.is_missing(geometry)
    if not held.all():
        ledger.count("regions without geometry", int((~held).sum()))
        ledger.warnings.append(
            f"{path.name}: {int((~held).sum())} regions have no geometry (first "
            f"{ids[int(np.flatnonzero(~held)[0])]!r}); spatial splits refuse them, and no map shows them"
        )
    if not held.any():
        raise InputError(f"{path}: no feature has a geometry")
    invalid = held & ~shapely.is_valid(geometry)
    if invalid.any() and not make_valid:
        row = int(np.flatnonzero(invalid)[0])
        raise InputError(
            f"{path}: the polygon of {ids[row]!r} (feature {row + 1}) is not valid: "
            f"{shapely.is_valid_reason(geometry[row])} ({int(invalid.sum())} in all); repair it, or build with "
            "--make-valid"
        )
    if invalid.any():
        geometry[invalid] = shapely.make_valid(geometry[invalid])
        ledger.count("polygons repaired", int(invalid.sum()))
    collections = held & (shapely.get_type_id(geometry) == shapely.GeometryType.GEOMETRYCOLLECTION)
    for row in np.flatnonzero(collections).tolist():
        geometry[row] = _areal_part(geometry[row])
    kinds = shapely.get_type_id(geometry)
    if (wrong := held & ~np.isin(kinds, _AREAL)).any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"{path}: feature {row + 1} ({ids[row]!r}) is a {geometry[row].geom_type}, not a polygon "
            f"({int(wrong.sum())} of {len(ids)}); choose the layer of polygons with --layer, or leave the others away"
        )
    return geometry


def _tell_nested(path: Path, geometry: Any, ids: list[str | None], ledger: Ledger) -> None:
    """Tell of regions whose middle lies in another one: of two levels in one file, or a polygon that is there twice."""
    inner, outer = shapely.STRtree(geometry).query(shapely.point_on_surface(geometry), predicate="within")
    if not (nested := inner != outer).any():
        return
    first, other = ids[int(inner[nested][0])], ids[int(outer[nested][0])]
    number = len(np.unique(inner[nested]))
    ledger.count("regions inside of others", number)
    ledger.warnings.append(
        f"{path.name}: {number} regions lie inside of others (first {first!r} in {other!r}); what lies there is taken "
        "for the one that comes first in the file: leave one level away"
    )


def _areal_part(geometry: Any) -> Any:
    """Return the polygons of a collection as one; the collection itself where it has none."""
    parts = [part for part in shapely.get_parts(geometry) if shapely.get_type_id(part) in _AREAL]
    return shapely.union_all(parts) if parts else geometry
