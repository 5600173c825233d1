"""Numbers of rasters as pictures: which bands are red, green and blue, and which numbers black and white."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chorograph.acquisition.own.imagery.pixels import Scaling, parse_bands, parse_scale, to_bytes
from chorograph.acquisition.sources.windows import Window
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    from chorograph.acquisition.own.own_settings import ImagerySettings
    from chorograph.acquisition.sources.mosaics.reading import Extent, Rasters

#: Pixels of the side at which a raster is looked at for `--scale auto`.
_LOOK_PX = 256


def scaling_of(rasters: Rasters, asked: ImagerySettings, addresses: Sequence[str], extent: Extent) -> Scaling:
    """Return how rasters like the first of `addresses` (one of all bands, or one a band) are shown, the same for all.

    `InputError` that says what it holds and what to choose, where it is deeper than eight bits and nobody said.
    """
    bands = parse_bands(asked.bands) or ((1,) if len(addresses) > 1 or extent.bands < 3 else (1, 2, 3))
    pair = parse_scale(asked.scale)
    if pair is not None or extent.dtype == "uint8":
        return Scaling(*(pair or (0.0, 255.0)), bands)
    low, high = _percentiles(rasters, addresses, bands, extent)
    if asked.scale is None:
        raise InputError(
            f"{addresses[0]} holds {extent.dtype}: say which numbers become black and white with --scale, for example "
            f"--scale {low:.4g}:{high:.4g} (the 2nd and 98th percentile of the first raster, which --scale auto takes)"
        )
    return Scaling(low, high, bands)


def read_all(
    rasters: Rasters, addresses: Sequence[str], window: Window, bands: Sequence[int], resampling: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return bands of one raster, or a band of each of several, as (bands, height, width), and what all cover."""
    read = [rasters.read(address, window, bands, resampling) for address in addresses]
    return np.concatenate([values for values, _ in read]), np.logical_and.reduce([covered for _, covered in read])


def png(values: NDArray[np.float64], covered: NDArray[np.bool_], scaling: Scaling) -> bytes:
    """Return (bands, height, width) numbers as a PNG; what is not covered is black."""
    shown = np.moveaxis(np.where(covered, values, np.nan), 0, 2)
    buffer = io.BytesIO()
    # Level 1: a fifth of the time for a tenth more bytes.
    Image.fromarray(to_bytes(shown, float(scaling.low or 0), float(scaling.high or 255))).save(
        buffer, "PNG", compress_level=1
    )
    return buffer.getvalue()


def _percentiles(
    rasters: Rasters, addresses: Sequence[str], bands: Sequence[int], extent: Extent
) -> tuple[float, float]:
    west, south, east, north = extent.bounds
    look = Window("look", "EPSG:4326", west, south, east, north, _LOOK_PX, _LOOK_PX)
    values, covered = read_all(rasters, addresses, look, bands, "nearest")
    seen = values[:, covered]
    seen = seen[np.isfinite(seen)]
    if not seen.size:
        raise InputError(f"{addresses[0]} holds no number")
    low, high = (float(edge) for edge in np.percentile(seen, (2, 98)))
    return (low, high) if high > low else (low, low + 1.0)
