"""Where in a region's imagery a sentence fits best: its tiles put together, looked at by windows."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chorograph.area.images import open_image
from chorograph.area.tiles import tile_centre
from chorograph.ground.arrays import HeatMap, Pixels
from chorograph.ground.errors import InputError
from chorograph.searching.heatmap import CellMap, mean_similarity
from chorograph.searching.large_image import Position, Window
from chorograph.searching.localize import Peak, encode_windows, find_peaks, probability_map
from chorograph.searching.output import draw_overlay
from chorograph.serving.catalogue.finder import Finder
from chorograph.serving.catalogue.served import ServedArea

#: Sides of the windows, in pixels; a tile has 256.
STEPS = (128, 256)
TILE_PX = 256
#: Tiles of a region that are looked at: those nearest to its middle.
MOST_TILES = 16
#: Regions whose windows stay encoded.
_KEPT = 64
#: Parts of the map this high, by its maximum, are outlined.
_LEVEL = 0.75
#: Tiles are put side by side where they would fill less than one in so many squares of a map.
_EMPTY = 2
_Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mosaic:
    """A region's imagery as one image: `pixels`, and where it holds any, (height, width).

    `tiles`: (rows, columns, 2) the x and y of the map tile of `zoom` in each square of 256 px, -1 where there is none;
    None for a picture that is no map tile. `joined`: tiles lie as they do on the ground; else they are far apart, and
    stand side by side.
    """

    pixels: Pixels
    held: NDArray[np.bool_]
    tiles: NDArray[np.int64] | None = None
    zoom: int = 0
    joined: bool = True
    position: Position | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def bounds(self) -> _Bounds | None:
        """West, south, east, north of tiles that lie as they do on the ground."""
        if self.tiles is None or not self.joined:
            return None
        (west, north), (east, south) = self.place(0, 0), self.place(self.shape[1], self.shape[0])
        return west, south, east, north

    def read(self, window: Window) -> Pixels | None:
        """Return the pixels of a window; None where not all of it is held, or it is of tiles that do not touch."""
        row, row_end, column, column_end = window
        part = (slice(row, row_end), slice(column, column_end))
        apart = not self.joined and (row // TILE_PX, column // TILE_PX) != _square(row_end - 1, column_end - 1)
        return None if apart or not self.held[part].all() else self.pixels[part]

    def small(self, side: int) -> Pixels:
        """Return the whole image."""
        return self.pixels

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return lon, lat of a place in pixels of a mosaic of map tiles."""
        assert self.tiles is not None  # noqa: S101  # who asks has looked
        square = tuple(np.minimum(_square(int(y), int(x)), np.array(self.tiles.shape[:2]) - 1).tolist())
        column, row = self.tiles[0, 0] + np.array(square)[::-1] if self.joined else self.tiles[square]
        lon, lat = tile_centre(column + x / TILE_PX - square[1] - 0.5, row + y / TILE_PX - square[0] - 0.5, self.zoom)
        return float(lon), float(lat)


def _square(row: int, column: int) -> tuple[int, int]:
    return row // TILE_PX, column // TILE_PX


@dataclass(frozen=True)
class Heat:
    """A sentence on a mosaic: the map (0 to 1, high where it fits best), the similarities behind it, its peaks."""

    mosaic: Mosaic
    probability: HeatMap
    similarity: CellMap
    peaks: list[Peak]
    lowest: float
    highest: float

    def picture(self) -> Any:
        """Return the imagery under the map's colours, with the peaks outlined, as a Pillow image."""
        drawn = draw_overlay(self.mosaic.pixels, self.probability, self.peaks)
        drawn.paste((128, 128, 128), mask=Image.fromarray(~self.mosaic.held))
        return drawn

    def as_dict(self) -> dict[str, Any]:
        """Return the peaks with their places, best first, ready for JSON."""
        return {
            "bounds": self.mosaic.bounds,
            "side_by_side": not self.mosaic.joined,
            "height": self.mosaic.shape[0],
            "width": self.mosaic.shape[1],
            "similarity": {"lowest": round(self.lowest, 4), "highest": round(self.highest, 4)},
            "note": "" if self.peaks else "no part of the imagery fits better than another",
            "peaks": [
                {
                    "pixels": [round(number, 1) for number in peak.centre],
                    "place": self._place(*peak.centre),
                    "similarity": round(peak.similarity, 4),
                }
                for peak in self.peaks
            ],
        }

    def _place(self, x: float, y: float) -> list[float] | None:
        return None if self.mosaic.tiles is None else [round(number, 6) for number in self.mosaic.place(x, y)]


class HeatMaps:
    """Draws the heat maps of an area, one at a time; windows stay encoded for the next sentence."""

    def __init__(self, served: ServedArea, finder: Finder) -> None:
        self._served, self._finder = served, finder
        self._lock = threading.Lock()
        self._encoded: OrderedDict[int, tuple[Mosaic, NDArray[np.int64], NDArray[np.float32]]] = OrderedDict()

    def draw(self, text: str, row: int) -> Heat:
        """Return where in the imagery of the region in `row` a sentence fits best.

        Raises `InputError` where the area has no text tower, or the region no picture from above.
        """
        encoder, reason = self._finder.tower()
        if encoder is None:
            raise InputError(f"a heat map needs a model that knows words. {reason}")
        with self._lock:
            mosaic, at, vectors = self._windows(encoder, row)
            similarities = vectors @ encoder.encode_texts([text])[0]
        similarity = mean_similarity(at, similarities, mosaic.shape)
        probability = probability_map(similarity, steps=STEPS)
        probability = np.where(mosaic.held, probability, 0)
        peaks = find_peaks(probability, similarity, _LEVEL, smallest_px=min(STEPS) ** 2 // 16)
        return Heat(mosaic, probability, similarity, peaks, float(similarities.min()), float(similarities.max()))

    def _windows(self, encoder: Any, row: int) -> tuple[Mosaic, NDArray[np.int64], NDArray[np.float32]]:
        if row not in self._encoded:
            mosaic = mosaic_of(self._served, row)
            self._encoded[row] = (mosaic, *encode_windows(encoder, mosaic, steps=STEPS))
            if len(self._encoded) > _KEPT:
                self._encoded.popitem(last=False)
        self._encoded.move_to_end(row)
        return self._encoded[row]


def mosaic_of(served: ServedArea, row: int) -> Mosaic:
    """Return the imagery of a region: its map tiles put together, else its first picture from above.

    Raises `InputError` where it has none.
    """
    images = served.images.iloc[served.images_of.get(row, [])]
    images = images[images["view"] == "satellite"]
    if images.empty:
        raise InputError(f"region {served.index[row]!r} has no picture from above")
    tiles = images[images[["zoom", "x", "y"]].notna().all(axis=1)]
    if tiles.empty:
        pixels = np.asarray(_opened(served, str(images["uri"].iloc[0])))
        return Mosaic(pixels, np.ones(pixels.shape[:2], dtype=bool))
    return _tiled(served, tiles[tiles["zoom"] == tiles["zoom"].max()])


def _tiled(served: ServedArea, tiles: Any) -> Mosaic:
    """Put map tiles of one zoom together: as they lie, or side by side where that would be mostly empty."""
    zoom = int(tiles["zoom"].iloc[0])
    places = tiles[["x", "y"]].to_numpy(dtype=np.int64)
    near = np.argsort(((places - places.mean(axis=0)) ** 2).sum(axis=1), kind="stable")[:MOST_TILES]
    near = near[np.lexsort((places[near, 0], places[near, 1]))]
    places, uris = places[near], tiles["uri"].astype(str).to_numpy()[near]
    squares = (places - places.min(axis=0))[:, ::-1]
    joined = bool(np.prod(squares.max(axis=0) + 1) <= _EMPTY * len(places))
    if not joined:
        across = math.ceil(math.sqrt(len(places)))
        squares = np.stack(np.divmod(np.arange(len(places)), across), axis=1)
    rows, columns = (squares.max(axis=0) + 1).tolist()
    at = np.full((rows, columns, 2), -1, dtype=np.int64)
    pixels = np.full((rows * TILE_PX, columns * TILE_PX, 3), 232, dtype=np.uint8)
    held = np.zeros(pixels.shape[:2], dtype=bool)
    for (row, column), place, uri in zip(squares.tolist(), places, uris, strict=True):
        part = (slice(row * TILE_PX, (row + 1) * TILE_PX), slice(column * TILE_PX, (column + 1) * TILE_PX))
        pixels[part] = np.asarray(_opened(served, uri).resize((TILE_PX, TILE_PX)))
        held[part] = True
        at[row, column] = place
    if joined:
        at[0, 0] = places.min(axis=0)
    return Mosaic(pixels, held, at, zoom, joined)


def _opened(served: ServedArea, uri: str) -> Any:
    image = open_image(served.area.read_encoded(uri))
    image.thumbnail((1024, 1024))
    return image
