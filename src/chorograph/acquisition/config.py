"""What the `area` verbs can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting

LAYOUTS = ("urbanclip", "urbanvlp", "knowcl", "urbankg", "rsicd", "image-folder", "rs5m")


@dataclass(frozen=True)
class BuildConfig:
    """Settings of `chorograph area build`: an area from anybody's own files."""

    out: Path = setting(help="the area folder to make; must not exist yet")
    tiles: Path | None = setting(None, help="folder of satellite tiles (any format Pillow reads)")
    tiles_table: Path | None = setting(
        None, help="CSV: tile (file name, with or without suffix), and region id, zoom, x, y, lon, lat where known"
    )
    regions: Path | None = setting(None, help="polygons: GeoJSON, GeoPackage, Shapefile or GeoParquet")
    region_id: str = setting("region_id", help="the column that names a region, in every file")
    indicators: list[Path] = setting([], help="CSV or Parquet, wide (a column an indicator) or long (indicator, value)")
    triples: Path | None = setting(None, help="knowledge graph: head, relation, tail; tab-separated, no header")
    poi: Path | None = setting(None, help="counts of points of interest: CSV, wide or long (poi, count)")
    unit: list[str] = setting([], help="COLUMN=UNIT for an indicator, for example income=USD/year")
    year: int | None = setting(None, help="the year of the indicators, where their file has no such column")
    name: str | None = setting(None, help="the area's name; by default that of the folder")
    title: str | None = setting(None, help="the area's title in reports")
    source: str = setting("own files", help="where the data is from, for the report")
    licence: str = setting("unstated", help="the terms of the data, for the report")
    skip_bad: bool = setting(False, help="go on past tiles that cannot be read, and count them by reason")


@dataclass(frozen=True)
class ImportConfig:
    """Settings of `chorograph area import`: an area from a published layout."""

    layout: str = setting(help=f"one of {', '.join(LAYOUTS)}", choices=LAYOUTS)
    src: Path = setting(help="the folder that holds the published files")
    out: Path = setting(help="the area folder to make; must not exist yet")
    skip_bad: bool = setting(False, help="go on past images that cannot be read, and count them by reason")


@dataclass(frozen=True)
class PackConfig:
    """Settings of `chorograph area pack`: areas as one corpus whose images lie in WebDataset tars."""

    areas: list[Path] = setting(help="the area folders; given several times, one corpus of all")
    out: Path = setting(help="the corpus to make; must not exist yet")
    split: str | None = setting(None, help="take only images of a given split, by their roles there")
    roles: str = setting("train,val", help="the roles that are taken, separated by commas")
    shard_samples: int = setting(10_000, help="images a shard")


@dataclass(frozen=True)
class SyntheticConfig:
    """Settings of `chorograph area synthetic`: a city drawn from a seed, with a known best attainable score."""

    out: Path = setting(help="the area folder to make; must not exist yet")
    regions: int = setting(240, help="number of regions")
    tiles_per_region: int = setting(5, help="satellite tiles a region")
    street_views_per_region: int = setting(2, help="street-level views a region")
    seed: int = setting(0, help="decides everything about the city")


@dataclass(frozen=True)
class CheckConfig:
    """Settings of `chorograph area check`."""

    area: Path = setting(help="the area folder")
    images: bool = setting(True, help="also open every held image and compare its bytes with its hash")
