"""An area as it is served: opened once, its tables in memory, its vectors and models when first asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from chorograph.area.folder import Area
from chorograph.ground.errors import AreaError, InputError, UnknownNameError
from chorograph.ground.files import slug
from chorograph.serving.catalogue.layers import Layer, area_of_run, find_runs, read_layers
from chorograph.serving.tiles.ladder import Ladder

#: Where an area keeps what can be made again.
CACHE = ".cache"


@dataclass(frozen=True)
class ServedArea:
    """An area and what is shown of it. `slug` stands in addresses; rows are those of `regions`.

    `cache` holds what can be made again, None to keep it in memory.
    """

    slug: str
    area: Area
    regions: gpd.GeoDataFrame
    layers: Mapping[str, Layer]
    cache: Path | None

    @cached_property
    def index(self) -> pd.Index[str]:
        """The region ids, for looking up rows."""
        ids: pd.Index[str] = pd.Index(self.regions["region_id"].astype(str))
        return ids

    @cached_property
    def names(self) -> NDArray[np.object_]:
        """What each region is called (n,): its name, or its id."""
        named = self.regions["name"].where(self.regions["name"].notna(), self.regions["region_id"])
        return np.asarray(named.astype(str).to_numpy(object))

    @cached_property
    def shapes(self) -> NDArray[np.object_]:
        """The polygons (EPSG:4326), None where a region has none."""
        return np.asarray(self.regions.geometry.values, dtype=object)

    @cached_property
    def bounds(self) -> tuple[float, float, float, float] | None:
        """West, south, east, north of all regions; None without a polygon."""
        west, south, east, north = (float(edge) for edge in self.regions.total_bounds)
        return (west, south, east, north) if np.isfinite([west, south, east, north]).all() else None

    @cached_property
    def tree(self) -> shapely.STRtree:
        """The polygons, for looking up by place."""
        return shapely.STRtree(self.shapes)

    @cached_property
    def ladder(self) -> Ladder:
        """The maker of vector tiles."""
        projected = np.asarray(self.regions.geometry.to_crs(3857).values, dtype=object)
        return Ladder(projected, None if self.cache is None else self.cache / "tiles")

    @cached_property
    def images(self) -> pd.DataFrame:
        """The images that are held (with a uri), with the row of their region (-1: none)."""
        images = self.area.images
        held = images[images["uri"].notna()].reset_index(drop=True)
        return held.assign(row=self.index.get_indexer(pd.Index(held["region_id"].fillna("").astype(str))))

    @cached_property
    def images_of(self) -> Mapping[int, NDArray[np.int64]]:
        """The rows of `images` by the row of their region."""
        groups: Any = self.images.groupby("row").indices
        return dict(groups)

    @cached_property
    def image_row(self) -> Mapping[str, int]:
        """The row in `images` of each image id."""
        return {image_id: row for row, image_id in enumerate(self.images["image_id"])}

    @cached_property
    def map_tiles(self) -> Mapping[tuple[int, int, int], str]:
        """The uri of each satellite image that is a map tile, by zoom, x, y."""
        images = self.images
        tiles = images[(images["view"] == "satellite") & images[["zoom", "x", "y"]].notna().all(axis=1)]
        keys = zip(tiles["zoom"].astype(int), tiles["x"].astype(int), tiles["y"].astype(int), strict=True)
        return dict(zip(keys, tiles["uri"].astype(str), strict=True))

    @cached_property
    def captions_of(self) -> Mapping[str, list[str]]:
        """The captions of each image, by rank."""
        captions = self.area.captions.sort_values(["image_id", "rank"])
        lists: Any = captions.groupby("image_id")["caption"].agg(list).to_dict()
        return dict(lists)

    @cached_property
    def descriptions(self) -> pd.DataFrame:
        """region_id, sentence, rank, evidence, origin; empty where the area has no descriptions."""
        return self.area.read("descriptions").sort_values(["region_id", "rank"]).reset_index(drop=True)

    def row(self, region_id: str) -> int:
        """Return the row of a region; `UnknownNameError` with near misses."""
        found = self.index.get_indexer(pd.Index([region_id]))[0]
        if found < 0:
            raise UnknownNameError.of("region", region_id, self.index[:2000])
        return int(found)

    def layer(self, key: str) -> Layer:
        """Return a layer by its key; `UnknownNameError` with near misses."""
        if key not in self.layers:
            raise UnknownNameError.of("indicator", key, self.layers)
        return self.layers[key]

    def summary(self) -> dict[str, Any]:
        """Return what the area holds, ready for JSON."""
        return {
            "id": self.slug,
            "title": self.area.title,
            "synthetic": self.area.synthetic,
            "regions": len(self.regions),
            "without_geometry": int(self.regions.geometry.isna().sum()),
            "bounds": self.bounds,
            "images": len(self.images),
            "indicators": [layer_summary(layer) for layer in self.layers.values()],
            "sources": [vars(source) for source in self.area.sources],
        }


def layer_summary(layer: Layer) -> dict[str, Any]:
    """Return an indicator, its measures and its runs, ready for JSON."""
    return {
        "id": layer.key,
        "title": layer.title,
        "unit": layer.unit,
        "observed": int(np.isfinite(layer.observed).sum()),
        "measures": list(layer.measures(layer.run())),
        "runs": [
            {"name": run.run, "r2": run.r2, "level": run.level, "predicted": int(np.isfinite(run.predicted).sum())}
            for run in layer.runs
        ],
    }


class Catalogue:
    """The areas that are served, by the slug of their names."""

    def __init__(self, areas: Iterable[ServedArea]) -> None:
        self.areas = {area.slug: area for area in areas}
        self.lock = threading.Lock()

    def __getitem__(self, name: str) -> ServedArea:
        """Return an area; `UnknownNameError` with near misses."""
        if name not in self.areas:
            raise UnknownNameError.of("area", name, self.areas)
        return self.areas[name]

    def __iter__(self) -> Any:
        """Go through the areas."""
        return iter(self.areas.values())

    @classmethod
    def open(cls, places: Iterable[Path], runs: Iterable[Path] = (), *, cache: bool = True) -> Catalogue:
        """Open areas (their folders, a run's, or a folder that holds `area`) with `runs` and the runs beside them.

        `cache`: keep in each area's `.cache` what takes long to make. Raises `AreaError` or `InputError` naming the
        folder that cannot be served.
        """
        given = list(runs)
        served: dict[str, ServedArea] = {}
        for place in dict.fromkeys(path.resolve() for path in map(area_folder, places)):
            about = [run for run in given if area_of_run(run).resolve() == place]
            area = open_area(place, about, cache=cache)
            name = area.slug
            number = 2
            while name in served:
                name, number = f"{area.slug}-{number}", number + 1
            served[name] = ServedArea(name, area.area, area.regions, area.layers, area.cache)
        if not served:
            raise InputError("name at least one area to serve")
        return cls(served.values())


def open_area(place: Path, runs: Iterable[Path] = (), *, cache: bool = True) -> ServedArea:
    """Open one area with `runs` and the runs beside it; `AreaError` where there is nothing to map nor to rate.

    Of a corpus, an area without regions, the captions can be rated.
    """
    area = Area.open(place)
    if area.regions.empty and not area.has("captions"):
        raise AreaError(f"{place} holds no regions to map and no captions to rate, so there is nothing to serve")
    regions = area.regions.reset_index(drop=True)
    found = dict.fromkeys([*(run.resolve() for run in runs), *find_runs(place)])
    layers = read_layers(area, regions["region_id"].astype(str).tolist(), list(found))
    # A name of the folder says nothing to a reader where it is always `area`.
    folder = place.resolve()
    name = next((name for name in (area.name, folder.name, folder.parent.name) if name != "area"), "area")
    return ServedArea(slug(name).lower(), area, regions, layers, place / CACHE if cache else None)


def area_folder(place: Path) -> Path:
    """Return the folder of an area, given it, a run about it, or a folder that holds it as `area`."""
    if (place / "area.toml").is_file():
        return place
    if (place / "area" / "area.toml").is_file():
        return place / "area"
    if (place / "predictions.parquet").is_file():
        return area_of_run(place)
    raise AreaError(f"{place} is not an area: it has no area.toml; make one with `chorograph area build`")
