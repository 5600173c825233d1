"""Acquiring at scale: polygons over a large raster beside bare exactextract, and `area info` of a very large area.

    python benchmarks/acquire_scale.py zonal --side 20000 --polygons 10000
    python benchmarks/acquire_scale.py info --regions 1000000 --images 10000000

Each part runs in a process of its own; times are CPU seconds, memory is the peak of the process. `zonal` writes the
ratio of `chorograph.acquisition.sources.zonal.zonal` (regions in degrees, brought to the raster, nodata apart) to
exactextract on polygons that are in the raster's system already. Results: benchmarks/results/acquire_scale-PART.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely

_BARE = """
import geopandas, resource, time, sys
from exactextract import exact_extract
polygons = geopandas.read_parquet(sys.argv[2])
started = time.process_time()
found = exact_extract(sys.argv[1], polygons, ["sum"], output="pandas", strategy="raster-sequential")
print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, found["sum"].sum())
"""
_OURS = """
import geopandas, resource, time, sys
from pathlib import Path
from chorograph.acquisition.sources.rasters import opened
from chorograph.acquisition.sources.zonal import zonal
regions = geopandas.read_parquet(sys.argv[3]).geometry.to_numpy()
started = time.process_time()
with opened(Path(sys.argv[1])) as raster:
    found = zonal(raster, regions)
print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, found.amount.sum())
"""
_INFO = """
import resource, time, sys
from pathlib import Path
from chorograph.verbs.table import get_verb
from chorograph.ground.settings import configure
from chorograph.ground.stage import silent
started = time.process_time()
verb = get_verb("area info")
found = verb(configure(verb.settings, {"area": sys.argv[1]}), silent).manifest
print(time.process_time() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
      found["counts"]["images held"])
"""


def run(code: str, *words: Path) -> list[float]:
    """Return the three numbers that a program printed: CPU seconds, GiB, and its result."""
    done = subprocess.run([sys.executable, "-c", code, *map(str, words)], capture_output=True, text=True, check=True)
    return [float(word) for word in done.stdout.split()[-3:]]


def zonal(folder: Path, side: int, polygons: int) -> dict[str, Any]:
    raster, placed, regions = folder / "raster.tif", folder / "placed.parquet", folder / "regions.parquet"
    total = write_raster(raster, side)
    edges = int(polygons**0.5)
    points = np.random.default_rng(0).uniform(0, 1, (edges, edges, 2)) + np.mgrid[:edges, :edges].transpose(1, 2, 0)
    points = points.reshape(-1, 2) / edges * side * 10 + (300_000, 5_000_000)
    frame = shapely.box(300_000, 5_000_000, 300_000 + side * 10, 5_000_000 + side * 10)
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.MultiPoint(points), extend_to=frame))
    flat = gpd.GeoDataFrame(geometry=shapely.intersection(cells, frame), crs="EPSG:32633")
    flat.to_parquet(placed)
    flat.to_crs(4326).to_parquet(regions)
    bare, ours = run(_BARE, raster, placed), run(_OURS, raster, placed, regions)
    return {
        "side": side,
        "polygons": len(flat),
        "bare": {"cpu_s": bare[0], "peak_gib": bare[1], "total": bare[2] / total},
        "ours": {"cpu_s": ours[0], "peak_gib": ours[1], "total": ours[2] / total},
        "ratio": ours[0] / bare[0],
    }


def write_raster(path: Path, side: int) -> float:
    """Write a raster of whole numbers as float32, and return its total."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    rng, total, step = np.random.default_rng(1), 0.0, 2048
    transform = from_origin(300_000, 5_000_000 + side * 10, 10, 10)
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="float32", crs="EPSG:32633",
        transform=transform, tiled=True, blockxsize=512, blockysize=512, nodata=-1,
    ) as file:  # fmt: skip
        for top in range(0, side, step):
            values = rng.integers(0, 100, (min(step, side - top), side)).astype(np.float32)
            total += float(values.sum(dtype=np.float64))
            file.write(values, 1, window=Window(0, top, side, len(values)))
    return total


def info(folder: Path, regions: int, images: int) -> dict[str, Any]:
    write_area(folder, regions, images)
    seconds, gib, held = run(_INFO, folder)
    size = sum(path.stat().st_size for path in folder.glob("*.parquet")) / 2**30
    found = {"regions": regions, "images": images, "cpu_s": seconds, "peak_gib": gib, "held": held, "tables_gib": size}
    if held != images - images // 10:
        raise SystemExit(f"area info says {held} images held of {images}")
    return found


def write_area(folder: Path, regions: int, images: int) -> None:
    """Write an area of squares with so many images (a tenth of them not held) and two indicators."""
    (folder / "area.toml").write_text('name = "large"\n')
    names = pa.array([f"r{k}" for k in range(regions)])
    west, south = np.arange(regions) % 1000 * 0.01, np.arange(regions) // 1000 * 0.01
    squares = shapely.box(west, south, west + 0.01, south + 0.01)
    gpd.GeoDataFrame({"region_id": names}, geometry=squares, crs=4326).to_parquet(folder / "regions.parquet")
    values = pa.table(
        {
            "region_id": pa.concat_arrays([names, names]),
            "indicator": ["people"] * regions + ["income"] * regions,
            "value": np.random.default_rng(0).random(2 * regions),
            "unit": ["people"] * regions + ["USD"] * regions,
            "year": [2020] * (2 * regions),
            "source": ["made"] * (2 * regions),
        }
    )
    pq.write_table(values, folder / "indicators.parquet", compression="zstd")
    writer = None
    for start in range(0, images, 1_000_000):
        ids = np.arange(start, min(start + 1_000_000, images))
        table = pa.table(
            {
                "image_id": [f"i{k}" for k in ids],
                "region_id": names.take(pa.array(ids % regions)),
                "view": ["satellite"] * len(ids),
                "uri": [None if k % 10 == 0 else f"images/{k}.jpg" for k in ids],
                "source": ["made"] * len(ids),
                "licence": ["none"] * len(ids),
            }
        )
        writer = writer or pq.ParquetWriter(folder / "images.parquet", table.schema, compression="zstd")
        writer.write_table(table)
    if writer is not None:
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["zonal", "info"])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--polygons", type=int, default=10_000)
    parser.add_argument("--regions", type=int, default=1_000_000)
    parser.add_argument("--images", type=int, default=10_000_000)
    asked = parser.parse_args()
    with TemporaryDirectory() as place:
        folder = Path(place)
        if asked.part == "zonal":
            found = zonal(folder, asked.side, asked.polygons)
        else:
            found = info(folder, asked.regions, asked.images)
    print(json.dumps(found, indent=2))
    results = Path(__file__).parent / "results"
    (results / f"acquire_scale-{asked.part}.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
