"""The files that `localize` leaves: a map for a GIS, a picture for the eye, and polygons."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import shapely.geometry
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from chorograph.ground.arrays import HeatMap, Pixels
from chorograph.ground.files import atomic_path, write_json
from chorograph.searching.large_image import Position
from chorograph.searching.localize import Peak


def write_heatmap(folder: Path, probability: HeatMap, position: Position | None, tags: dict[str, Any]) -> Path:
    """Write the map as `heatmap.tif` (float32, where the image has a position), else as `heatmap.png` (0 to 255)."""
    if position is None:
        path = folder / "heatmap.png"
        with atomic_path(path) as temporary:
            Image.fromarray(np.rint(255 * probability).astype(np.uint8)).save(temporary)
        return path
    import rasterio

    path = folder / "heatmap.tif"
    height, width = probability.shape
    profile = {
        "driver": "GTiff",
        "height": height,
        "width": width,
        "count": 1,
        "dtype": "float32",
        "crs": rasterio.CRS.from_wkt(position.crs),
        "transform": rasterio.Affine(*position.transform),
        "tiled": True,
        "compress": "deflate",
        "predictor": 3,
        "BIGTIFF": "IF_SAFER",
    }
    with atomic_path(path) as temporary, rasterio.open(temporary, "w", **profile) as dataset:
        dataset.write(probability.astype(np.float32, copy=False), 1)
        dataset.set_band_description(1, "probability")
        dataset.update_tags(**tags)
    return path


def write_overlay(folder: Path, picture: Pixels, probability: HeatMap, peaks: list[Peak]) -> Path:
    """Write `overlay.png`, see `draw_overlay`."""
    path = folder / "overlay.png"
    with atomic_path(path) as temporary:
        draw_overlay(picture, probability, peaks).save(temporary)
    return path


def draw_overlay(picture: Pixels, probability: HeatMap, peaks: Sequence[Peak]) -> Image.Image:
    """Return 0.7 of the picture and 0.3 of the map's colours, with the outlines of the peaks in white.

    `picture` may be a reduced copy of the image; the map and the outlines follow its size.
    """
    height, width = picture.shape[:2]
    rows = ((np.arange(height) + 0.5) * probability.shape[0] / height).astype(np.int64)
    columns = ((np.arange(width) + 0.5) * probability.shape[1] / width).astype(np.int64)
    colours = jet(probability[np.ix_(rows, columns)])
    image = Image.fromarray(np.rint(0.7 * picture + 0.3 * colours).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    scale = np.array([width / probability.shape[1], height / probability.shape[0]])
    for peak in peaks:
        for ring in shapely.get_rings(peak.outline):
            draw.line([tuple(point) for point in shapely.get_coordinates(ring) * scale], fill="white", width=2)
    return image


def write_peaks(folder: Path, peaks: list[Peak], position: Position | None) -> Path:
    """Write `peaks.geojson`: in lon and lat where the image has a position, else in pixels, and it says which."""

    def place(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return points if position is None else position.lonlat(points)

    features = [
        {
            "type": "Feature",
            "geometry": shapely.geometry.mapping(shapely.orient_polygons(shapely.transform(peak.outline, place))),
            "properties": {
                "rank": rank,
                "probability": round(peak.probability, 4),
                "similarity": round(peak.similarity, 6),
                "centre": place(np.array([peak.centre])).round(7)[0].tolist(),
                "centre_px": [round(value, 1) for value in peak.centre],
                "area_px": peak.area_px,
            },
        }
        for rank, peak in enumerate(peaks, start=1)
    ]
    path = folder / "peaks.geojson"
    coordinates = "pixels from the upper left corner, y downwards" if position is None else "lon, lat (WGS84)"
    write_json(path, {"type": "FeatureCollection", "coordinates": coordinates, "features": features})
    return path


def jet(share: HeatMap) -> NDArray[np.float64]:
    """Return the colours (..., 3) of 0..255 for shares of 0..1, from dark blue over green to dark red."""
    return np.asarray(255 * np.clip(1.5 - np.abs(4 * share[..., None] - [3.0, 2.0, 1.0]), 0, 1))
