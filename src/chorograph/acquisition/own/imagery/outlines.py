"""One picture a region: tiles stitched, cropped to the region's rectangle, and what lies outside of it masked.

Tiles are map tiles (rows from the north or the south), Baidu's, or cut from georeferenced rasters on the way. Pixels
are numbered eastwards and southwards; a pixel belongs to a region where its middle does.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely
from PIL import Image

from chorograph.acquisition.coordinates.baidu import pixel_of
from chorograph.acquisition.own.imagery.cutting import TILE_PX, Cutter, parse_cut, rasters_below
from chorograph.acquisition.own.imagery.tiles import Tiles, list_tiles
from chorograph.area.images import read_rgb
from chorograph.area.middle import wrapped
from chorograph.ground.arrays import Mask, Pixels, Vector
from chorograph.ground.errors import ImageError, InputError, MissingExtraError
from chorograph.ground.files import slug
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.acquisition.own.own_settings import ImagerySettings, Reading

#: Pixels of a picture's side, at most.
_MOST_PX = 8192
#: What lies this near to the edge of a pixel lies on it: rounding of coordinates adds no row.
_EDGE_PX = 1e-3
#: Tiles that are kept for the next region.
_KEPT = 256

#: (left, top, right, bottom) in pixels.
Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Scheme:
    """How degrees become pixels (eastwards, southwards) of a zoom, and which row y of tiles begins at pixel 256 k."""

    pixels: Callable[[Any, Any, int], tuple[Vector, Vector]]
    row: Callable[[int], int]


def mercator_pixels(lon: Any, lat: Any, zoom: int) -> tuple[Vector, Vector]:
    """Return pixels of map tiles (Web Mercator) of degrees."""
    side = TILE_PX * 2.0**zoom
    y = 0.5 - np.arcsinh(np.tan(np.radians(np.asarray(lat, dtype=np.float64)))) / (2 * np.pi)
    return (np.asarray(lon, dtype=np.float64) + 180.0) / 360.0 * side, y * side


def baidu_pixels(lon: Any, lat: Any, zoom: int) -> tuple[Vector, Vector]:
    """Return pixels of Baidu's tiles, counted southwards from its equator, of degrees in WGS84."""
    x, y = pixel_of(lon, lat, zoom)
    return x, -y


MERCATOR = Scheme(mercator_pixels, lambda k: k)
#: Baidu counts rows northwards: pixels 256 k to 256 (k + 1), southwards, are those of row -k - 1.
BAIDU = Scheme(baidu_pixels, lambda k: -k - 1)


def stitched(tile: Callable[[int, int], Pixels | None], box: Box, scheme: Scheme) -> tuple[Pixels, Mask]:
    """Return the pixels of `box` out of the tiles (x, y) under it, and which a tile covers; the others are black."""
    left, top, right, bottom = box
    canvas = np.zeros((bottom - top, right - left, 3), dtype=np.uint8)
    covered = np.zeros(canvas.shape[:2], dtype=bool)
    for row in range(top // TILE_PX, -(-bottom // TILE_PX)):
        for column in range(left // TILE_PX, -(-right // TILE_PX)):
            if (pixels := tile(column, scheme.row(row))) is None:
                continue
            x, y = column * TILE_PX, row * TILE_PX
            over = slice(max(y, top), min(y + TILE_PX, bottom)), slice(max(x, left), min(x + TILE_PX, right))
            here = slice(over[0].start - top, over[0].stop - top), slice(over[1].start - left, over[1].stop - left)
            canvas[here] = pixels[over[0].start - y : over[0].stop - y, over[1].start - x : over[1].stop - x]
            covered[here] = True
    return canvas, covered


def box_of(outline: Any) -> Box:
    """Return the whole pixels that hold an outline (in pixels)."""
    west, north, east, south = shapely.bounds(outline)
    left, top = np.floor(np.array([west, north]) + _EDGE_PX).astype(int).tolist()
    right, bottom = np.ceil(np.array([east, south]) - _EDGE_PX).astype(int).tolist()
    return left, top, max(right, left + 1), max(bottom, top + 1)


def inside(outline: Any, box: Box) -> Mask:
    """Return which pixels of `box` have their middle in an outline (in pixels): holes are out, all parts are in."""
    try:
        from rasterio.features import geometry_mask
        from rasterio.transform import Affine
    except ImportError as error:
        raise MissingExtraError.of("acquire", error) from error
    left, top, right, bottom = box
    shape = (bottom - top, right - left)
    return np.asarray(geometry_mask([outline], shape, Affine(1, 0, left, 0, 1, top), invert=True), dtype=bool)


def cut_outlines(
    folder: Path,
    asked: ImagerySettings,
    reading: Reading,
    id_column: str,
    regions: gpd.GeoDataFrame | None,
    into: Path,
    ledger: Ledger,
    progress: Progress = silent,
) -> Tiles:
    """Make a picture of each region out of tiles or rasters, as `asked.cut` says: `crop:ZOOM`, or `mask:ZOOM`.

    A region without any pixel is counted and left out; one covered in part is black elsewhere, and counted. Raises
    `InputError`: there are no regions, the tiles are of another zoom, a picture would be too large, none is covered.
    """
    kind, zoom = parse_cut(str(asked.cut))
    if regions is None:
        raise InputError(f"--cut {kind}:{zoom} makes a picture of each region, and there are no regions")
    held = regions[regions.geometry.notna()].reset_index(drop=True)
    scheme = BAIDU if asked.rows_from == "baidu" else MERCATOR
    rows, partly = [], 0
    with ExitStack() as stack:
        tile = _tiles(folder, asked, reading, id_column, zoom, stack, ledger)
        for done, (name, polygon) in enumerate(zip(held["region_id"], held.geometry, strict=True), start=1):
            outline = _in_pixels(polygon, scheme, zoom)
            pixels, covered = _picture(outline, name, tile, scheme, mask=kind == "mask")
            partly += bool(covered.any() and not covered.all())
            if covered.any():
                Image.fromarray(pixels).save(path := into / f"{slug(str(name))}.png")
                middle = polygon.representative_point()
                rows.append((f"{name}_{kind}{zoom}", path, name, float(wrapped(middle.x)), middle.y))
            progress("cutting regions", done, len(held))
    ledger.drop("region without any pixel", len(held) - len(rows))
    ledger.count("regions covered in part", partly)
    if not rows:
        raise InputError(f"{folder} has no pixel of zoom {zoom} in any region")
    frame = pd.DataFrame(rows, columns=["tile", "path", "region_id", "lon", "lat"])
    return Tiles(frame.assign(row=range(len(frame))), None)


def _in_pixels(polygon: Any, scheme: Scheme, zoom: int) -> Any:
    return shapely.transform(polygon, lambda xy: np.stack(scheme.pixels(xy[:, 0], xy[:, 1], zoom), axis=1))


def _picture(
    outline: Any, name: str, tile: Callable[[int, int], Pixels | None], scheme: Scheme, *, mask: bool
) -> tuple[Pixels, Mask]:
    """Return a region's picture and which of its pixels (of those inside, where it is masked) are covered."""
    box = box_of(outline)
    if max(box[2] - box[0], box[3] - box[1]) > _MOST_PX:
        raise InputError(
            f"the picture of region {name!r} would have more than {_MOST_PX} pixels a side; cut a smaller zoom"
        )
    pixels, covered = stitched(tile, box, scheme)
    if not mask:
        return pixels, covered
    within = inside(outline, box)
    pixels[~within] = 0
    return pixels, covered[within]


def _tiles(
    folder: Path,
    asked: ImagerySettings,
    reading: Reading,
    id_column: str,
    zoom: int,
    stack: ExitStack,
    ledger: Ledger,
) -> Callable[[int, int], Pixels | None]:
    """Return a function that reads the tile (x, y): warped from the rasters of a folder, or one of its tiles."""
    if mosaics := rasters_below(folder, asked, ledger):
        cutter = Cutter.over(mosaics, asked, stack, ledger)

        def cut(x: int, y: int) -> Pixels | None:
            pixels, covered = cutter.tile(x, y, zoom)
            return pixels if covered.any() else None

        return lru_cache(_KEPT)(cut)
    frame = list_tiles(folder, asked, reading, id_column, None, ledger).frame
    if not {"tile_zoom", "tile_x", "tile_y"} <= set(frame.columns):
        raise InputError(f"{folder} holds neither georeferenced rasters nor tiles whose zoom, x and y are told")
    there = np.array([path.is_file() for path in frame["path"]], dtype=bool)
    frame = frame[(frame["tile_zoom"] == zoom).to_numpy() & there]
    if frame.empty:
        raise InputError(f"{folder} holds no tile of zoom {zoom}; --cut says another than it has")
    paths = {(int(x), int(y)): path for x, y, path in zip(frame["tile_x"], frame["tile_y"], frame["path"], strict=True)}

    def read(x: int, y: int) -> Pixels | None:
        path = paths.get((x, y))
        if path is None:
            return None
        pixels = read_rgb(path)
        if pixels.shape[:2] != (TILE_PX, TILE_PX):
            raise ImageError(f"it is {pixels.shape[1]} x {pixels.shape[0]} pixels, and tiles are {TILE_PX}", path)
        return pixels

    return lru_cache(_KEPT)(read)
