"""Features (geometries with attributes) of any file that GDAL or GeoParquet knows, as degrees in EPSG:4326."""

from __future__ import annotations

import codecs
import re
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
from chorograph.ground.file_sorts import head_of
from chorograph.ground.files import check_row_count

_PARQUET = (".parquet", ".geoparquet", ".pq")
#: Columns that hold geometries as text (WKT, GeoJSON) or WKB in tables without any other.
_WKT = ("wkt", "geometry", "the_geom", "geom", "shape")
_IN_ARCHIVES = (".shp", ".gpkg", ".geojson", ".json", ".fgb", ".kml", ".gml")
_SRID = re.compile(r"\s*SRID=(\d+);", re.IGNORECASE)
_HEX = re.compile(r"\s*0[01][0-9a-fA-F]{16,}\s*")


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
    return _in_degrees(path, frame, crs, notes)


def of_table(path: Path, frame: pd.DataFrame, crs: str | None) -> gpd.GeoDataFrame:
    """Return the table of text of `path` as features, with geometries in a column; degrees unless it or `crs` says."""
    features = _of_text(path, frame)
    return _in_degrees(path, features, crs or (None if features.crs else "EPSG:4326"))


def _in_degrees(
    path: Path, frame: gpd.GeoDataFrame, crs: str | None, notes: list[str] | None = None
) -> gpd.GeoDataFrame:
    """Return flat features in EPSG:4326, an empty geometry as None; `InputError` where that cannot be."""
    from pyproj.exceptions import ProjError

    asked = crs is not None
    if crs is not None:
        frame = _as_crs(frame, crs)  # China's systems are brought to degrees at once
    if frame.crs is None:
        raise InputError(f"{path} does not say its coordinate reference system; say it, for example --crs EPSG:4326")
    if frame.crs.is_geographic:
        _check_degrees(path, np.asarray(frame.geometry, dtype=object))
    elif not asked:
        _check_projected(path, frame)
    try:
        flat = shapely.force_2d(frame.geometry.to_crs(4326).to_numpy())
    except ProjError as error:
        raise InputError(
            f"{path} is in {frame.crs.name!r}, of which nobody knows where on the globe it lies; say its reference "
            "system, for example --crs EPSG:32616"
        ) from error
    geometry = _not_around_the_globe(path, np.array(flat, dtype=object), notes)
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
    _check_shapefile(path)
    try:
        if path.suffix.lower() in _PARQUET:
            return _open_parquet(path)
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
    except Exception as error:  # pyogrio and pyarrow each raise their own; all mean the same here
        said = str(error).partition("; It might help")[0]  # what would help a programmer
        if head_of(path).startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            said = "it is UTF-16; save it as UTF-8"
        raise InputError(f"{path} cannot be read as features: {said}") from error


def _open_parquet(path: Path) -> Any:
    """Return a GeoParquet file's features, or the plain table that another Parquet file is."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        check_row_count(path, file.metadata.num_rows)
        if b"geo" not in (file.schema_arrow.metadata or {}):
            return file.read().to_pandas()
    return gpd.read_parquet(path)


def _check_shapefile(path: Path) -> None:
    """Raise `InputError` where a shapefile stands without its index, as when its .shp alone was copied."""
    if path.suffix.lower() == ".shp" and not any(path.with_suffix(s).exists() for s in (".shx", ".SHX", ".Shx")):
        raise InputError(
            f"{path} stands alone: a shapefile is {path.stem}.shp, .shx, .dbf and .prj side by side; copy all of them"
        )


def _source(path: Path, layer: str | None) -> tuple[str | Path, str | None]:
    """Return what GDAL opens, and the layer: of a zip archive the only file of features, or the one called `layer`."""
    if path.suffix.lower() != ".zip":
        if "!" in str(path):
            raise InputError(f"{path}: features are not read below a path with '!' in it; rename it, or copy the file")
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
    cells = [None if cell is None or cell != cell or cell == "" else cell for cell in frame[column]]
    geometry = _parsed(cells)
    if (wrong := shapely.is_missing(geometry) & np.array([cell is not None for cell in cells])).any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(f"{path}: {column} of feature {row + 1} is no geometry: {str(cells[row])[:60]!r}")
    said = set(shapely.get_srid(geometry).tolist()) - {0, -1}
    crs = f"EPSG:{said.pop()}" if len(said) == 1 else None
    return gpd.GeoDataFrame(frame.drop(columns=column), geometry=geometry, crs=crs)


def _parsed(cells: list[Any]) -> Any:
    """Return cells as geometries, None for what is none: WKB (bytes, or PostGIS's hexadecimals), GeoJSON, (E)WKT."""
    first = next((cell for cell in cells if cell is not None), "")
    if isinstance(first, bytes):
        return shapely.from_wkb([cell if isinstance(cell, bytes) else None for cell in cells], on_invalid="ignore")
    text = np.array([cell if cell is None else str(cell) for cell in cells], dtype=object)
    if _HEX.fullmatch(str(first)):
        return shapely.from_wkb(text, on_invalid="ignore")
    if str(first).lstrip().startswith("{"):
        return shapely.from_geojson(text, on_invalid="ignore")
    plain = np.array([cell if cell is None else _SRID.sub("", cell, count=1) for cell in text], dtype=object)
    with np.errstate(all="ignore"):
        geometry = shapely.from_wkt(plain, on_invalid="ignore")
    srid = _SRID.match(str(first))
    return shapely.set_srid(geometry, int(srid[1])) if srid else geometry


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


def _not_around_the_globe(path: Path, geometry: Any, notes: list[str] | None) -> Any:
    """Return polygons that cross the date line on the side they lie: from 179 to 181 degrees, not from 179 to -179.

    A part wider than half the globe is one, where it is narrower once counted from 0 to 360.
    """
    bounds = shapely.bounds(geometry)
    wide = np.flatnonzero(bounds[:, 2] - bounds[:, 0] > 180.0)
    turned = 0
    for row in wide.tolist():
        parts = shapely.get_parts(geometry[row])
        moved = [_counted_on(part) for part in parts]
        if any(new is not old for new, old in zip(moved, parts, strict=True)):
            geometry[row] = moved[0] if len(moved) == 1 else shapely.multipolygons(moved)
            turned += 1
    if turned and notes is not None:
        notes.append(f"{path.name}: {turned} polygons cross the date line and were drawn around the globe; mended")
    return geometry


def _counted_on(part: Any) -> Any:
    west, _, east, _ = shapely.bounds(part)
    if part.geom_type != "Polygon" or east - west <= 180.0:
        return part
    moved = shapely.transform(part, lambda xy: np.stack([xy[:, 0] % 360.0, xy[:, 1]], axis=1))
    west, _, east, _ = shapely.bounds(moved)
    return moved if east - west < 180.0 else part


def _check_projected(path: Path, frame: gpd.GeoDataFrame) -> None:
    """Raise `InputError` where coordinates said to be metres or feet are degrees: no city is a few metres wide."""
    west, south, east, north = shapely.total_bounds(np.asarray(frame.geometry, dtype=object))
    if max(abs(west), abs(east)) <= 180 and max(abs(south), abs(north)) <= 90:
        raise InputError(
            f"{path} says that it is in {frame.crs.name!r}, yet reaches from ({west:g}, {south:g}) to ({east:g}, "
            f"{north:g}), which seem to be degrees; say --crs EPSG:4326, or its own system again where it is right"
        )


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
