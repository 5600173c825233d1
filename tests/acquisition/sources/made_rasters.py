"""Rasters that are drawn for tests: colours that go over the ground, as cloud-optimised GeoTIFFs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from made_sources import COLUMNS, NORTH, ROWS, WEST, ZOOM, tiles_box
from pyproj import Transformer
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.transform import from_origin
from rasterio.warp import transform_bounds
from shapely.geometry import box, mapping

#: Metres around the regions that a raster goes further.
AROUND = 400.0


def bounds_of_regions(crs: str) -> tuple[float, float, float, float]:
    """Return the rectangle around both regions in a reference system."""
    whole = tiles_box(WEST, NORTH, COLUMNS, ROWS)
    return Transformer.from_crs("EPSG:4326", crs, always_xy=True).transform_bounds(*whole.bounds)


def write_cog(
    path: Path, crs: str, bounds: tuple[float, float, float, float], *, pixel: float = 5.0, colour: int | None = None,
    deep: bool = False, nodata: float | None = None, hole: bool = False, bands: int = 3,
) -> Path:  # fmt: skip
    """Write a COG of `bounds`: of one colour, or of colours that go over the ground; with a hole of no data."""
    west, south, east, north = bounds
    width, height = int((east - west) / pixel), int((north - south) / pixel)
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    shades = np.stack([(x * 2 + 40) % 256, (y * 2 + 80) % 256, (x + y) % 256][:bands]).astype(float)
    if colour is not None:
        shades = np.full((bands, height, width), float(colour))
    if deep:
        shades = shades * 20 + 1000
    if hole:
        shades[:, : height // 2, : width // 2] = 0 if nodata is None else nodata
    kind = "uint16" if deep else "uint8"
    profile = {
        "driver": "GTiff", "width": width, "height": height, "count": bands, "dtype": kind, "crs": crs,
        "transform": from_origin(west, north, pixel, pixel), "nodata": nodata,
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    with MemoryFile() as memory:
        with memory.open(**profile) as raster:
            raster.write(shades.astype(kind))
        with memory.open() as raster:
            copy(raster, path, driver="COG", compress="DEFLATE", blocksize=256, overviews="AUTO")
    return path


def write_catalogue(folder: Path, scenes: dict[str, dict[str, Any]]) -> Path:
    """Write a static catalogue with a collection of scenes: name -> assets (name -> file), cloud, date."""
    collection = folder / "sentinel" / "collection.json"
    collection.parent.mkdir(parents=True, exist_ok=True)
    root = {"rel": "root", "href": "../catalog.json"}
    links = [{"rel": "item", "href": f"./{name}/{name}.json"} for name in scenes]
    for name, said in scenes.items():
        place = folder / "sentinel" / name
        place.mkdir(exist_ok=True)
        with rasterio.open(place / next(iter(said["assets"].values()))) as raster:
            edges = transform_bounds(raster.crs, "EPSG:4326", *raster.bounds)
        item = {
            "type": "Feature", "stac_version": "1.0.0", "id": name, "collection": "sentinel", "bbox": list(edges),
            "geometry": mapping(box(*edges)), "links": [{"rel": "collection", "href": "../collection.json"}],
            "properties": {"datetime": f"{said['date']}T10:00:00Z", "eo:cloud_cover": said["cloud"]},
            "assets": {asset: {"href": f"./{file}"} for asset, file in said["assets"].items()},
        }  # fmt: skip
        (place / f"{name}.json").write_text(json.dumps(item))
    extent = {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [["2024-01-01T00:00:00Z", None]]}}
    about = {"type": "Collection", "stac_version": "1.0.0", "id": "sentinel", "license": "CC-BY-4.0", "extent": extent}
    collection.write_text(json.dumps({**about, "description": "Made", "links": [root, *links]}))
    catalogue = {"type": "Catalog", "stac_version": "1.0.0", "id": "made", "title": "Made", "description": "Made"}
    child = {"rel": "child", "href": "./sentinel/collection.json"}
    (folder / "catalog.json").write_text(json.dumps({**catalogue, "links": [child]}))
    return folder / "catalog.json"


def grid_of_tile(zoom: int, x: int, y: int) -> tuple[float, float, float, float]:
    """Return the edges of a tile in Web Mercator by morecantile, which we did not write."""
    import morecantile

    found = morecantile.tms.get("WebMercatorQuad").xy_bounds(morecantile.Tile(x, y, zoom))
    return found.left, found.bottom, found.right, found.top


ZOOM_OF_TESTS = ZOOM
