"""TESSERA's embeddings: 128 numbers a cell of 10 m, as geotessera keeps them.

Two forms: tiles of a tenth of a degree as `global_0.1_degree_representation/YEAR/…/grid_LON_LAT.npy` (int8) with
`grid_LON_LAT_scales.npy` beside, whose grid stands in `global_0.1_degree_tiff_all/grid_LON_LAT.tiff`; or GeoTIFFs of
128 bands of float32. Versions and variants are spaces of their own, and are never mixed.
Source: https://github.com/ucam-eo/geotessera (docs/architecture.rst).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from chorograph.acquisition.sources.rasters import opened
from chorograph.acquisition.sources.vectors.fields import Field
from chorograph.area.folder import Source
from chorograph.ground.arrays import Vectors
from chorograph.ground.errors import InputError
from chorograph.ground.files import check_regular

WIDTH = 128
TILES = "global_0.1_degree_representation"
GRIDS = "global_0.1_degree_tiff_all"
SOURCE = Source(
    "TESSERA", "unstated", "TESSERA embeddings by the University of Cambridge", "https://github.com/ucam-eo/tessera"
)
_SIDECAR = "tessera_metadata.json"


def tiles_of(folder: Path) -> list[Path]:
    """Return the tiles of a folder in geotessera's form (`grid_LON_LAT.npy`), by name."""
    found = (folder / TILES).rglob("grid_*.npy")
    return sorted(path for path in found if not path.name.endswith("_scales.npy"))


def is_tessera(dataset: Any) -> bool:
    """Return whether an opened raster is in TESSERA's form."""
    return bool(dataset.count == WIDTH and set(dataset.dtypes) == {"float32"})


@contextmanager
def field_of(path: Path) -> Iterator[Field]:
    """Open a tile (`.npy`, its scales and grid beside) or a GeoTIFF; `InputError` naming what is missing or wrong."""
    if path.suffix == ".npy":
        with opened(_grid(path)) as raster:
            stored, scales = _array(path), _array(path.with_name(f"{path.stem}_scales.npy"))
            if stored.ndim != 3 or stored.shape[:2] != raster.shape or scales.shape[:2] != raster.shape:
                raise InputError(f"{path} has shape {stored.shape}, its scales {scales.shape}, its grid {raster.shape}")

            def tile(rows: slice, columns: slice) -> Vectors:
                window = slice(rows.start, rows.stop), slice(columns.start, columns.stop)
                scale = np.asarray(scales[window], dtype=np.float32)
                scale = scale[..., None] if scale.ndim == 2 else scale
                values = np.asarray(stored[window], dtype=np.float32) * scale
                return np.ascontiguousarray(np.moveaxis(values, 2, 0))

            yield Field(raster, stored.shape[2], tile)
        return
    with opened(path) as raster:
        if not is_tessera(raster.dataset):
            raise InputError(f"{path} is not in TESSERA's form: {WIDTH} bands of float32")

        def bands(rows: slice, columns: slice) -> Vectors:
            read = raster.read(list(range(1, WIDTH + 1)), rows, columns)
            return np.asarray(np.ma.filled(read, np.nan), dtype=np.float32)

        yield Field(raster, WIDTH, bands)


def version_of(path: Path, folder: Path) -> tuple[str | None, int | None]:
    """Return the version (with its variant) and year that tags, a file beside, or the tile's place say."""
    if path.suffix == ".npy":
        year = re.search(rf"{re.escape(TILES)}[^/]*/(\d{{4}})/", path.as_posix())
        return _said(folder / _SIDECAR), int(year[1]) if year else None
    with opened(path) as raster:
        tags = raster.dataset.tags()
    parts = [tags.get("TESSERA_DATASET_VERSION"), tags.get("TESSERA_DATASET_VARIANT")]
    version = "-".join(part for part in parts if part) or _said(folder / _SIDECAR)
    year = tags.get("TESSERA_YEAR", "")
    return version, int(year) if year.isdigit() else None


def _said(path: Path) -> str | None:
    """Return the version and variant that geotessera writes beside what it fetched."""
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = [content.get("dataset_version"), content.get("dataset_variant")]
    except (ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return "-".join(str(part) for part in parts if part) or None


def _grid(tile: Path) -> Path:
    """Return the raster that says where a tile lies."""
    base = next((parent.parent for parent in tile.parents if parent.name.startswith(TILES)), tile.parent)
    grid = base / GRIDS / f"{tile.stem}.tiff"
    if not grid.is_file():
        raise InputError(f"{tile}: its grid {grid} is missing; fetch it with geotessera")
    return grid


def _array(path: Path) -> Any:
    check_regular(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as an array: {error}") from error
