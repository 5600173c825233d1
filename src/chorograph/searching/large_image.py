"""Reading a large image by windows: GeoTIFF from its file, JPEG and PNG from memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chorograph.area.images import is_opacity, read_rgb
from chorograph.area.raster_files import open_raster
from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import ImageError, InputError

Window = tuple[int, int, int, int]

#: A JPEG or PNG is decoded as a whole, a byte a pixel and colour: this many pixels are half a gigabyte.
MAX_DECODED_PIXELS = 160_000_000
#: The map of an image is held whole, four bytes a pixel.
MAX_PIXELS = 400_000_000
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class Position:
    """Where an image lies: its reference system, and the affine map (a, b, c, d, e, f) from pixels to it."""

    crs: str
    transform: tuple[float, float, float, float, float, float]

    def lonlat(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, 2) of lon, lat of (n, 2) of x, y in pixels, from the upper left corner."""
        from pyproj import Transformer

        a, b, c, d, e, f = self.transform
        x, y = points.T
        to_lonlat = Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True)
        return np.column_stack(to_lonlat.transform(a * x + b * y + c, d * x + e * y + f))


class LargeImage(Protocol):
    """An image that is read a window at a time."""

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""

    @property
    def position(self) -> Position | None:
        """Where it lies, if it says so."""

    def read(self, window: Window) -> Pixels | None:
        """Return (height, width, 3) of a window (row, its end, column, its end), or None where it holds no data."""

    def small(self, side: int) -> Pixels:
        """Return the whole image with its longer side at most `side` pixels."""


@contextmanager
def open_large_image(path: Path) -> Iterator[LargeImage]:
    """Open a local image: a TIFF is read by windows, anything else is decoded.

    Raises `InputError` naming the file: missing, unreadable, or too large; `MissingExtraError` for a TIFF without
    rasterio.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist, or is no file")
    with path.open("rb") as file:
        is_tiff = file.read(4) in _TIFF
    if is_tiff:
        with _open_tiff(path) as image:
            yield image
        return
    try:
        pixels = read_rgb(path, max_pixels=MAX_DECODED_PIXELS)
    except ImageError as error:
        remedy = "; as a tiled GeoTIFF it is read by windows" if error.reason == "too large" else ""
        raise InputError(f"{path} cannot be read: {error.reason}{remedy}") from error
    yield _Decoded(pixels)


@dataclass(frozen=True)
class _Decoded:
    pixels: Pixels
    position: None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]

    def read(self, window: Window) -> Pixels:
        row, row_end, column, column_end = window
        return self.pixels[row:row_end, column:column_end]

    def small(self, side: int) -> Pixels:
        from PIL import Image

        image = Image.fromarray(self.pixels)
        image.thumbnail((side, side))
        return np.asarray(image)


@contextmanager
def _open_tiff(path: Path) -> Iterator[LargeImage]:
    with open_raster(path) as dataset:
        if dataset.width * dataset.height > MAX_PIXELS:
            raise InputError(
                f"{path} has {dataset.width} x {dataset.height} px, more than {MAX_PIXELS:,}; cut it in parts"
            )
        yield _GeoTiff.of(dataset)


@dataclass(frozen=True)
class _GeoTiff:
    dataset: Any
    position: Position | None
    #: The values that become 0 and 255, where the file does not hold bytes.
    stretch: tuple[float, float] | None
    #: The colours of a file that holds numbers of colours.
    palette: Pixels | None
    #: Whether 0 stands for white, as in scans.
    negative: bool
    #: Whether a last band called alpha is near infrared or the like, and hides nothing.
    opaque: bool

    @classmethod
    def of(cls, dataset: Any) -> _GeoTiff:
        """Remember what every window needs: where the file lies, and how its values become colours."""
        position = None
        if dataset.crs is not None and not dataset.transform.is_identity:
            position = Position(dataset.crs.to_wkt(), tuple(dataset.transform)[:6])
        stretch = palette = None
        if dataset.colorinterp[0].name == "palette":
            colours = dataset.colormap(1)
            palette = np.array([colours.get(value, (0, 0, 0, 0))[:3] for value in range(256)], dtype=np.uint8)
        elif dataset.dtypes[0] != "uint8":
            values = dataset.read(_bands(dataset), out_shape=_within(dataset, 1024), masked=True)
            values = values.compressed()[np.isfinite(values.compressed())]
            low, high = np.percentile(values, [2, 98]) if len(values) else (0.0, 1.0)
            stretch = (float(low), float(max(high, low + 1e-9)))
        last = dataset.read(dataset.count, out_shape=_within(dataset, 1024))
        called_alpha = dataset.count > 1 and dataset.colorinterp[-1].name == "alpha"
        negative = palette is None and dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
        return cls(dataset, position, stretch, palette, negative, called_alpha and not is_opacity(last))

    @property
    def shape(self) -> tuple[int, int]:
        return self.dataset.height, self.dataset.width

    def read(self, window: Window) -> Pixels | None:
        row, row_end, column, column_end = window
        return self._colours(window=((row, row_end), (column, column_end)))

    def small(self, side: int) -> Pixels:
        shape = _within(self.dataset, side)
        pixels = self._colours(out_shape=shape)
        return np.full((*shape, 3), 255, np.uint8) if pixels is None else pixels

    def _colours(self, **which: Any) -> Pixels | None:
        values = np.moveaxis(self.dataset.read(_bands(self.dataset), **which), 0, -1)
        mask = self._held(values, **which)
        if not mask.any():
            return None
        if self.palette is not None:
            values = self.palette[values[..., 0]]
        elif self.stretch is not None:
            low, high = self.stretch
            share = np.clip((values.astype(np.float32) - low) / (high - low), 0, 1)
            values = np.rint(255 * np.nan_to_num(share)).astype(np.uint8)
        shown = np.where(mask[..., None], 255 - values if self.negative else values, np.uint8(255))
        return np.ascontiguousarray(np.broadcast_to(shown, (*mask.shape, 3)))

    def _held(self, values: Any, **which: Any) -> Any:
        """Return where there is data (height, width): by the file's own mask, but for an alpha band that is none."""
        if not self.opaque:
            return self.dataset.dataset_mask(**which) > 0
        nodata = self.dataset.nodata
        return np.ones(values.shape[:2], dtype=bool) if nodata is None else (values != nodata).any(axis=-1)


def _bands(dataset: Any) -> list[int]:
    """Return the first three bands, or the only one (a picture of grey, two with an alpha band)."""
    return [1, 2, 3] if dataset.count >= 3 else [1]


def _within(dataset: Any, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(dataset.height, dataset.width))
    return max(1, round(dataset.height * scale)), max(1, round(dataset.width * scale))
