"""Where a picture lies by itself: the georeference inside a GeoTIFF, or a world file beside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chorograph.area.raster_files import NoRasterError, open_raster
from chorograph.ground.errors import InputError, MissingExtraError

_WORLD_FILES = (".jgw", ".jpgw", ".jpegw", ".pgw", ".pngw", ".tfw", ".tifw", ".tiffw", ".wld")


def places_of_pictures(frame: pd.DataFrame, crs: str | None, notes: list[str]) -> pd.DataFrame:
    """Return tiles (with `path`) with the longitude and latitude of their middle, where the files say it.

    A file that does not is left without; where none does, nothing is added. `crs` is that of pictures whose
    georeference names none, as a world file's does. `InputError` where such a picture has none and none was said.
    """
    may_say = [path for path in frame["path"] if _may_say(path)]
    if not may_say:
        return frame
    try:
        import rasterio  # noqa: F401  # whether it is there
    except ImportError as error:
        if all(path.suffix.lower() in (".tif", ".tiff") for path in may_say):
            notes.append("georeferences inside of TIFFs are read by rasterio, which is not installed")
            return frame
        raise MissingExtraError.of("acquire", error) from error
    middles = [middle_of_picture(path, crs) for path in frame["path"]]
    if not any(middles):
        return frame
    lon, lat = (np.array([middle[axis] if middle else np.nan for middle in middles]) for axis in (0, 1))
    return frame.assign(lon=lon, lat=lat)


def middle_of_picture(path: Path, crs: str | None) -> tuple[float, float] | None:
    """Return (lon, lat) of the middle of a georeferenced picture; None for any other."""
    from pyproj import Transformer

    found = georeference_of(path, crs)
    if found is None:
        return None
    system, transform, width, height = found
    x, y = transform * (width / 2, height / 2)
    lon, lat = Transformer.from_crs(system, "EPSG:4326", always_xy=True).transform(x, y)
    if not np.isfinite([lon, lat]).all():
        raise InputError(f"{path} lies at ({x:g}, {y:g}), which is no place in {system}; say --imagery-crs")
    return float(lon), float(lat)


def georeference_of(path: Path, crs: str | None) -> tuple[Any, Any, int, int] | None:
    """Return (reference system, transform of pixels, width, height) of a georeferenced picture; None for any other."""
    if not _may_say(path):
        return None
    try:
        with open_raster(path) as raster:
            system, transform, size = raster.crs, raster.transform, (raster.width, raster.height)
    except NoRasterError:
        return None  # whoever takes it in finds the reason
    if transform.is_identity:
        return None
    if system is None and crs is None:
        raise InputError(
            f"{path} says where it lies, but not in which reference system; say it, for example "
            "--imagery-crs EPSG:32610"
        )
    return crs or system, transform, *size


def _may_say(path: Path) -> bool:
    if path.suffix.lower() in (".tif", ".tiff", ".jp2"):
        return True
    return any(path.with_suffix(suffix).exists() for suffix in _WORLD_FILES)
