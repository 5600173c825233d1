"""What can be asked of a user's own files: settings by kind of file, and of all together.

Light: the table of verbs imports it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import Range, above, at_least, between, setting

#: The deepest zoom of a tile.
MOST_ZOOM = 30


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Settings that every table of the user's shares."""

    encoding: str | None = setting(
        None, help="the encoding of tables of text, such as gb18030 or cp1252; by default as they look"
    )
    decimal: str | None = setting(
        None, help="the decimal sign of tables of text; by default as their numbers look", choices=(".", ",")
    )
    missing: list[str] = setting([], help="a cell that means missing in every table, such as -9999 or suppressed")
    sheet: str | None = setting(None, help="the sheet of an Excel workbook that has several")


@dataclass(frozen=True, kw_only=True)
class RegionSettings:
    """How polygons are to be read."""

    region_id: str = setting("region_id", help="the column that names a region, in every file")
    layer: str | None = setting(None, help="the layer of a file of regions that has several")
    crs: str | None = setting(
        None, help="the reference system of polygons whose file has none or a wrong one; also gcj02, bd09, bd09mc"
    )
    make_valid: bool = setting(False, help="repair polygons that cross themselves, and count them")
    name_column: str | None = setting(
        None, help="the column of the regions' names; by default `name` where there is one"
    )
    group_column: str | None = setting(
        None, help="the column of the regions' groups (city, county); by default `group` where there is one"
    )


@dataclass(frozen=True, kw_only=True)
class ImagerySettings:
    """How a folder of pictures is to be read."""

    tiles_table: Path | None = setting(
        None, help="a table of tiles: tile (file name, with or without suffix), region id, zoom, x, y, lon, lat"
    )
    rows_from: str = setting(
        "north",
        help="where rows y of tiles are counted from: north (XYZ), south (TMS), or baidu (Baidu's own tiles)",
        choices=("north", "south", "baidu"),
    )
    zoom: int | None = setting(
        None,
        help="the zoom of the map tiles of a source; or of tiles whose table or names say x and y alone",
        within=between(0, MOST_ZOOM),
    )
    cut: str | None = setting(
        None,
        help="tiles:ZOOM, to cut georeferenced rasters into map tiles (of the regions, where there are any); crop:ZOOM "
        "or mask:ZOOM, to make a picture of each region out of rasters or tiles: its rectangle, or black outside of it",
    )
    imagery_crs: str | None = setting(None, help="the reference system of pictures with a world file")
    scale: str | None = setting(
        None, help="LOW:HIGH, the numbers that become black and white in pictures deeper than 8 bits; or auto"
    )
    bands: str | None = setting(None, help="the bands of red, green and blue in pictures of many, such as 4,3,2")
    repeated: str | None = setting(
        None,
        help="a picture that stands for many tiles (a provider's 'no imagery'): keep, or drop (not held); by "
        "default those of files are kept, those of a source dropped unless they are of one colour",
        choices=("keep", "drop"),
    )
    skip_bad: bool = setting(False, help="go on past pictures that cannot be read, and count them by reason")


@dataclass(frozen=True, kw_only=True)
class IndicatorSettings:
    """How tables of indicators are to be read."""

    unit: list[str] = setting([], help="COLUMN=UNIT for an indicator, for example income=USD/year")
    kind: list[str] = setting(
        [], help="COLUMN=count, mean, share or density: how a table with places of its own is brought to regions"
    )
    year: int | None = setting(
        None, help="the year of the indicators, where their file has no such column", within=between(1, 9999)
    )


@dataclass(frozen=True, kw_only=True)
class RasterSettings:
    """What is asked of a raster of numbers: nothing about the values of its cells is guessed."""

    statistic: str = setting(
        help="sum (of amounts a cell, such as people), density (that sum a km2), mean (of levels, such as degrees), "
        "or share (of classes, such as land cover)",
        choices=("sum", "density", "mean", "share"),
    )
    name: str | None = setting(None, help="the indicator's name; with share, --classes names them")
    unit: str | None = setting(None, help="the unit of a cell's value, for example people")
    classes: list[str] = setting(
        [], help="with share, NAME=VALUE+VALUE: the cell values of a class, for example built_up=50"
    )
    year: int | None = setting(None, help="the year that the raster is of", within=between(1, 9999))
    band: int = setting(1, help="the band that is read, from 1", within=at_least(1))
    nodata: float | None = setting(
        None, help="a cell's value that means no data, beside what the file says", within=Range()
    )
    raster_crs: str | None = setting(None, help="the reference system of a raster that has none or a wrong one")
    resampling: str = setting(
        "none",
        help="none: regions are brought to the raster, and its own cells count by the share that lies in a region; "
        "nearest, bilinear, cubic or average: the raster is first warped to --resolution-m (mean and share alone)",
        choices=("none", "nearest", "bilinear", "cubic", "average"),
    )
    resolution_m: float | None = setting(None, help="the cell of a warped raster, in metres", within=above(0))
    least_covered: float = setting(
        0.01, help="a region of which less than this share has data gets no value", within=between(0, 1)
    )


@dataclass(frozen=True, kw_only=True)
class PointSettings:
    """How points of interest are to be read."""

    category: str | None = setting(
        None, help="the column of the points' categories; by default `category` and the like"
    )
    points_crs: str = setting(
        "wgs84", help="the degrees of points: wgs84, or China's gcj02 or bd09", choices=("wgs84", "gcj02", "bd09")
    )


@dataclass(frozen=True, kw_only=True)
class MapSettings:
    """What is taken of a map: OpenStreetMap (.osm.pbf) or Overture (GeoParquet)."""

    take: list[str] = setting(
        ["places", "roads", "buildings", "context"],
        help="of a map: places (counts by category), roads and buildings (measures, as indicators), context (main "
        "roads, water and names, which are drawn under regions)",
        choices=("places", "roads", "buildings", "context"),
    )
    keys: list[str] = setting(
        [], help="the tags that make a place of OpenStreetMap; by default amenity, shop, leisure, tourism and the like"
    )
    year: int | None = setting(
        None, help="the year of a map's measures, where the map does not say it", within=between(1, 9999)
    )


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where data is from, and under which terms."""

    source: str = setting("own files", help="where the data is from, for the report")
    licence: str = setting("unstated", help="the terms of the data, for the report")


@dataclass(frozen=True, kw_only=True)
class Files:
    """A user's files of every kind."""

    tiles: Path | None = setting(None, help="folder of satellite tiles (any format Pillow reads, nested or not)")
    regions: Path | None = setting(None, help="polygons: GeoJSON, GeoPackage, Shapefile, GeoParquet…, zipped or not")
    indicators: list[Path] = setting(
        [], help="CSV, Excel, Parquet or features: wide (a column an indicator) or long (indicator, value)"
    )
    triples: Path | None = setting(None, help="knowledge graph: head, relation, tail; tab-separated, no header")
    poi: Path | None = setting(
        None, help="points of interest: counts, wide or long (poi, count), or points with a category"
    )
    id_of: list[str] = setting(
        [], help="FILE=COLUMN, where a file names regions by another column, for example incomes.xlsx=GEOID"
    )
    name: str | None = setting(None, help="the area's name; by default that of the folder")
    title: str | None = setting(None, help="the area's title in reports")


@dataclass(frozen=True, kw_only=True)
class OwnFiles(Provenance, Reading, PointSettings, IndicatorSettings, ImagerySettings, RegionSettings, Files):
    """A user's files, what their columns are called, and what is said of the data in reports."""

    def paths(self) -> list[Path]:
        """Return the files and folders that were given."""
        own = [self.tiles, self.tiles_table, self.regions, self.triples, self.poi, *self.indicators]
        return [path for path in own if path is not None]

    def id_column(self, path: Path) -> str:
        """Return the column that names regions in a file."""
        said = dict(word.rpartition("=")[::2] for word in self.id_of)
        return said.get(str(path), said.get(path.name, self.region_id))


@dataclass(frozen=True, kw_only=True)
class StreetSettings(ImagerySettings):
    """How a folder of street views is to be read."""

    within_m: float = setting(
        0.0, help="take a view in no region for the nearest one within so many metres", within=at_least(0)
    )
    most: int | None = setting(None, help="take at most so many views of a region, spread evenly", within=at_least(1))


@dataclass(frozen=True, kw_only=True)
class CaptionSettings:
    """How captions are to be read."""

    origin: str = setting("human", help="who wrote the captions: human, or model:NAME")
    view: str = setting(
        "satellite", help="the view of pictures that are added with their captions", choices=("satellite", "street")
    )
    skip_bad: bool = setting(False, help="go on past captions without an image and pictures that cannot be read")


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """What vectors made elsewhere are called."""

    name: str = setting(
        help="the name of the vectors: for predict, --embeddings NAME (images) or --modalities region:NAME (regions)"
    )
    version: str | None = setting(None, help="the version of AlphaEarth or TESSERA, where the files do not say it")
    year: int | None = setting(
        None, help="the year of AlphaEarth or TESSERA, where the files do not say it", within=between(1, 9999)
    )


@dataclass(frozen=True, kw_only=True)
class NewArea(Provenance, RegionSettings):
    """What an area begins with."""

    regions: Path | None = setting(None, help="polygons: GeoJSON, GeoPackage, Shapefile, GeoParquet…, zipped or not")
    boundary: Path | None = setting(None, help="one outline, inside of which --grid draws the regions")
    grid: str | None = setting(
        None, help="the regions inside of --boundary: square:METRES, tiles:ZOOM or h3:RESOLUTION"
    )
    name: str | None = setting(None, help="the area's name; by default that of the folder")
    title: str | None = setting(None, help="the area's title in reports")
    encoding: str | None = setting(None, help="the encoding of the polygons' attributes")
