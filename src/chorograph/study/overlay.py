"""Explanations as files: a tile with its cells coloured, and tile footprints as a layer for QGIS."""

from __future__ import annotations

import io
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from PIL import Image

from chorograph.area.folder import CRS
from chorograph.area.tiles import tile_bounds, tile_centre
from chorograph.ground.files import atomic_path

#: Side of a drawn tile, in pixels.
_SIDE = 256
_RAISES, _LOWERS = np.array([178, 24, 43]), np.array([33, 102, 172])
#: How much of the tile the strongest cell hides.
_OPACITY = 0.65


def overlay(tile: NDArray[np.uint8], effects: NDArray[np.float64]) -> bytes:
    """Return a PNG: the tile, and beside it the tile under its cells: red raises the prediction, blue lowers it.

    `effects` (cells down, cells across); the strongest one is the most opaque.
    """
    image = Image.fromarray(tile).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    strength = effects / max(float(np.abs(effects).max()), 1e-300)
    # Cells as the tile was parted: nearest neighbour, no smoothing that would suggest a finer answer.
    cells = np.asarray(
        Image.fromarray(strength.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.NEAREST), dtype=np.float64
    )[..., None]
    colour = np.where(cells > 0, _RAISES, _LOWERS)
    opacity = _OPACITY * np.abs(cells)
    painted = np.asarray(image) * (1 - opacity) + colour * opacity
    both = np.concatenate([np.asarray(image), np.full((_SIDE, 8, 3), 255), painted.round()], axis=1)
    buffer = io.BytesIO()
    Image.fromarray(both.astype(np.uint8)).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def with_places(table: pd.DataFrame, images: pd.DataFrame) -> gpd.GeoDataFrame:
    """Add to rows with `image_id` the tile's lon, lat, and footprint (EPSG:4326) where zoom, x and y are known."""
    joined = table.merge(images[["image_id", "lon", "lat", "zoom", "x", "y"]], on="image_id", how="left")
    tiled = joined[["zoom", "x", "y"]].notna().all(axis=1)
    footprint = np.full(len(joined), None, dtype=object)
    for zoom in joined.loc[tiled, "zoom"].unique():
        rows = tiled & (joined["zoom"] == zoom)
        x, y = joined.loc[rows, "x"].to_numpy(np.int64), joined.loc[rows, "y"].to_numpy(np.int64)
        footprint[rows.to_numpy()] = shapely.box(*tile_bounds(x, y, int(zoom)))
        lon, lat = tile_centre(x, y, int(zoom))
        joined.loc[rows, "lon"] = joined.loc[rows, "lon"].fillna(pd.Series(lon, index=joined.index[rows]))
        joined.loc[rows, "lat"] = joined.loc[rows, "lat"].fillna(pd.Series(lat, index=joined.index[rows]))
    return gpd.GeoDataFrame(joined.drop(columns=["zoom", "x", "y"]), geometry=footprint, crs=CRS)


def write_tiles(tiles: gpd.GeoDataFrame, out: Path) -> list[Path]:
    """Write tiles.parquet (a plain table) and tiles.geojson (those with a footprint); returns them."""
    table, layer = out / "tiles.parquet", out / "tiles.geojson"
    with atomic_path(table) as temporary:
        pd.DataFrame(tiles.drop(columns="geometry")).to_parquet(temporary, index=False)
    with atomic_path(layer) as temporary:
        temporary.write_text(tiles[tiles.geometry.notna()].to_json(na="null", drop_id=True), encoding="utf-8")
    return [table, layer]


def write_png(path: Path, content: bytes) -> Path:
    """Write an encoded picture atomically; returns where."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return path
