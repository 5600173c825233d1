"""Made rasters that tests share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import Affine


def write_raster(
    path: Path, values: Any, west: float, north: float, cell: float, crs: str | None = "EPSG:4326", **profile: Any
) -> Path:
    """Write (rows, columns) or (bands, rows, columns), the first row the northernmost, as a GeoTIFF."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.asarray(values)
    values = values[None] if values.ndim == 2 else values
    south_up = profile.pop("south_up", False)
    scales = profile.pop("scales", None)
    transform = Affine(cell, 0, west, 0, -cell, north)
    if south_up:
        values = values[:, ::-1]
        transform = Affine(cell, 0, west, 0, cell, north - cell * values.shape[1])
    with rasterio.open(
        path, "w", driver="GTiff", count=len(values), height=values.shape[1], width=values.shape[2],
        dtype=values.dtype, crs=crs, transform=transform, **profile,
    ) as file:  # fmt: skip
        file.write(values)
        if scales is not None:
            file.scales = scales
    return path
