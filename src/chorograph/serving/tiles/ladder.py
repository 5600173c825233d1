"""The shapes of an area at every zoom: simplified together, so that neighbours keep their common border."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray

from chorograph.ground.files import atomic_path
from chorograph.serving.tiles.encode import EXTENT, HALF_WORLD, TileShapes, encode_shapes, encode_tile, tile_bounds_3857

#: The deepest zoom of our tiles: the map draws deeper ones from these, at a grid of 6 cm.
MAX_ZOOM = 14
#: Zooms that have simplified shapes of their own; others take the next deeper ones.
_RUNGS = (4, 6, 8, 10, 12)
#: Simplified by half a pixel of a screen that shows a tile at 512 px.
_TOLERANCE = 0.5 * EXTENT / 512
#: Areas of fewer points than this are not simplified: snapping to the grid does enough.
_FEW_POINTS = 200_000
#: Tiles kept encoded, and the bytes that they may take.
_KEPT_BYTES = 256 * 2**20
_VERSION = b"ladder 1"


class Ladder:
    """Makes the tiles of regions (EPSG:3857; None where a region has no geometry). Safe to call from many threads.

    Simplified shapes are made when first asked for, and kept in `cache` where one is given.
    """

    def __init__(self, shapes: NDArray[np.object_], cache: Path | None = None) -> None:
        held = ~(shapely.is_missing(shapes) | shapely.is_empty(shapes))
        self._rows = np.flatnonzero(held)
        self._shapes = shapes[held]
        self._tree = shapely.STRtree(self._shapes)
        self._cache = cache
        self._rungs: dict[int, NDArray[np.object_]] = {}
        self._locks = {rung: threading.Lock() for rung in _RUNGS}
        self._tiles: OrderedDict[tuple[int, int, int], TileShapes] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def many_points(self) -> bool:
        """Whether simplified shapes are worth making."""
        return int(shapely.get_num_coordinates(self._shapes).sum()) > _FEW_POINTS

    def tile(self, z: int, x: int, y: int, codes: Mapping[str, NDArray[np.uint8]]) -> bytes:
        """Return the tile z/x/y with the codes (n,) of each name; without a feature where no region meets it."""
        return encode_tile(self.shapes_of(z, x, y), codes)

    def shapes_of(self, z: int, x: int, y: int) -> TileShapes:
        """Return the encoded geometry of a tile, from memory where it was made before."""
        key = (z, x, y)
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        bounds = tile_bounds_3857(z, x, y)
        found = np.sort(self._tree.query(shapely.box(*bounds)))
        made = encode_shapes(self._at(z)[found], self._rows[found], bounds)
        with self._lock:
            self._tiles[key] = made
            self._bytes += len(made.data)
            while self._bytes > _KEPT_BYTES and len(self._tiles) > 1:
                self._bytes -= len(self._tiles.popitem(last=False)[1].data)
        return made

    def warm(self) -> None:
        """Make all simplified shapes, from the deepest up: what a server does beside its first answers."""
        if self.many_points:
            for rung in sorted(_RUNGS, reverse=True):
                self._rung(rung)

    def _at(self, z: int) -> NDArray[np.object_]:
        """Return the shapes for a zoom: those of its rung if they are made, else the finest; never waits for one."""
        rung = next((rung for rung in _RUNGS if rung >= z), None)
        made = None if rung is None else self._rungs.get(rung)
        return self._shapes if made is None else made

    def _rung(self, rung: int) -> NDArray[np.object_]:
        with self._locks[rung]:
            if rung not in self._rungs:
                held = self._read(rung)
                self._rungs[rung] = self._simplified(rung) if held is None else held
            return self._rungs[rung]

    def _simplified(self, rung: int) -> NDArray[np.object_]:
        finer = next((self._rungs[deeper] for deeper in _RUNGS if deeper > rung and deeper in self._rungs), None)
        tolerance = _TOLERANCE * 2 * HALF_WORLD / 2**rung / EXTENT
        made = shapely.coverage_simplify(self._shapes if finer is None else finer, tolerance)
        # A region must not be lost, whatever its size.
        made = np.where(shapely.is_empty(made), self._shapes, made)
        self._write(rung, made)
        return np.asarray(made, dtype=object)

    def _file(self, rung: int) -> Path | None:
        if self._cache is None:
            return None
        digest = hashlib.sha256(_VERSION)
        digest.update(np.ascontiguousarray(shapely.bounds(self._shapes)).tobytes())
        digest.update(shapely.get_num_coordinates(self._shapes).tobytes())
        return self._cache / f"{digest.hexdigest()[:16]}-{rung}.npz"

    def _read(self, rung: int) -> NDArray[np.object_] | None:
        path = self._file(rung)
        if path is None or not path.is_file():
            return None
        try:
            with np.load(path, allow_pickle=False) as held:
                data, ends = held["data"].tobytes(), held["ends"]
        except (OSError, ValueError, KeyError):
            return None  # a damaged cache is made anew
        parts = [data[start:end] for start, end in zip(np.r_[0, ends[:-1]], ends, strict=True)]
        return np.asarray(shapely.from_wkb(np.array(parts, dtype=object)), dtype=object)

    def _write(self, rung: int, shapes: NDArray[np.object_]) -> None:
        path = self._file(rung)
        if path is None:
            return
        wkb = [bytes(item) for item in shapely.to_wkb(shapes)]
        ends = np.cumsum([len(item) for item in wkb])
        try:
            with atomic_path(path) as temporary:
                np.savez(temporary, data=np.frombuffer(b"".join(wkb), dtype=np.uint8), ends=ends)
        except OSError:
            self._cache = None  # a folder that cannot be written: shapes stay in memory
