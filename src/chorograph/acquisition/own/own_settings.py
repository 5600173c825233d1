"""What an area of one's own is built from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import between, setting


@dataclass(frozen=True, kw_only=True)
class OwnFiles:
    """A user's files, what their columns are called, and what is said of the data in reports."""

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
    year: int | None = setting(
        None, help="the year of the indicators, where their file has no such column", within=between(1, 9999)
    )
    name: str | None = setting(None, help="the area's name; by default that of the folder")
    title: str | None = setting(None, help="the area's title in reports")
    source: str = setting("own files", help="where the data is from, for the report")
    licence: str = setting("unstated", help="the terms of the data, for the report")
    skip_bad: bool = setting(False, help="go on past tiles that cannot be read, and count them by reason")

    def paths(self) -> list[Path]:
        """Return the files and folders that were given."""
        own = [self.tiles, self.tiles_table, self.regions, self.triples, self.poi, *self.indicators]
        return [path for path in own if path is not None]
