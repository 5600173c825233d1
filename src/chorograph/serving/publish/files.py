"""An area as files for elsewhere: GeoPackage and PMTiles."""

from __future__ import annotations

import gzip
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from chorograph.area.map_files import ColouredColumn, write_geopackage
from chorograph.area.tiles import tile_of
from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path
from chorograph.ground.stage import Progress, silent
from chorograph.serving.catalogue.classes import classify
from chorograph.serving.catalogue.served import ServedArea
from chorograph.serving.tiles.encode import LAYER
from chorograph.serving.tiles.ladder import MAX_ZOOM

#: A published set holds at most so many tiles a zoom; web maps draw deeper zooms from the deepest there is.
_MOST_TILES = 10_000
#: Pixels, of a tile's 512, that a small region should span at the deepest zoom.
_SEEN_PX = 24

Columns = dict[str, tuple[str, NDArray[np.float64]]]


def columns_of(served: ServedArea) -> Columns:
    """Return the numbers of an area by column: a title and (regions,) values; predicted indicators come first."""
    columns: Columns = {}
    for layer in sorted(served.layers.values(), key=lambda layer: not layer.runs):
        key = layer.key.replace("-", "_")
        if (run := layer.run()) is not None:
            columns[f"{key}_predicted"] = (f"{layer.title}, predicted", run.predicted)
            columns[f"{key}_lower"] = (f"{layer.title}, lower", run.lower)
            columns[f"{key}_upper"] = (f"{layer.title}, upper", run.upper)
        columns[f"{key}_observed"] = (f"{layer.title}, observed", layer.observed)
    return columns


def write_area_geopackage(served: ServedArea, path: Path) -> Path:
    """Write the regions with all numbers as a GeoPackage that opens coloured in QGIS."""
    columns = columns_of(served)
    frame = gpd.GeoDataFrame(
        {
            "region_id": served.index.to_numpy(object),
            "name": served.names,
            "group": served.regions["group"].to_numpy(object),
            **{name: values for name, (_, values) in columns.items()},
        },
        geometry=served.regions.geometry.to_numpy(),
        crs=served.regions.crs,
    )
    shown = [(name, title) for name, (title, _) in columns.items() if name.endswith(("_predicted", "_observed"))]
    return write_geopackage(path, frame, [ColouredColumn(name, title) for name, title in shown], "regions")


def write_pmtiles(served: ServedArea, path: Path, progress: Progress = silent) -> Path:
    """Write the regions as vector tiles in one PMTiles file; each feature has a class byte a layer and measure.

    Properties are LAYER.MEASURE (`median_income.predicted`), coded as `chorograph.serving.catalogue.classes` does; the
    file's metadata holds the ends of the classes. No region is missing at any zoom.
    """
    from pmtiles.tile import Compression, TileType, zxy_to_tileid
    from pmtiles.writer import Writer

    if served.bounds is None:
        raise InputError(f"{served.area.path} has no polygon to make tiles of")
    codes, legends = codes_of(served)
    deepest = deepest_zoom(served)
    wanted = list(tiles_of(served.bounds, deepest))
    made = []
    for number, (z, x, y) in enumerate(wanted, start=1):
        if len(served.ladder.shapes_of(z, x, y).rows):
            made.append((zxy_to_tileid(z, x, y), gzip.compress(served.ladder.tile(z, x, y, codes), 6, mtime=0)))
        if number % 50 == 0 or number == len(wanted):
            progress("tiles", number, len(wanted))
    west, south, east, north = (round(1e7 * edge) for edge in served.bounds)
    header: dict[str, Any] = {
        "tile_type": TileType.MVT,
        "tile_compression": Compression.GZIP,
        "min_zoom": 0,
        "max_zoom": deepest,
        "min_lon_e7": west,
        "min_lat_e7": south,
        "max_lon_e7": east,
        "max_lat_e7": north,
        "center_zoom": min(deepest, 8),
        "center_lon_e7": (west + east) // 2,
        "center_lat_e7": (south + north) // 2,
    }
    described = {
        "name": served.area.title,
        "vector_layers": [{"id": LAYER, "fields": dict.fromkeys(codes, "Number")}],
        "attribution": "; ".join(source.attribution or source.name for source in served.area.sources),
        "classes": legends,
    }
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        make: Any = Writer  # says that it is typed, and is not
        writer = make(file)
        for tile_id, data in sorted(made):
            writer.write_tile(tile_id, data)
        writer.finalize(header, described)
    return path


def codes_of(served: ServedArea) -> tuple[dict[str, NDArray[np.uint8]], dict[str, Any]]:
    """Return the class bytes (regions,) of each layer and measure that has values, and their legends."""
    codes, legends = {}, {}
    for layer in served.layers.values():
        run = layer.run()
        for measure in layer.measures(run):
            values = layer.values(measure, run)
            if np.isfinite(values).any():
                classes = classify(values, "quantile", diverging=measure == "residual")
                codes[f"{layer.key}.{measure}"] = classes.codes(values)
                legends[f"{layer.key}.{measure}"] = classes.as_dict()
    return codes, legends


def deepest_zoom(served: ServedArea) -> int:
    """Return the zoom at which nine of ten regions are seen well, as far as the number of tiles allows."""
    edges = served.regions.geometry.dropna().bounds
    spans = np.maximum(edges["maxx"] - edges["minx"], edges["maxy"] - edges["miny"]).to_numpy()
    span = max(float(np.percentile(spans, 10)), 1e-6)
    zoom = min(max(math.ceil(math.log2(_SEEN_PX / 512 * 360 / span)), 0), MAX_ZOOM)
    while zoom > 0 and served.bounds is not None and _count(served.bounds, zoom) > _MOST_TILES:
        zoom -= 1
    return zoom


def tiles_of(bounds: tuple[float, float, float, float], deepest: int) -> Iterator[tuple[int, int, int]]:
    """Go through the tiles z, x, y that meet bounds, from zoom 0 to the deepest."""
    for z in range(deepest + 1):
        left, top, right, bottom = _corners(bounds, z)
        for x in range(left, right + 1):
            for y in range(top, bottom + 1):
                yield z, x, y


def _count(bounds: tuple[float, float, float, float], z: int) -> int:
    left, top, right, bottom = _corners(bounds, z)
    return (right - left + 1) * (bottom - top + 1)


def _corners(bounds: tuple[float, float, float, float], z: int) -> tuple[int, int, int, int]:
    west, south, east, north = bounds
    left, top = (int(value) for value in tile_of(west, north, z))
    right, bottom = (int(value) for value in tile_of(east, south, z))
    return left, top, right, bottom
