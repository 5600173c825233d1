"""AlphaEarth Foundations' annual satellite embedding: GeoTIFFs of 64 bands of int8, 10 m a cell, by UTM zone.

Licence CC-BY-4.0 with a fixed attribution. Files of the bucket run from south to north; both ways are read.
Source: https://developers.google.com/earth-engine/guides/aef_on_gcs_readme
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.acquisition.sources.rasters import opened
from chorograph.acquisition.sources.vectors.fields import Field
from chorograph.area.folder import Source
from chorograph.ground.arrays import Vectors
from chorograph.ground.errors import InputError

WIDTH = 64
MISSING = -128
SOURCE = Source(
    "AlphaEarth Foundations Satellite Embedding",
    "CC-BY-4.0",
    "The AlphaEarth Foundations Satellite Embedding dataset is produced by Google and Google DeepMind.",
    "https://developers.google.com/earth-engine/datasets/catalog/GOOGLE_SATELLITE_EMBEDDING_V1_ANNUAL",
)
_VERSION = re.compile(r"/(v\d+)/annual/(\d{4})/")


def dequantised(stored: NDArray[np.int8]) -> Vectors:
    """Return the vectors that int8 numbers (64, …) stand for, NaN where a cell is masked: sign(x) (|x| / 127.5)²."""
    whole = np.asarray(stored, dtype=np.float32)
    values: Vectors = np.sign(whole) * (whole / 127.5) ** 2
    values[:, (np.asarray(stored) == MISSING).any(0)] = np.nan
    return values


def is_alphaearth(dataset: Any) -> bool:
    """Return whether an opened raster is in AlphaEarth's form."""
    return bool(dataset.count == WIDTH and set(dataset.dtypes) == {"int8"})


@contextmanager
def field_of(path: Path) -> Iterator[Field]:
    """Open a file of AlphaEarth's; `InputError` where it is another raster."""
    with opened(path) as raster:
        if not is_alphaearth(raster.dataset):
            raise InputError(f"{path} is not in AlphaEarth's form: {WIDTH} bands of int8")

        def read(rows: slice, columns: slice) -> Vectors:
            stored = raster.read(list(range(1, WIDTH + 1)), rows, columns)
            return dequantised(np.ma.filled(stored, MISSING))

        yield Field(raster, WIDTH, read)


def version_of(path: Path) -> tuple[str | None, int | None]:
    """Return the version and year that a file's place says, as the bucket names them (`v1/annual/2023/10N/…`)."""
    found = _VERSION.search(path.as_posix())
    if found:
        return found[1], int(found[2])
    years = [int(part) for part in path.parts if re.fullmatch(r"20\d\d", part)]
    return None, years[-1] if years else None
