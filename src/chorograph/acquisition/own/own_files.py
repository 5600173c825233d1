"""An area from anybody's own files: tiles, polygons, tables of indicators, facts and counts.

Every complaint names the file and the line; a CSV's header is line 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from chorograph.acquisition.holding import hold
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source
from chorograph.area.tiles import tile_centre
from chorograph.graph.reading import as_text, read_facts
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.stage import Ledger, Progress, silent

if TYPE_CHECKING:
    from collections.abc import Iterable

    from chorograph.acquisition.own.own_settings import OwnFiles

#: What a column's last word says about its unit; `--unit` overrides it.
_UNIT_SUFFIXES = {
    "usd": "USD", "eur": "EUR", "gbp": "GBP", "cny": "CNY",
    "percent": "%", "pct": "%", "km2": "per km²", "ha": "ha", "km": "km", "kg": "kg", "min": "min", "years": "years",
}  # fmt: skip
_TILE_NAME = re.compile(r"(?P<zoom>\d{1,2})_(?P<x>\d+)_(?P<y>\d+)")
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp")


def build_area(config: OwnFiles, out: Path, ledger: Ledger, progress: Progress = silent) -> None:
    """Build the area `out`; raises `InputError` before anything stands there, whatever is wrong."""
    regions = _read_regions(config.regions, config.region_id) if config.regions else None
    known = set(regions["region_id"]) if regions is not None else set()
    tables: dict[str, pd.DataFrame] = {}
    if config.indicators:
        if regions is None:
            raise InputError("indicators need regions: give --regions")
        frames = [_read_indicators(path, config, known, ledger) for path in config.indicators]
        tables["indicators"] = pd.concat(frames, ignore_index=True)
    if config.poi:
        tables["poi_counts"] = _read_poi(config.poi, config.region_id, known)
    if config.triples:
        tables["triples"], tables["entities"] = _read_triples(config.triples, known)
    source = Source(config.source, config.licence)
    with AreaDraft(out, config.name or out.resolve().name, config.title or "", sources=[source]) as draft:
        if regions is not None:
            draft.write("regions", regions)
            ledger.count("regions", len(regions))
        for name, frame in tables.items():
            draft.write(name, frame)
            ledger.count(name, len(frame))
        if config.tiles:
            tiles = _read_tiles(config, regions, known)
            images = _hold(draft, tiles, config, ledger, progress)
            draft.write("images", images)
            ledger.count("images", len(images))
            ledger.count("images held", int(images["uri"].notna().sum()))


def _read_regions(path: Path, region_id: str) -> gpd.GeoDataFrame:
    try:
        frame = gpd.read_parquet(path) if path.suffix == ".parquet" else gpd.read_file(path)
    except Exception as error:  # pyogrio, fiona and pyarrow each raise their own; all mean the same here
        raise InputError(f"{path} cannot be read as polygons: {error}") from error
    if region_id not in frame.columns:
        raise UnknownNameError.of(f"column of {path}", region_id, [c for c in frame.columns if c != "geometry"])
    if frame.crs is None:
        raise InputError(f"{path} does not say its coordinate reference system; set it (EPSG:4326 for lon, lat)")
    ids = _as_ids(frame[region_id])
    for row, (name, geometry) in enumerate(zip(ids, frame.geometry, strict=True), start=1):
        if name is None:
            raise InputError(f"{path}: feature {row} has no {region_id}")
        if geometry is not None and not geometry.is_valid:
            raise InputError(
                f"{path}: the polygon of {name!r} (feature {row}) is not valid: {shapely.is_valid_reason(geometry)}; "
                "repair it, for example with QGIS 'Fix geometries'"
            )
    if (twice := pd.Series(ids).duplicated()).any():
        row = int(np.flatnonzero(twice)[0])
        raise InputError(f"{path}: {region_id} {ids[row]!r} stands twice (again at feature {row + 1})")
    columns: dict[str, Any] = {"region_id": ids, "geometry": frame.geometry.to_crs(4326).to_numpy()}
    for optional in ("name", "group"):
        if optional in frame.columns and optional != region_id:
            columns[optional] = _as_ids(frame[optional])
    return gpd.GeoDataFrame(columns, crs=4326)


def _read_indicators(path: Path, config: OwnFiles, known: set[str], ledger: Ledger) -> pd.DataFrame:
    table = _Csv.read(path)
    table.check_regions(config.region_id, known)
    units = dict(_parse_units(config.unit))
    if {"indicator", "value"} <= set(table.frame.columns):
        long = table.frame.assign(value=table.numbers("value"))
    else:
        fixed = [c for c in (config.region_id, "year", "name", "group") if c in table.frame.columns]
        columns = [column for column in table.frame.columns if column not in fixed]
        if unknown := [column for column in units if column not in columns and len(config.indicators) == 1]:
            raise UnknownNameError.of(f"indicator of {path} (--unit)", unknown[0], columns)
        wide = table.frame[fixed].assign(**{column: table.numbers(column) for column in columns})
        long = wide.melt(id_vars=fixed, value_vars=columns, var_name="indicator", value_name="value")
    given = long["unit"] if "unit" in long else pd.Series(None, index=long.index, dtype=object)
    found = {name: units.get(name) or _unit_by_name(name) for name in long["indicator"].unique()}
    if given.isna().any():
        said = [f"{name}: {unit}" for name, unit in found.items() if name not in units]
        if said:
            ledger.warnings.append(
                f"{path.name}: units taken from the columns' names, say others with --unit: {'; '.join(said)}"
            )
    return pd.DataFrame(
        {
            "region_id": long[config.region_id],
            "indicator": long["indicator"],
            "value": long["value"],
            "unit": given.fillna(long["indicator"].map(found)),
            "year": pd.to_numeric(long["year"]) if "year" in long else config.year,
            "source": config.source,
        }
    )


def _read_poi(path: Path, region_id: str, known: set[str]) -> pd.DataFrame:
    table = _Csv.read(path)
    table.check_regions(region_id, known)
    if {"poi", "count"} <= set(table.frame.columns):
        long = table.frame.assign(count=table.numbers("count"))
    else:
        columns = [column for column in table.frame.columns if column != region_id]
        wide = table.frame[[region_id]].assign(**{column: table.numbers(column) for column in columns})
        long = wide.melt(id_vars=[region_id], var_name="poi", value_name="count")
    frame = pd.DataFrame({"region_id": long[region_id], "poi": long["poi"], "count": long["count"].fillna(0)})
    if (odd := (frame["count"] < 0) | (frame["count"] % 1 != 0)).any():
        raise InputError(f"{path}: a count is a whole number from 0, not {frame.loc[odd, 'count'].iloc[0]:g}")
    return frame


def _read_triples(path: Path, known: set[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return triples and entities. `KIND:ID` names an entity of that kind; it is a region where ID names one."""
    facts = read_facts(path)
    entities = sorted({*map(str, facts["head"].cat.categories), *map(str, facts["tail"].cat.categories)})
    split = [entity.partition(":") for entity in entities]
    kinds = [kind if colon else "region" if kind in known else "entity" for kind, colon, _ in split]
    regions = [rest if colon and rest in known else kind if kind in known else None for kind, colon, rest in split]
    return (
        as_text(facts),
        pd.DataFrame({"entity": entities, "kind": kinds, "region_id": regions}),
    )


def _read_tiles(config: OwnFiles, regions: gpd.GeoDataFrame | None, known: set[str]) -> pd.DataFrame:
    """Return one row a tile: tile, path, line, region_id?, zoom?, x?, y?, lon?, lat?."""
    folder = config.tiles
    if folder is None or not folder.is_dir():
        raise InputError(f"{folder} is not a folder of tiles")
    files = {p.name: p for p in sorted(folder.iterdir()) if p.suffix.lower() in _IMAGE_SUFFIXES}
    by_stem = {p.stem: p for p in files.values()}
    if config.tiles_table is None:
        frame = pd.DataFrame({"tile": list(by_stem)})
        label, first = str(folder), None
    else:
        table = _Csv.read(config.tiles_table)
        if "tile" not in table.frame.columns:
            raise UnknownNameError.of(f"column of {config.tiles_table}", "tile", list(table.frame.columns))
        if config.region_id in table.frame.columns and known:
            table.check_regions(config.region_id, known, empty_is_fine=True)
        frame, label, first = table.frame.copy(), str(config.tiles_table), 2
        for column in ("zoom", "x", "y", "lon", "lat"):
            if column in frame.columns:
                frame[column] = table.numbers(column)
    if frame.empty:
        raise InputError(f"{label} names no tiles")
    if (twice := frame["tile"].duplicated()).any():
        row = int(np.flatnonzero(twice)[0])
        raise InputError(
            f"{label}: tile {frame['tile'].iloc[row]!r} stands twice" + (f" (line {row + 2})" if first else "")
        )
    names = frame["tile"].str.extract(_TILE_NAME.pattern + "$") if config.tiles_table is None else None
    if names is not None and names.notna().all().all():
        frame = frame.assign(**{column: pd.to_numeric(names[column]) for column in ("zoom", "x", "y")})
    if "lon" not in frame.columns and {"zoom", "x", "y"} <= set(frame.columns) and len(set(frame["zoom"])) == 1:
        lon, lat = tile_centre(frame["x"].to_numpy(float), frame["y"].to_numpy(float), int(frame["zoom"].iloc[0]))
        frame = frame.assign(lon=lon, lat=lat)
    paths = [files.get(tile) or by_stem.get(tile) or folder / tile for tile in frame["tile"]]
    frame["path"] = pd.Series(paths, index=frame.index, dtype=object)
    frame["line"] = np.arange(len(frame)) + 2 if first else None
    if config.region_id in frame.columns:
        frame["region_id"] = frame[config.region_id]
    elif regions is not None:
        frame["region_id"] = _regions_at(frame, regions, label)
    else:
        frame["region_id"] = None
    return frame


def _regions_at(frame: pd.DataFrame, regions: gpd.GeoDataFrame, label: str) -> pd.Series[Any]:
    """Return the region that holds each tile's centre, null for none."""
    if "lon" not in frame.columns:
        raise InputError(f"{label} says neither region nor place of its tiles; add a region id, or lon and lat")
    points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(frame["lon"], frame["lat"]), crs=4326)
    joined = points.sjoin(regions[["region_id", "geometry"]], how="left", predicate="within")
    found: pd.Series[Any] = joined[~joined.index.duplicated()]["region_id"]
    return found.set_axis(frame.index)


def _hold(draft: AreaDraft, tiles: pd.DataFrame, config: OwnFiles, ledger: Ledger, progress: Progress) -> pd.DataFrame:
    """Copy every tile that opens into the draft; returns the images."""
    rows: list[dict[str, Any]] = []
    for done, tile in enumerate(tiles.to_dict("records"), start=1):
        place = f"{config.tiles_table}, line {tile['line']}" if tile["line"] else ""
        uri, digest = hold(draft, tile["tile"], tile["path"], ledger, skip_bad=config.skip_bad, where=place)
        optional: dict[str, Any] = {c: tile[c] for c in ("region_id", "zoom", "x", "y", "lon", "lat") if c in tile}
        rows.append({"image_id": tile["tile"], "uri": uri, "sha256": digest, **optional})
        progress("reading tiles", done, len(tiles))
    return pd.DataFrame(rows).assign(view="satellite", source=config.source, licence=config.licence)


@dataclass(frozen=True)
class _Csv:
    """A user's table, read as text so that `007` stays `007`."""

    path: Path
    frame: pd.DataFrame

    @classmethod
    def read(cls, path: Path) -> _Csv:
        try:
            if path.suffix == ".parquet":
                frame = pd.read_parquet(path)
                return cls(path, frame.astype("string").astype(object).where(frame.notna(), None))
            separator = "\t" if path.suffix in (".tsv", ".tab") else ","
            frame = pd.read_csv(
                path, sep=separator, dtype=str, keep_default_na=False, na_values=[""], encoding="utf-8-sig"
            )
        except (OSError, ValueError, pd.errors.ParserError) as error:
            raise InputError(f"{path} cannot be read: {str(error).strip()}") from error
        return cls(path, frame)

    def check_regions(self, column: str, known: set[str], *, empty_is_fine: bool = False) -> None:
        if column not in self.frame.columns:
            raise UnknownNameError.of(f"column of {self.path}", column, list(self.frame.columns))
        values = self.frame[column]
        if not empty_is_fine and values.isna().any():
            raise InputError(f"{self.path}: {column} is empty in line {self._line(values.isna())}")
        unknown = values.notna() & ~values.isin(known)
        if unknown.any():
            raise InputError(
                f"{self.path}: no polygon has {column} {values[unknown].iloc[0]!r} (line {self._line(unknown)}, "
                f"{int(unknown.sum())} lines in all); remove the line, or add the polygon"
            )

    def numbers(self, column: str) -> pd.Series[Any]:
        """Return a column as numbers, an empty cell as NaN; text and infinity are errors with their line."""
        text = self.frame[column]
        values = pd.to_numeric(text, errors="coerce")
        if (wrong := text.notna() & values.isna() & (text.str.strip().str.lower() != "nan")).any():
            raise InputError(
                f"{self.path}: {column} is {text[wrong].iloc[0]!r}, no number, in line {self._line(wrong)}"
            )
        if (infinite := values.abs() == np.inf).any():
            raise InputError(f"{self.path}: {column} is infinite in line {self._line(infinite)}; leave the cell empty")
        return values

    def _line(self, bad: Iterable[bool]) -> int:
        return int(np.flatnonzero(np.asarray(list(bad), dtype=bool))[0]) + 2


def _parse_units(words: list[str]) -> Iterable[tuple[str, str]]:
    for word in words:
        column, equals, unit = word.partition("=")
        if not (column and equals and unit):
            raise InputError(f"--unit is COLUMN=UNIT, not {word!r}")
        yield column, unit


def _unit_by_name(column: str) -> str:
    return _UNIT_SUFFIXES.get(column.rsplit("_", 1)[-1].lower(), "unstated") if "_" in column else "unstated"


def _as_ids(values: pd.Series[Any]) -> list[str | None]:
    """Return values as text: a whole number without `.0`, a missing one as None."""
    if pd.api.types.is_float_dtype(values) and (values.dropna() % 1 == 0).all():
        values = values.astype("Int64")
    return [None if pd.isna(value) else str(value) for value in values]
