"""An area as a static STAC catalogue: its tables, and a collection of each model's vectors.

Vectors follow the proposal of the STAC embedding extension (prefix `emb`, 2026): one vector a chip, GeoParquet with the
ground of each image, a link to the model and one to what it looked at.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import CRS
from chorograph.area.tiles import tile_bounds
from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path, check_regular, naming_damage, write_json
from chorograph.serving.catalogue.served import ServedArea

EXTENSION = "https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"
PARQUET = "application/vnd.apache.parquet"
#: Tables that say something without the area's images.
_TABLES = ("regions", "indicators")


def write_stac(served: ServedArea, folder: Path) -> list[Path]:
    """Write `collection.json` and the folder `stac` with what it names; returns both.

    Raises `InputError` for an area without a polygon: STAC needs an extent.
    """
    if served.bounds is None:
        raise InputError(f"{served.area.path} has no polygon, so STAC has no extent for it")
    children = [
        _write_vectors(served, path, folder / "stac")
        for path in sorted((served.area.path / "embeddings").glob("*.parquet"))
        if _of_images(path)
    ]
    assets = {name: _copy(served, name, folder / "stac") for name in _TABLES if served.area.has(name)}
    links = [{"rel": "root", "href": "./collection.json", "type": "application/json"}]
    links += [{"rel": "child", "href": f"./stac/{name}", "type": "application/json"} for name in children]
    content = _collection(served, served.slug, served.area.title, links) | {
        "description": f"{len(served.regions):,} regions with observed and predicted indicators",
        "summaries": {"indicators": sorted(served.layers)},
        "assets": assets,
    }
    write_json(folder / "collection.json", content)
    return [folder / "collection.json", *([folder / "stac"] if (folder / "stac").is_dir() else [])]


def vectors_on_the_ground(served: ServedArea, embeddings: Embeddings) -> gpd.GeoDataFrame:
    """Return image_id, region_id, embedding and the ground that each image shows (EPSG:4326).

    The square of a map tile; else the point where the image was taken; none where neither is known.
    """
    images = served.area.images.set_index("image_id").reindex(pd.Index(embeddings.image_ids))
    ground = np.full(len(images), None, dtype=object)
    placed = images[["lon", "lat"]].notna().all(axis=1).to_numpy()
    ground[placed] = shapely.points(images[["lon", "lat"]].to_numpy(dtype=np.float64, na_value=np.nan)[placed])
    tiled = images[["zoom", "x", "y"]].notna().all(axis=1).to_numpy()
    for zoom in images["zoom"][tiled].unique():
        rows = tiled & (images["zoom"] == zoom).to_numpy(dtype=bool, na_value=False)
        ground[rows] = shapely.box(
            *tile_bounds(images["x"][rows].astype(int), images["y"][rows].astype(int), int(zoom))
        )
    columns = {"image_id": embeddings.image_ids, "region_id": images["region_id"].to_numpy(object)}
    columns["embedding"] = np.array([*embeddings.vectors, None], dtype=object)[:-1]
    return gpd.GeoDataFrame(columns, geometry=gpd.GeoSeries(ground, crs=CRS))


def _write_vectors(served: ServedArea, path: Path, folder: Path) -> str:
    """Write a collection of a model's vectors, its table and what is known of its model; returns its file's name."""
    embeddings = Embeddings.read(path)
    table = vectors_on_the_ground(served, embeddings)
    with atomic_path(folder / f"{path.stem}.parquet") as temporary:
        table.to_parquet(temporary)
    model = {"name": embeddings.model, "fingerprint": embeddings.fingerprint, "made with": "chorograph embed"}
    write_json(folder / f"{path.stem}.model.json", model)
    up = {"rel": "root", "href": "../collection.json", "type": "application/json"}
    asset = {"href": f"./{path.stem}.parquet", "type": PARQUET, "roles": ["data"], "title": "vectors"}
    links = [
        up,
        {**up, "rel": "parent"},
        {**up, "rel": "emb:source-data", "title": "images of the area"},
        {"rel": "emb:model", "href": f"./{path.stem}.model.json", "type": "application/json"},
    ]
    content = _collection(served, f"{served.slug}-{path.stem}", f"Vectors of {embeddings.model}", links) | {
        "stac_extensions": [EXTENSION],
        "description": f"{len(embeddings):,} vectors of images of {served.area.title}",
        "emb:type": "chip",
        "emb:dimensions": embeddings.dim,
        "data_type": "float32",
        "emb:chip_layout": _layout(served, embeddings),
        "emb:fit_for_use": ["retrieval", "similarity_search", "regression"],
        "assets": {"vectors": asset},
    }
    name = f"{path.stem}.json"
    write_json(folder / name, content)
    return name


def _layout(served: ServedArea, embeddings: Embeddings) -> dict[str, Any]:
    """Return how images part the ground: the grid of web maps, where all are its tiles of one zoom."""
    images = served.area.images.set_index("image_id").reindex(pd.Index(embeddings.image_ids))
    zooms = images["zoom"].where(images["x"].notna()).unique()
    if len(zooms) == 1 and pd.notna(zooms[0]):
        return {"layout_type": "named_grid", "grid_id": f"WebMercatorQuad/{int(zooms[0])}"}
    return {"layout_type": "variable_grid"}


def _collection(served: ServedArea, name: str, title: str, links: list[dict[str, str]]) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.1.0",
        "id": name,
        "title": title,
        "license": "other",
        "providers": [{"name": source.name, "description": source.licence} for source in served.area.sources],
        "extent": {"spatial": {"bbox": [list(served.bounds or ())]}, "temporal": {"interval": [[None, None]]}},
        "links": links,
    }


def _copy(served: ServedArea, name: str, folder: Path) -> dict[str, Any]:
    with atomic_path(folder / f"{name}.parquet") as temporary:
        shutil.copyfile(served.area.table_path(name), temporary)
    return {"href": f"./stac/{name}.parquet", "type": PARQUET, "roles": ["data"], "title": name}


def _of_images(path: Path) -> bool:
    import pyarrow.parquet as pq

    check_regular(path)
    with naming_damage(path, "vectors", "run `chorograph embed` again"):
        return "image_id" in pq.read_schema(path).names
