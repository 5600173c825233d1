"""Where in a region's imagery a sentence fits best: its tiles put together, looked at by windows."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.area.images import open_image
from chorograph.area.tiles import tile_bounds
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
_Bounds = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mosaic:
    """A region's imagery as one image: `pixels`, and where it holds any, (height, width).

    `bounds`: west, south, east, north of a mosaic of map tiles; None for a picture that says no place.
    """

    pixels: Pixels
    held: NDArray[np.bool_]
    bounds: _Bounds | None
    position: Position | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def read(self, window: Window) -> Pixels | None:
        """Return the pixels of a window, None where less than all of it is held."""
        row, row_end, column, column_end = window
        part = (slice(row, row_end), slice(column, column_end))
        return self.pixels[part] if self.held[part].all() else None

    def small(self, side: int) -> Pixels:
        """Return the whole image."""
        return self.pixels


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
        return draw_overlay(self.mosaic.pixels, self.probability, self.peaks)

    def as_dict(self) -> dict[str, Any]:
        """Return the peaks with their places, best first, ready for JSON."""
        return {
            "bounds": self.mosaic.bounds,
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
        if self.mosaic.bounds is None:
            return None
        west, south, east, north = self.mosaic.bounds
        height, width = self.mosaic.shape
        # Within a few tiles the map's latitudes are a line.
        return [round(west + x / width * (east - west), 6), round(north - y / height * (north - south), 6)]


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
        return Mosaic(pixels, np.ones(pixels.shape[:2], dtype=bool), None)
    return _joined(served, tiles[tiles["zoom"] == tiles["zoom"].max()], row)


def _joined(served: ServedArea, tiles: Any, row: int) -> Mosaic:
    zoom = int(tiles["zoom"].iloc[0])
    places = tiles[["x", "y"]].to_numpy(dtype=np.int64)
    middle = places.mean(axis=0)
    near = np.argsort(((places - middle) ** 2).sum(axis=1), kind="stable")[:MOST_TILES]
    places, uris = places[near], tiles["uri"].astype(str).to_numpy()[near]
    # Tiles of a region of several parts may lie far apart: those beyond the nearest few are left out.
    close = (np.abs(places - places[0]) < MOST_TILES).all(axis=1)
    places, uris = places[close], uris[close]
    first, last = places.min(axis=0), places.max(axis=0)
    width, height = ((last - first + 1) * TILE_PX).tolist()
    pixels = np.full((height, width, 3), 232, dtype=np.uint8)
    held = np.zeros((height, width), dtype=bool)
    for (x, y), uri in zip((places - first) * TILE_PX, uris, strict=True):
        part = (slice(y, y + TILE_PX), slice(x, x + TILE_PX))
        pixels[part] = np.asarray(_opened(served, uri).resize((TILE_PX, TILE_PX)))
        held[part] = True
    west, _, _, north = (float(edge) for edge in tile_bounds(first[0], first[1], zoom))
    _, south, east, _ = (float(edge) for edge in tile_bounds(last[0], last[1], zoom))
    return Mosaic(pixels, held, (west, south, east, north))


def _opened(served: ServedArea, uri: str) -> Any:
    image = open_image(served.area.read_encoded(uri))
    image.thumbnail((1024, 1024))
    return image
