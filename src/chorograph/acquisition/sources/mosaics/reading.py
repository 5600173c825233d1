"""Rasters opened once and read by windows: files by GDAL, URLs by ranges of bytes that the polite fetcher gets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from chorograph.acquisition.own.imagery.warping import warp_onto
from chorograph.acquisition.sources.documents import is_url
from chorograph.area.raster_files import open_raster
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    from chorograph.acquisition.sources.windows import Window
    from chorograph.ground.fetching.fetcher import FetchRules, Get

T = TypeVar("T")
#: Source pixels around a window that resampling may look at, at the window's resolution.
_MARGIN = 4


class RasterError(Exception):
    """A raster that could not be read; `reason` is counted."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class Extent:
    """What a raster is: its bounds in degrees (west, south, east, north), how many bands, and of which numbers."""

    bounds: tuple[float, float, float, float]
    bands: int
    dtype: str


@dataclass
class Rasters:
    """Rasters by their address: a path, or an http(s) URL. Made by `open_rasters`; may be used from many threads."""

    rules: FetchRules
    _heads: dict[str, Any] = field(default_factory=dict)
    _loop: asyncio.AbstractEventLoop | None = None
    _get: Get | None = None

    def extent(self, address: str) -> Extent:
        """Return where a raster lies and what it holds; `RasterError` where it cannot be read."""
        from rasterio.warp import transform_bounds

        if is_url(address):
            head, _ = self._head(address)
            bounds, crs, bands, dtype = tuple(head.bounds), head.crs.to_wkt(), head.count, str(head.dtype)
        else:
            with open_raster(Path(address)) as raster:
                if raster.crs is None:
                    raise InputError(f"{address} says no reference system, so nobody knows where it lies")
                bounds, crs, bands, dtype = tuple(raster.bounds), raster.crs, raster.count, raster.dtypes[0]
        west, south, east, north = transform_bounds(crs, "EPSG:4326", *bounds)
        return Extent((west, south, east, north), bands, dtype)

    def read(
        self, address: str, window: Window, bands: Sequence[int], resampling: str
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return bands as (bands, height, width), and which pixels are covered; `RasterError` with the reason."""
        edges = (window.west, window.south, window.east, window.north)
        grid = (window.crs, edges, window.width, window.height)
        try:
            if not is_url(address):
                with open_raster(Path(address)) as raster:
                    return warp_onto(raster, *grid, bands, resampling)
            part = self._part(address, window)
            if part is None:
                shape = (window.height, window.width)
                return np.zeros((len(bands), *shape)), np.zeros(shape, dtype=bool)
            with _in_memory(part) as raster:
                return warp_onto(raster, *grid, bands, resampling)
        except (RasterError, InputError):
            raise
        except Exception as error:  # GDAL's and the reader's own, on a damaged file
            raise RasterError("not readable as a raster") from error

    def _head(self, url: str) -> Any:
        if url not in self._heads:
            from async_geotiff import GeoTIFF

            ranges = _Ranges(self._client())
            with ranges.naming_failures():
                self._heads[url] = self._now(GeoTIFF.open(url, store=ranges)), ranges
        return self._heads[url]

    def _part(self, url: str, window: Window) -> Any:
        """Return the pixels of a remote raster that a window needs, None where they do not meet."""
        head, ranges = self._head(url)
        level, part = _needed(head, window)
        if part is None:
            return None
        with ranges.naming_failures():
            return self._now(level.read(window=part))

    def _client(self) -> Get:
        if self._get is None:
            raise RuntimeError("the rasters are not open")
        return self._get

    def _now(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            raise RuntimeError("the rasters are not open")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


@contextmanager
def open_rasters(rules: FetchRules) -> Iterator[Rasters]:
    """Hold connections and files open while rasters are read."""
    from chorograph.ground.fetching.fetcher import Wanted, client

    rasters, loop = Rasters(rules), asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with client(rules, Wanted(status=206)) as rasters._get:
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    ready.wait(30)
    rasters._loop = loop
    try:
        yield rasters
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


def in_threads(work: Callable[[T], Any], items: Sequence[T], workers: int, take: Callable[[int, Any], None]) -> None:
    """Do `work` with each item, several at once; `take` is told each number and result in this thread."""
    with ThreadPoolExecutor(workers) as pool:
        waiting: dict[Future[Any], int] = {}
        for number, item in enumerate(items):
            waiting[pool.submit(work, item)] = number
            if len(waiting) >= 2 * workers:
                _taken(waiting, take)
        while waiting:
            _taken(waiting, take)


def _taken(waiting: dict[Future[Any], int], take: Callable[[int, Any], None]) -> None:
    done, _ = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        take(waiting.pop(future), future.result())


@dataclass
class _Ranges:
    """What async-geotiff reads bytes from: the polite fetcher, so that hosts, deadlines and failures are ours."""

    get: Get
    #: Why the last range was not had: the reader's own exceptions do not say.
    failed: str | None = None

    async def get_range_async(
        self, path: str, *, start: int, end: int | None = None, length: int | None = None
    ) -> bytes:
        last = (end if end is not None else start + (length or 0)) - 1
        found = await self.get(path, {"Range": f"bytes={start}-{last}"})
        if found.reason is not None:
            self.failed = "the server gives no ranges of bytes" if found.reason == "HTTP 200" else found.reason
            raise RasterError(self.failed)
        return found.data

    async def get_ranges_async(
        self, path: str, *, starts: Sequence[int], ends: Sequence[int] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> list[bytes]:  # fmt: skip
        last = ends if ends is not None else [a + b for a, b in zip(starts, lengths or (), strict=True)]
        ranges = [self.get_range_async(path, start=a, end=b) for a, b in zip(starts, last, strict=True)]
        return list(await asyncio.gather(*ranges))

    @contextmanager
    def naming_failures(self) -> Iterator[None]:
        """Turn whatever the reader raises into a `RasterError` with the reason."""
        try:
            yield
        except Exception as error:
            raise RasterError(self.failed or "not readable as a raster") from error


def _needed(head: Any, window: Window) -> tuple[Any, Any]:
    """Return the level of a remote raster whose pixels are fine enough, and the part of it around a window."""
    from async_geotiff import Window as Part
    from pyproj import Transformer

    to_raster = Transformer.from_crs(window.crs, head.crs, always_xy=True)
    west, south, east, north = to_raster.transform_bounds(window.west, window.south, window.east, window.north)
    fine = min((east - west) / window.width, (north - south) / window.height)
    level = head
    for overview in head.overviews:
        if max(abs(size) for size in overview.res) <= fine * (1 + 1e-6):
            level = overview
    corners = [~level.transform @ corner for corner in ((west, north), (east, south), (west, south), (east, north))]
    step = max(1.0, fine / max(abs(size) for size in level.res))
    low = np.floor(np.min(corners, axis=0) - _MARGIN * step).astype(int)
    high = np.ceil(np.max(corners, axis=0) + _MARGIN * step).astype(int)
    low, high = np.maximum(low, 0), np.minimum(high, (level.width, level.height))
    if (low >= high).any():
        return level, None
    return level, Part(
        col_off=int(low[0]), row_off=int(low[1]), width=int(high[0] - low[0]), height=int(high[1] - low[1])
    )


@contextmanager
def _in_memory(part: Any) -> Iterator[Any]:
    """Open pixels that were read as a raster."""
    from rasterio.enums import ColorInterp
    from rasterio.io import MemoryFile

    profile = {
        "driver": "GTiff", "width": part.width, "height": part.height, "count": part.count, "dtype": part.data.dtype,
        "crs": part._geotiff.crs.to_wkt(), "transform": part.transform, "nodata": part._geotiff.nodata,
    }  # fmt: skip
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(part.data)
            if part._alpha_band_idx is not None:
                kinds = list(raster.colorinterp)
                kinds[part._alpha_band_idx] = ColorInterp.alpha
                raster.colorinterp = kinds
            elif part.mask is not None:
                raster.write_mask(part.mask)
        with memory.open() as raster:
            yield raster
