"""Which tiles there are, and where each lies: by a table, by names z/x/y, or by the files' own georeference."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from chorograph.acquisition.coordinates.baidu import TILE_PX, metres_to_wgs84
from chorograph.acquisition.own.imagery.georeference import places_of_pictures
from chorograph.acquisition.own.imagery.pictures import by_stem, find_pictures, folded, stem_of
from chorograph.acquisition.own.own_settings import MOST_ZOOM, ImagerySettings, Reading
from chorograph.acquisition.own.places import degrees_of
from chorograph.acquisition.own.reading.ids import match_regions
from chorograph.acquisition.own.reading.numbers import numbers, whole_numbers
from chorograph.acquisition.own.reading.tables import OwnTable, read_table
from chorograph.acquisition.own.regions import region_at
from chorograph.acquisition.own.street import near_regions
from chorograph.area.middle import wrapped
from chorograph.area.tiles import tile_centre
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger

if TYPE_CHECKING:
    import geopandas as gpd

#: How columns of a table of tiles are called, the plainest first.
_TILE = ("tile", "image_id", "filename", "file_name", "file", "image", "img", "filepath", "path", "name", "tile_id")
_TILE_NUMBERS: dict[str, tuple[str, ...]] = {
    "zoom": ("zoom", "z", "zoom_level", "level"),
    "x": ("x", "tile_x", "col"),
    "y": ("y", "tile_y", "row"),
}
_COLUMNS: dict[str, tuple[str, ...]] = {
    "captured": ("captured", "captured_at", "date", "acquired"),
    "licence": ("licence", "license"),
}
#: Names that say a tile: z_x_y or z/x/y at the end of a path, each number whole.
_TILE_NAME = re.compile(r"(?:^|.*[^0-9A-Za-z])(?P<zoom>\d{1,2})[_/-](?P<x>\d+)[_/-](?P<y>\d+)$")
#: Names that say x_y or x/y, of a zoom that is said.
_TILE_NAME_ALONE = re.compile(r"(?:^|.*[^0-9A-Za-z])(?P<x>\d+)[_/-](?P<y>\d+)$")


@dataclass(frozen=True)
class Tiles:
    """Tiles and where they lie.

    `frame`: tile, path (None: listed, but no file), row, region_id?, zoom?, x?, y?, lon?, lat?, captured?, licence?;
    `where(row)` names the place a tile is listed at.
    """

    frame: pd.DataFrame
    table: OwnTable | None

    def where(self, row: int) -> str:
        """Return the file and line that list a tile, empty where no table does."""
        return f"{self.table.path}, {self.table.unit} {self.table.lines[row]}" if self.table else ""


def list_tiles(
    folder: Path,
    asked: ImagerySettings,
    reading: Reading,
    id_column: str,
    regions: gpd.GeoDataFrame | None,
    ledger: Ledger,
    *,
    within_m: float | None = None,
) -> Tiles:
    """Return every tile of the table, or of the folder where there is no table, with its region where it has one.

    With `within_m` tiles are street views: one in no region belongs to the nearest within so many metres.

    Raises `InputError` naming file and line: a tile listed twice, a number that is none, an unknown region, no way
    to tell the region, and tiles that all lie outside of every region.
    """
    pictures = find_pictures(folder, ledger)
    notes: list[str] = []
    table = read_table(asked.tiles_table, reading) if asked.tiles_table else None
    if table is None:
        frame = _by_names(folder, pictures, asked)
    else:
        notes += table.notes
        frame = _by_table(folder, table, pictures, asked, id_column, regions, notes, ledger)
    if frame.empty:
        raise InputError(f"{asked.tiles_table or folder} names no tiles")
    frame = _placed(frame, asked)
    if "lon" not in frame and table is None:
        frame = places_of_pictures(frame, asked.imagery_crs, notes)
    if regions is not None:
        label = str(asked.tiles_table or folder)
        frame["region_id"] = _regions_of(frame, regions, label, asked, ledger, notes, within_m)
    ledger.warnings.extend(note for note in notes if note not in ledger.warnings)
    return Tiles(frame.reset_index(drop=True), table)


def _by_names(folder: Path, pictures: dict[str, Path], asked: ImagerySettings) -> pd.DataFrame:
    stems = by_stem(pictures)
    frame = pd.DataFrame({"tile": list(stems), "path": list(stems.values()), "row": range(len(stems))}, dtype=object)
    named = frame["tile"].str.extract(_TILE_NAME)
    if asked.zoom is not None and named.isna().any(axis=None):
        named = frame["tile"].str.extract(_TILE_NAME_ALONE).assign(zoom=asked.zoom)
    if frame.empty or named.isna().any(axis=None):
        return frame
    zoom, x, y = (pd.to_numeric(named[column]) for column in ("zoom", "x", "y"))
    if (zoom > MOST_ZOOM).any() or (np.maximum(x, y) >= 2.0**zoom).any():
        return frame  # three numbers, but no tile
    return frame.assign(zoom=zoom, x=x, y=y)


def _by_table(
    folder: Path,
    table: OwnTable,
    pictures: dict[str, Path],
    asked: ImagerySettings,
    id_column: str,
    regions: gpd.GeoDataFrame | None,
    notes: list[str],
    ledger: Ledger,
) -> pd.DataFrame:
    column = table.need([name for name in _TILE if name != id_column])
    tiles = table.filled(column)
    if (twice := tiles.duplicated()).any():
        raise InputError(f"{table.path}: tile {tiles[twice].iloc[0]!r} appears twice ({table.line(twice)})")
    frame = pd.DataFrame({"tile": tiles, "path": _files(folder, tiles, pictures), "row": range(len(tiles))})
    if (same := frame["path"].duplicated() & frame["path"].isin(list(pictures.values()))).any():
        raise InputError(
            f"{table.path}: {tiles[same].iloc[0]!r} ({table.line(same)}) is the same file as a tile listed before"
        )
    ledger.drop("picture that the table of tiles does not list", len(set(pictures.values()) - set(frame["path"])))
    named = table.find([id_column])
    if named is not None and regions is not None and named != column:
        frame["region_id"] = match_regions(table, named, regions["region_id"], notes, may_be_empty=True)
    for target, names in _TILE_NUMBERS.items():
        if (source := table.find(names)) is not None:
            frame[target] = numbers(table, source, notes)
    if "zoom" not in frame and asked.zoom is not None:
        frame["zoom"] = float(asked.zoom)
    if (degrees := degrees_of(table, notes)) is not None:
        frame["lon"], frame["lat"] = degrees
    elif "zoom" not in frame and {"x", "y"} <= set(frame.columns) and _are_degrees(frame):
        notes.append(f"{table.path.name}: x and y were taken as longitude and latitude")
        frame = frame.rename(columns={"x": "lon", "y": "lat"})
    if {"zoom", "x", "y"} <= set(frame.columns):
        if "lon" in frame and asked.rows_from != "baidu" and not _say_the_same(frame, asked):
            notes.append(
                f"{table.path.name}: zoom, x and y do not name the tiles at longitude and latitude, and were left out "
                "(for rows counted from the south, give --rows-from south)"
            )
            frame = frame.drop(columns=["zoom", "x", "y"])
        else:
            _check_tile_numbers(table, frame)
    frame = frame.drop(columns=[c for c in ("x", "y", "zoom") if c in frame and not {"zoom", "x", "y"} <= set(frame)])
    for target, names in _COLUMNS.items():
        if (source := table.find(names)) is not None:
            frame[target] = table.text(source)
    return frame


def _files(folder: Path, tiles: pd.Series[Any], pictures: dict[str, Path]) -> list[Path]:
    """Return the file of each tile named in a table; one that is not in the folder keeps the path it would have."""
    stems: dict[str, list[Path]] = {}
    names: dict[str, list[Path]] = {}
    alike: dict[str, list[Path]] = {}
    for name, path in pictures.items():
        alike.setdefault(folded(name), []).append(path)
        stems.setdefault(stem_of(name), []).append(path)
        names.setdefault(Path(name).name, []).append(path)
        stems.setdefault(Path(stem_of(name)).name, []).append(path)
    files = []
    for tile in tiles:
        plain = tile.replace("\\", "/").removeprefix("./")
        found = (
            [pictures[plain]] if plain in pictures else stems.get(plain) or names.get(plain) or _below(plain, pictures)
        ) or alike.get(folded(plain), [])
        several = sorted(set(found))
        if len(several) > 1:
            raise InputError(
                f"tile {tile!r} may be {several[0]} or {several[1]}; list it by its full path below {folder}"
            )
        files.append(several[0] if several else _not_held(folder / Path(plain).name, tile))
    return files


def _not_held(path: Path, tile: str) -> Path:
    """Return where a listed tile that is not held would lie; a link that leads out of the folder is not followed."""
    if path.is_symlink() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"tile {tile!r} is the link {path}, which leads out of its folder; put the file there")
    return path


def _below(plain: str, pictures: dict[str, Path]) -> list[Path]:
    """Return the picture that a longer path ends in, as tables list files by the folders of another machine."""
    parts = plain.split("/")
    for start in range(1, len(parts)):
        if (rest := "/".join(parts[start:])) in pictures:
            return [pictures[rest]]
    return []


def _are_degrees(frame: pd.DataFrame) -> bool:
    x, y = frame["x"], frame["y"]
    return bool((x.abs() <= 180).all() and (y.abs() <= 90).all() and ((x % 1 != 0) | (y % 1 != 0)).any())


def _say_the_same(frame: pd.DataFrame, asked: ImagerySettings) -> bool:
    """Whether most tiles' numbers name the tile, or one beside it, that holds their longitude and latitude."""
    zoom, x, y = (frame[column].to_numpy(float) for column in ("zoom", "x", "y"))
    with np.errstate(all="ignore"):
        side = 2.0**zoom
        row = side - 1 - y if asked.rows_from == "south" else y
        lon, lat = tile_centre(x, row, zoom)
        reach = 1.5 * 360.0 / side
        # A tile is as many degrees high as wide at the equator, and lower elsewhere.
        near = (np.abs(wrapped(lon - frame["lon"].to_numpy(float))) <= reach) & (np.abs(lat - frame["lat"]) <= reach)
    return bool(2 * near.sum() > len(frame))


def _check_tile_numbers(table: OwnTable, frame: pd.DataFrame) -> None:
    for column, names in _TILE_NUMBERS.items():
        if (source := table.find(names)) is not None:
            whole_numbers(table, source)
        if (negative := frame[column] < 0).any():
            raise InputError(f"{table.path}: {column} is negative in {table.line(negative)}")
    if (deep := frame["zoom"] > MOST_ZOOM).any():
        raise InputError(f"{table.path}: zoom is {frame['zoom'][deep].iloc[0]:g} in {table.line(deep)}; it is 0 to 30")
    if (beyond := frame[["x", "y"]].max(axis=1) >= 2.0 ** frame["zoom"]).any():
        raise InputError(
            f"{table.path}: x and y of a tile at zoom {frame['zoom'][beyond].iloc[0]:g} are below "
            f"{2 ** int(frame['zoom'][beyond].iloc[0])}, not as in {table.line(beyond)}"
        )


def _placed(frame: pd.DataFrame, asked: ImagerySettings) -> pd.DataFrame:
    """Return tiles with the longitude and latitude of their middle, where their numbers say it; rows from the north.

    Baidu's numbers are not those of map tiles: they place a tile, and are kept as tile_zoom, tile_x and tile_y alone.
    """
    if not {"zoom", "x", "y"} <= set(frame.columns):
        return frame
    numbers_ = frame[["zoom", "x", "y"]].astype(float)
    if asked.rows_from == "baidu":
        told = frame.drop(columns=["zoom", "x", "y"]).assign(
            tile_zoom=numbers_["zoom"], tile_x=numbers_["x"], tile_y=numbers_["y"]
        )
        size = TILE_PX * 2.0 ** (18 - numbers_["zoom"].to_numpy())
        lon, lat = metres_to_wgs84((numbers_["x"].to_numpy() + 0.5) * size, (numbers_["y"].to_numpy() + 0.5) * size)
        return told if "lon" in told else told.assign(lon=lon, lat=lat)
    if asked.rows_from == "south":
        frame = frame.assign(y=2.0 ** numbers_["zoom"] - 1 - numbers_["y"])
    frame = frame.assign(tile_zoom=numbers_["zoom"], tile_x=numbers_["x"], tile_y=frame["y"].astype(float))
    if "lon" in frame:
        return frame
    lon, lat = tile_centre(numbers_["x"].to_numpy(), frame["y"].to_numpy(float), numbers_["zoom"].to_numpy())
    return frame.assign(lon=lon, lat=lat)


def _regions_of(
    frame: pd.DataFrame,
    regions: gpd.GeoDataFrame,
    label: str,
    asked: ImagerySettings,
    ledger: Ledger,
    notes: list[str],
    within_m: float | None,
) -> pd.Series[Any]:
    """Return the region of each tile: the one named for it, else the one that holds its middle.

    Tiles in none are counted, told, and never all; those that lie outside of the region named for them too.
    """
    told = frame["region_id"] if "region_id" in frame else _named_by_region(frame, regions, notes)
    what = "tiles" if within_m is None else "street views"
    if "lon" not in frame:
        if told is None:
            raise InputError(f"{label} says neither region nor place of its {what}; {_ways_to_say(frame)}")
        return _tell_outside(told, f"{label}: {{}} of {len(frame)} {what} name no region", ledger, notes)
    lon, lat = frame["lon"].to_numpy(float), frame["lat"].to_numpy(float)
    held, several = region_at(lon, lat, regions)
    if several:
        ledger.count("images on a border", several)
    if within_m:
        held = near_regions(frame, regions, within_m, ledger)["region_id"]
    held = held.set_axis(frame.index)
    found = held if told is None else told.where(told.notna(), held)
    elsewhere = 0 if told is None else _outside_of(found[found != held], frame, regions)
    way = ""
    if 2 * (elsewhere + int(found.isna().sum())) > len(frame):
        way = f"; {_hint(frame, lon, lat, regions, asked) or _extents(lon, lat, regions)}"
    if elsewhere:
        ledger.count("images outside of the region named for them", elsewhere)
        if way:
            notes.append(f"{label}: {elsewhere} of {len(frame)} {what} lie outside of the region named for them{way}")
    return _tell_outside(found, f"{label}: {{}} of {len(frame)} {what} lie in no region{way}", ledger, notes)


def _outside_of(named: pd.Series[Any], frame: pd.DataFrame, regions: gpd.GeoDataFrame) -> int:
    """Return how many tiles lie outside of the regions named for them (of overlapping ones they may be in several)."""
    named = named[named.notna()]
    polygons = regions.set_index("region_id").geometry.reindex(named).to_numpy()
    lon, lat = (frame.loc[named.index, axis].to_numpy(float) for axis in ("lon", "lat"))
    known = ~shapely.is_missing(polygons) & np.isfinite(lon) & np.isfinite(lat)
    return int((~shapely.intersects_xy(polygons[known], lon[known], lat[known])).sum())


def _tell_outside(found: pd.Series[Any], said: str, ledger: Ledger, notes: list[str]) -> pd.Series[Any]:
    """Count and tell tiles without a region; `InputError` where it is all of them."""
    if outside := int(found.isna().sum()):
        ledger.count("images in no region", outside)
        if outside == len(found):
            raise InputError(said.format(outside))
        notes.append(said.format(outside))
    return found.where(found.notna(), None)


def _named_by_region(frame: pd.DataFrame, regions: gpd.GeoDataFrame, notes: list[str]) -> pd.Series[Any] | None:
    """Return the pictures' names as their regions, where each is called by one and says no other place."""
    if "lon" in frame or not frame["tile"].isin(regions["region_id"]).all():
        return None
    notes.append("each picture is called by a region's id, and was taken for that region's")
    return frame["tile"]


def _ways_to_say(frame: pd.DataFrame) -> str:
    ways = "add a region id, or lon and lat, or zoom, x and y, or name tiles z_x_y"
    others = frame["tile"][~frame["tile"].str.fullmatch(_TILE_NAME)]
    if 0 < len(others) < len(frame):
        return f"{ways}: {len(frame) - len(others)} are named so, {others.iloc[0]!r} is not ({len(others)} in all)"
    return ways


def _hint(frame: pd.DataFrame, lon: Any, lat: Any, regions: gpd.GeoDataFrame, asked: ImagerySettings) -> str | None:
    """Say what brings most tiles into regions: columns swapped, a sign lost, or rows counted from the other end."""
    tries = {"longitude and latitude seem to be swapped": (lat, lon)}
    if {"zoom", "x", "y"} <= set(frame.columns):
        zoom, y = frame["zoom"].to_numpy(float), frame["y"].to_numpy(float)
        other = "south" if asked.rows_from == "north" else "north"
        turned = tile_centre(frame["x"].to_numpy(float), 2.0**zoom - 1 - y, zoom)
        tries[f"rows seem to be counted from the {other}: give --rows-from {other}"] = turned
        x = frame["x"].to_numpy(float)
        tries["x and y seem to have changed places: z/y/x is read from a table with columns zoom, x, y"] = tile_centre(
            y, x, zoom
        )
        for step in (-1, 1, -2, 2, -3, 3):
            tries[f"zoom seems to be {zoom[0] + step:.0f}, not {zoom[0]:.0f}"] = tile_centre(x, y, zoom + step)
    tries["the sign of longitude seems to be lost"] = (-lon, lat)
    tries["the sign of latitude seems to be lost"] = (lon, -lat)
    for mistake, (x, y) in tries.items():
        possible = np.abs(y) <= 90
        if possible.any() and 2 * region_at(x[possible], y[possible], regions)[0].notna().sum() > len(frame):
            return mistake
    return None


def _extents(lon: Any, lat: Any, regions: gpd.GeoDataFrame) -> str:
    west, south, east, north = regions.total_bounds
    return (
        f"they lie from ({np.nanmin(lon):.4f}, {np.nanmin(lat):.4f}) to ({np.nanmax(lon):.4f}, {np.nanmax(lat):.4f}), "
        f"the regions from ({west:.4f}, {south:.4f}) to ({east:.4f}, {north:.4f}) (longitude, latitude)"
    )
