"""Reading a raster at the pixels of another grid, by GDAL's warp at that very grid."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def warp_onto(
    raster: Any, crs: str, edges: tuple[float, float, float, float], width: int, height: int, bands: Sequence[int],
    resampling: str = "bilinear",
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:  # fmt: skip
    """Return bands (from 1) of an open raster as (bands, height, width), and which pixels it covers (height, width).

    `edges` are (west, south, east, north) in `crs`. Equal to rasterio's `WarpedVRT` built at that grid.
    """
    from rasterio.enums import Resampling
    from rasterio.transform import from_bounds
    from rasterio.vrt import WarpedVRT

    # What says neither its opacity nor which number is no data covers its whole extent: an alpha band tells that.
    masked = any("per_dataset" in {flag.name for flag in flags} for flags in raster.mask_flag_enums)
    bare = raster.nodata is None and raster.colorinterp[-1].name != "alpha" and not masked
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with WarpedVRT(
            raster, crs=crs, transform=from_bounds(*edges, width, height), width=width, height=height, add_alpha=bare,
            resampling=Resampling[resampling],
        ) as warped:  # fmt: skip
            values = warped.read(list(bands)).astype(np.float64)
            return values, warped.dataset_mask() > 0
