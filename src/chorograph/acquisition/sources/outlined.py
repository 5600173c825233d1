"""A picture of each region out of a service's map tiles, and what lies outside of a region made black."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely
from PIL import Image
from pyproj import Transformer

from chorograph.acquisition.own.imagery.outlines import MERCATOR, Box, box_of, inside, mercator_pixels, stitched
from chorograph.acquisition.sources.journal import FINAL
from chorograph.acquisition.sources.source import Imagery, Picture, Take
from chorograph.acquisition.sources.windows import HALF_WORLD, TILE_PX, Wanted, Window, degrees_bounds, tile_window
from chorograph.area.images import read_rgb
from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import ImageError, InputError

if TYPE_CHECKING:
    import geopandas as gpd

#: Pixels of a picture's side, at most.
_MOST_PX = 8192


def boxes_of(regions: gpd.GeoDataFrame, zoom: int) -> Wanted:
    """Return the rectangle around each region in whole pixels of map tiles of a zoom."""
    held = regions[regions.geometry.notna()].reset_index(drop=True)
    windows = [_window(name, polygon, zoom) for name, polygon in zip(held["region_id"], held.geometry, strict=True)]
    edges = np.array([degrees_bounds(window) for window in windows], dtype=np.float64).reshape(-1, 4)
    frame = pd.DataFrame({"image_id": [window.name for window in windows], "region_id": held["region_id"]})
    return Wanted(frame.assign(lon=edges[:, [0, 2]].mean(1), lat=edges[:, [1, 3]].mean(1)), windows)


def _window(name: str, polygon: Any, zoom: int) -> Window:
    outline = shapely.transform(polygon, lambda xy: np.stack(mercator_pixels(xy[:, 0], xy[:, 1], zoom), axis=1))
    left, top, right, bottom = box_of(outline)
    if max(right - left, bottom - top) > _MOST_PX:
        raise InputError(f"the picture of region {name!r} would have over {_MOST_PX:,} pixels a side; lower --zoom")
    metres = 2 * HALF_WORLD / (TILE_PX * 2**zoom)
    west, east = left * metres - HALF_WORLD, right * metres - HALF_WORLD
    south, north = HALF_WORLD - bottom * metres, HALF_WORLD - top * metres
    return Window(f"region-{name}", "EPSG:3857", west, south, east, north, right - left, bottom - top, zoom=zoom)


def fetch_stitched(service: Imagery, windows: Sequence[Window], take: Take) -> None:
    """Get the tiles under each window, one window after another, and lay them beside one another.

    A tile that is not there for good is black, and its share without data; one that may come yet fails its window.
    """
    for number, window in enumerate(windows):
        box, zoom = _box(window), int(window.zoom or 0)
        places = [
            (x, y)
            for y in range(box[1] // TILE_PX, -(-box[3] // TILE_PX))
            for x in range(box[0] // TILE_PX, -(-box[2] // TILE_PX))
        ]
        tiles = [tile_window(zoom, x % 2**zoom, y) for x, y in places]
        take(number, _laid(dict(zip(places, _had(service, tiles), strict=True)), box))


def _had(service: Imagery, tiles: Sequence[Window]) -> list[Picture]:
    had: dict[int, Picture] = {}
    service.fetch(tiles, had.__setitem__)
    return [had.get(number, Picture(reason="not answered")) for number in range(len(tiles))]


def _laid(tiles: dict[tuple[int, int], Picture], box: Box) -> Picture:
    for picture in tiles.values():
        if picture.reason is not None and picture.reason not in FINAL:
            return Picture(reason=picture.reason)

    def pixels(x: int, y: int) -> Pixels | None:
        picture = tiles[x, y]
        if picture.reason is not None:
            return None
        try:
            return read_rgb_of(picture.data)
        except ImageError:
            return None

    canvas, covered = stitched(pixels, box, MERCATOR)
    if not covered.any():
        return Picture(reason=next(iter(tiles.values())).reason or "no data")
    return Picture(_png(canvas), nodata=float(1 - covered.mean()))


def read_rgb_of(data: bytes) -> Pixels:
    """Return a tile as uint8 (256, 256, 3), also one of 512 pixels."""
    pixels = read_rgb(data)
    if pixels.shape[:2] == (TILE_PX, TILE_PX):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((TILE_PX, TILE_PX), Image.Resampling.BOX))


def masked(picture: Picture, window: Window, polygon: Any) -> Picture:
    """Return a window's picture, black where a polygon (EPSG:4326) is not; a pixel is in where its middle is."""
    if picture.reason is not None:
        return picture
    change = Transformer.from_crs("EPSG:4326", window.crs, always_xy=True)
    step = ((window.east - window.west) / window.width, (window.north - window.south) / window.height)

    def to_pixels(xy: Any) -> Any:
        x, y = change.transform(xy[:, 0], xy[:, 1])
        return np.stack([(x - window.west) / step[0], (window.north - y) / step[1]], axis=1)

    try:
        pixels = read_rgb(picture.data).copy()
    except ImageError as error:
        return Picture(reason=error.reason)
    pixels[~inside(shapely.transform(polygon, to_pixels), (0, 0, window.width, window.height))] = 0
    return replace(picture, data=_png(pixels))


def _box(window: Window) -> Box:
    metres = 2 * HALF_WORLD / (TILE_PX * 2 ** int(window.zoom or 0))
    left, top = round((window.west + HALF_WORLD) / metres), round((HALF_WORLD - window.north) / metres)
    return left, top, left + window.width, top + window.height


def _png(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
