"""Mosaics cut into map tiles: pixels warped to the tile's own grid, the rasters of a folder laid over one another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from chorograph.acquisition.own.imagery.georeference import georeference_of
from chorograph.acquisition.own.imagery.pictures import find_pictures
from chorograph.acquisition.own.imagery.pixels import Scaling, choose_scaling, to_bytes
from chorograph.acquisition.own.imagery.tiles import Tiles
from chorograph.acquisition.own.imagery.warping import warp_onto
from chorograph.acquisition.own.regions import region_at
from chorograph.area.raster_files import open_raster
from chorograph.area.tiles import tile_centre, tile_of
from chorograph.ground.arrays import Mask, Pixels
from chorograph.ground.errors import InputError, MissingExtraError
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.acquisition.own.own_settings import ImagerySettings

#: Pixels of a tile's side.
TILE_PX = 256
#: Half the width of the Web Mercator world, in metres.
_HALF = np.pi * 6378137.0
_MOST_TILES = 2_000_000


@dataclass(frozen=True)
class Mosaic:
    """A georeferenced raster: its file, and (west, south, east, north) in degrees."""

    path: Path
    bounds: tuple[float, float, float, float]


def cut_tiles(
    folder: Path,
    asked: ImagerySettings,
    regions: gpd.GeoDataFrame | None,
    into: Path,
    ledger: Ledger,
    progress: Progress = silent,
) -> Tiles:
    """Cut the rasters below `folder` (or the file itself) into tiles of `asked.cut` (`tiles:ZOOM`), as PNGs in `into`.

    With regions only tiles whose middle lies in one are cut. Where rasters overlap, the first in the order of names is
    seen; what none covers is black, and counted. Pixels are those of GDAL's warp at the tile's own grid, bilinear.
    Raises `InputError`: no raster says where it lies, no tile is covered, or there would be two million.
    """
    _, zoom = parse_cut(str(asked.cut))
    mosaics = rasters_below(folder, asked, ledger)
    if not mosaics:
        raise InputError(f"no raster of {folder} says where it lies; give GeoTIFFs, or world files with --imagery-crs")
    frame = _wanted(mosaics, zoom, regions)
    if frame.empty:
        raise InputError(f"no tile of zoom {zoom} lies both in {folder} and in a region")
    held, partly = [], 0
    with ExitStack() as stack:
        cutter = Cutter.over(mosaics, asked, stack, ledger)
        for done, (x, y) in enumerate(zip(frame["x"], frame["y"], strict=True), start=1):
            pixels, covered = cutter.tile(x, y, zoom)
            held.append(bool(covered.any()))
            partly += bool(covered.any() and not covered.all())
            if covered.any():
                Image.fromarray(pixels).save(into / f"{zoom}_{x}_{y}.png")
            progress("cutting tiles", done, len(frame))
    ledger.drop("tile without any pixel", len(held) - sum(held))
    ledger.count("tiles covered in part", partly)
    frame = frame[held].reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{folder} has no pixel in any tile")
    names = [f"{zoom}_{x}_{y}" for x, y in zip(frame["x"], frame["y"], strict=True)]
    paths = pd.Series([into / f"{name}.png" for name in names], dtype=object)
    return Tiles(frame.assign(tile=names, path=paths, row=range(len(frame))), None)


@dataclass(frozen=True)
class Cutter:
    """Cuts map tiles out of opened rasters that are laid over one another."""

    mosaics: Sequence[Mosaic]
    rasters: Sequence[Any]
    scaling: Scaling

    @classmethod
    def over(cls, mosaics: Sequence[Mosaic], asked: ImagerySettings, stack: ExitStack, ledger: Ledger) -> Cutter:
        """Open rasters until `stack` closes them."""
        scaling = choose_scaling([mosaic.path for mosaic in mosaics], asked.scale, asked.bands, ledger.warnings)
        return cls(mosaics, [_opened(mosaic.path, asked.imagery_crs, stack) for mosaic in mosaics], scaling)

    def tile(self, x: int, y: int, zoom: int) -> tuple[Pixels, Mask]:
        """Return a tile as uint8 (256, 256, 3), and which pixels any raster covers."""
        over = _overlapping(self.mosaics, x, y, zoom)
        return _warped([self.rasters[row] for row in over], (x, y, zoom), self.scaling)


def rasters_below(folder: Path, asked: ImagerySettings, ledger: Ledger) -> list[Mosaic]:
    """Return the georeferenced rasters below a folder (or the file itself); other pictures beside them are counted."""
    files = [folder] if folder.is_file() else list(find_pictures(folder, ledger).values())
    mosaics = [mosaic for path in files if (mosaic := _mosaic(path, asked.imagery_crs)) is not None]
    if mosaics:
        ledger.count("mosaics", len(mosaics))
        ledger.drop("picture without georeference", len(files) - len(mosaics))
    return mosaics


def parse_cut(text: str) -> tuple[str, int]:
    """Return the kind (tiles, crop or mask) and zoom of `tiles:ZOOM`, `crop:ZOOM` or `mask:ZOOM`."""
    kind, _, zoom = text.partition(":")
    if kind not in ("tiles", "crop", "mask") or not zoom.isdigit() or int(zoom) > 24:
        raise InputError(f"--cut is tiles:ZOOM, crop:ZOOM or mask:ZOOM, zoom from 0 to 24, not {text!r}")
    return kind, int(zoom)


def _mosaic(path: Path, crs: str | None) -> Mosaic | None:
    """Return a georeferenced raster with its bounds in degrees, None for any other picture."""
    try:
        from rasterio.warp import transform_bounds
    except ImportError as error:
        raise MissingExtraError.of("acquire", error) from error
    found = georeference_of(path, crs)
    if found is None:
        return None
    system, transform, width, height = found
    corners = np.array([transform @ corner for corner in ((0, 0), (width, 0), (0, height), (width, height))])
    (west, south), (east, north) = corners.min(0), corners.max(0)
    bounds = transform_bounds(system, "EPSG:4326", west, south, east, north)
    return Mosaic(path, tuple(float(edge) for edge in bounds))  # type: ignore[arg-type]


def _wanted(mosaics: Sequence[Mosaic], zoom: int, regions: gpd.GeoDataFrame | None) -> pd.DataFrame:
    """Return zoom, x, y, lon, lat (and region_id) of the tiles that mosaics cover and, with regions, lie in one."""
    found: set[tuple[int, int]] = set()
    for mosaic in mosaics:
        west, south, east, north = mosaic.bounds
        if regions is not None:
            left, bottom, right, top = regions.total_bounds
            west, south, east, north = max(west, left), max(south, bottom), min(east, right), min(north, top)
            if west > east or south > north:
                continue
        (first, last), (high, low) = tile_of([west, east], [north, south], zoom)
        if (last - first + 1) * (low - high + 1) > _MOST_TILES:
            raise InputError(f"{mosaic.path} would be cut into more than {_MOST_TILES:,} tiles; give a smaller zoom")
        found |= {(int(x), int(y)) for x in range(first, last + 1) for y in range(high, low + 1)}
    frame = pd.DataFrame(sorted(found), columns=["x", "y"]).assign(zoom=zoom)
    lon, lat = tile_centre(frame["x"].to_numpy(), frame["y"].to_numpy(), zoom)
    frame = frame.assign(lon=lon, lat=lat)
    if regions is None or frame.empty:
        return frame
    frame["region_id"], _ = region_at(lon, lat, regions)
    return frame[frame["region_id"].notna()].reset_index(drop=True)


def _overlapping(mosaics: Sequence[Mosaic], x: int, y: int, zoom: int) -> list[int]:
    from chorograph.area.tiles import tile_bounds

    west, south, east, north = (float(edge) for edge in tile_bounds(x, y, zoom))
    return [
        row
        for row, mosaic in enumerate(mosaics)
        if mosaic.bounds[0] < east and mosaic.bounds[2] > west and mosaic.bounds[1] < north and mosaic.bounds[3] > south
    ]


def _opened(path: Path, crs: str | None, stack: ExitStack) -> Any:
    """Open a raster; one that names no reference system is given the one that was said."""
    from rasterio.vrt import WarpedVRT

    raster = stack.enter_context(open_raster(path))
    if raster.crs is not None and crs is None:
        return raster
    return stack.enter_context(WarpedVRT(raster, src_crs=crs, crs=crs))


def _warped(
    rasters: Sequence[Any], tile: tuple[int, int, int], scaling: Scaling
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a tile as uint8 (256, 256, 3), and which pixels any raster covers."""
    x, y, zoom = tile
    side = 2 * _HALF / 2**zoom
    west, north = x * side - _HALF, _HALF - y * side
    values, covered = None, np.zeros((TILE_PX, TILE_PX), dtype=bool)
    for raster in rasters:
        bands = list(scaling.bands or ((1, 2, 3) if raster.count >= 3 else (1,)))
        read, seen = warp_onto(raster, "EPSG:3857", (west, north - side, west + side, north), TILE_PX, TILE_PX, bands)
        values = read if values is None else np.where(covered, values, read)
        covered |= seen
        if covered.all():
            break
    if values is None:
        values = np.zeros((1, TILE_PX, TILE_PX))
    values = np.where(covered, values, np.nan)
    low, high = (0.0, 255.0) if scaling.low is None or scaling.high is None else (scaling.low, scaling.high)
    return to_bytes(np.moveaxis(values, 0, 2), low, high), covered
