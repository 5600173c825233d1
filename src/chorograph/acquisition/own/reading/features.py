"""Features (geometries with attributes) of any file that GDAL or GeoParquet knows, as degrees in EPSG:4326."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely

from chorograph.acquisition.coordinates.baidu import TO_WGS84, china_system
from chorograph.area.local_files import offline, refuse_pointers
from chorograph.ground.errors import InputError, UnknownNameError

_PARQUET = (".parquet", ".geoparquet", ".pq")
#: Columns that hold geometries as text (WKT) in tables without any other.
_WKT = ("wkt", "geometry", "the_geom", "geom", "shape")
_IN_ARCHIVES = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".gml")


def read_features(
    path: Path,
    *,
    layer: str | None = None,
    crs: str | None = None,
    encoding: str | None = None,
    kinds: tuple[str, ...] = (),
    notes: list[str] | None = None,
) -> gpd.GeoDataFrame:
    """Read one layer of features in EPSG:4326, flat (without heights); a geometry that is empty is None.

    Where the file has several layers and none is asked for, the only one of `kinds` (Polygon, Point…) is taken, and
    `notes` says so. `crs` says the reference system of a file that has none. Raises `InputError` naming the file: it
    cannot be read, has no geometry, several layers, no reference system, or coordinates that cannot be degrees.
    """
    frame = _open(path, layer, encoding, kinds, notes)
    if not isinstance(frame, gpd.GeoDataFrame):
        frame = _of_text(path, pd.DataFrame(frame))
    return _in_degrees(path, frame, crs)


def of_table(path: Path, frame: pd.DataFrame, crs: str | None) -> gpd.GeoDataFrame:
    """Return the table of text of `path` as features, with geometries in a column as WKT; degrees unless `crs` says."""
    return _in_degrees(path, _of_text(path, frame), crs or "EPSG:4326")


def _in_degrees(path: Path, frame: gpd.GeoDataFrame, crs: str | None) -> gpd.GeoDataFrame:
    """Return flat features in EPSG:4326, an empty geometry as None; `InputError` where that cannot be."""
    if crs is not None:
        frame = _as_crs(frame, crs)  # China's systems are brought to degrees at once
    if frame.crs is None:
        raise InputError(f"{path} does not say its coordinate reference system; say it, for example --crs EPSG:4326")
    if frame.crs.is_geographic:
        _check_degrees(path, np.asarray(frame.geometry, dtype=object))
    geometry = np.asarray(shapely.force_2d(frame.geometry.to_crs(4326).to_numpy()), dtype=object)
    geometry[shapely.is_empty(geometry)] = None
    if (lost := ~np.isfinite(shapely.bounds(geometry)).all(1) & ~shapely.is_missing(geometry)).any():
        raise InputError(
            f"{path}: feature {int(np.flatnonzero(lost)[0]) + 1} lies outside of what {frame.crs.name} can say; is "
            "that the right reference system? Say another with --crs"
        )
    result: gpd.GeoDataFrame = frame.set_geometry(gpd.GeoSeries(geometry, index=frame.index, crs=4326))
    return result.reset_index(drop=True)


def _open(path: Path, layer: str | None, encoding: str | None, kinds: tuple[str, ...], notes: list[str] | None) -> Any:
    if not path.exists():
        raise InputError(f"{path} does not exist")
    refuse_pointers(path)
    try:
        if path.suffix.lower() in _PARQUET:
            return gpd.read_parquet(path)
        source, layer = _source(path, layer)
        layers = [(str(name), kind) for name, kind in pyogrio.list_layers(source)]
        chosen = layer if layer is not None else _only_layer(path, layers, kinds, notes)
        if chosen not in [name for name, _ in layers]:
            raise UnknownNameError.of(f"layer of {path}", str(chosen), [name for name, _ in layers])
        with warnings.catch_warnings(), offline():
            warnings.simplefilter("ignore")  # what is odd about the features is looked at afterwards
            return pyogrio.read_dataframe(source, layer=chosen, encoding=encoding)
    except (InputError, UnknownNameError):
        raise
    except ValueError as error:
        if "geo metadata" in str(error):
            raise InputError(f"{path} has no geometry: it is a plain table") from error
        raise InputError(f"{path} cannot be read as features: {error}") from error
    except Exception as error:  # pyogrio and pyarrow each raise their own; all mean the same here
        raise InputError(f"{path} cannot be read as features: {error}") from error


def _source(path: Path, layer: str | None) -> tuple[str | Path, str | None]:
    """Return what GDAL opens, and the layer: of a zip archive the only file of features, or the one called `layer`."""
    if path.suffix.lower() != ".zip":
        return path, layer
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if "__MACOSX" not in name]
    except zipfile.BadZipFile as error:
        raise InputError(f"{path} is no zip archive: {error}") from error
    held = [name for name in members if name.lower().endswith(_IN_ARCHIVES)]
    if not held:
        raise InputError(f"{path} holds no file of features ({', '.join(_IN_ARCHIVES)})")
    named = [name for name in held if PurePosixPath(name).stem == layer]
    if len(held) > 1 and len(named) != 1:
        raise InputError(f"{path} holds {len(held)} files of features: {', '.join(held)}; choose one with --layer STEM")
    return f"/vsizip/{path.resolve()}/{(named or held)[0]}", None if named else layer


def _only_layer(path: Path, layers: list[tuple[str, Any]], kinds: tuple[str, ...], notes: list[str] | None) -> str:
    fitting = [name for name, kind in layers if kind is not None and any(word in str(kind) for word in kinds)]
    if len(layers) == 1:
        return layers[0][0]
    held = ", ".join(f"{name} ({kind or 'no geometry'})" for name, kind in layers)
    if len(fitting) != 1:
        raise InputError(f"{path} holds {len(layers)} layers: {held}; choose one with --layer")
    if notes is not None:
        notes.append(f"{path.name}: layer {fitting[0]} was taken, of {held}; choose another with --layer")
    return fitting[0]


def _of_text(path: Path, frame: pd.DataFrame) -> gpd.GeoDataFrame:
    """Return a table whose geometry stands in a column of text."""
    column = next((name for name in frame.columns if str(name).lower() in _WKT), None)
    if column is None:
        raise InputError(f"{path} has no geometry: its columns are {', '.join(map(str, frame.columns))}")
    text = frame[column].where(frame[column].notna(), None)
    geometry = shapely.from_wkt(text.to_numpy(object), on_invalid="ignore")
    if (wrong := shapely.is_missing(geometry) & text.notna().to_numpy()).any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{path}: {column} of feature {row + 1} is no geometry: {str(text.iloc[row])[:60]!r}")
    return gpd.GeoDataFrame(frame.drop(columns=column), geometry=geometry)


def _as_crs(frame: gpd.GeoDataFrame, crs: str) -> gpd.GeoDataFrame:
    from pyproj.exceptions import CRSError

    if (china := china_system(crs)) is not None:
        geometry = shapely.transform(
            np.asarray(frame.geometry, dtype=object), lambda xy: np.stack(TO_WGS84[china](xy[:, 0], xy[:, 1]), axis=1)
        )
        moved: gpd.GeoDataFrame = frame.set_geometry(gpd.GeoSeries(geometry, index=frame.index, crs=4326))
        return moved
    try:
        named: gpd.GeoDataFrame = frame.set_crs(crs, allow_override=True)
    except CRSError as error:
        raise InputError(f"there is no reference system {crs!r}; say it as EPSG:4326 ({error})") from error
    return named


def _check_degrees(path: Path, geometry: Any) -> None:
    """Raise `InputError` where coordinates said to be degrees cannot be."""
    bounds = shapely.bounds(geometry)
    with np.errstate(invalid="ignore"):
        beyond = (np.abs(bounds[:, [0, 2]]) > 360).any(1) | (np.abs(bounds[:, [1, 3]]) > 90).any(1)
        swapped = (np.abs(bounds[:, [1, 3]]) > 90).any(1) & (np.abs(bounds[:, [0, 2]]) <= 90).all(1)
    if not beyond.any():
        return
    row = int(np.flatnonzero(beyond)[0])
    west, south, east, north = bounds[row]
    hint = (
        "longitude and latitude seem to have changed places"
        if swapped.any() and (np.abs(bounds[beyond]) <= 180).all()
        else "say their reference system, for example --crs EPSG:32616"
    )
    raise InputError(
        f"{path}: feature {row + 1} reaches from ({west:g}, {south:g}) to ({east:g}, {north:g}), which are no degrees; "
        f"{hint}"
    )
