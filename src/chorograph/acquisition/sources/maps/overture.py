"""Overture Maps, as GeoParquet: places, segments of roads, buildings, water and divisions.

A file a type, or a folder of them as Overture publishes it (`theme=places/type=place/…`). Rows are taken by
their `bbox`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import shapely

from chorograph.acquisition.sources.maps.mapped import PLACES, RANKS, Mapped, window_of
from chorograph.ground.errors import InputError
from chorograph.ground.files import check_regular

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.ground.stage import Ledger

#: Columns that only one type has.
_TELLING = {
    "place": ("basic_category", "categories", "taxonomy"), "segment": ("connectors", "subclass_rules"),
    "building": ("has_parts", "num_floors"), "water": ("is_salt", "is_intermittent"),
    "division": ("local_type", "hierarchies"),
}  # fmt: skip
#: Where a place's category stands, the newest first; each is a column of text or a struct with `primary`.
CATEGORIES = ("basic_category", "taxonomy", "categories")
_NEEDED_FOR = {
    "place": "places",
    "segment": "roads",
    "building": "buildings",
    "water": "context",
    "division": "context",
}
_MARGIN = 0.5


def is_overture(path: Path) -> bool:
    """Return whether a file, or a file of a folder, is GeoParquet with Overture's columns."""
    try:
        return any(_type_of(file) is not None for file in _files(path)[:1])
    except InputError:
        return False


def read_overture(
    path: Path, regions: gpd.GeoDataFrame, take: Sequence[str], ledger: Ledger, category: str | None = None
) -> Mapped:
    """Return what Overture's files hold near regions: of `take` (places, roads, buildings, context).

    `category` is one of `CATEGORIES`; by default the first that a file has and fills. Raises `InputError` naming a file
    that cannot be read, or where no file is of a type that is known.
    """
    near = window_of(regions, _MARGIN)
    west, south, east, north = (f(side[k] for side in near) for k, f in enumerate((min, min, max, max)))
    overlaps = (
        (ds.field("bbox", "xmin") <= east) & (ds.field("bbox", "xmax") >= west)
        & (ds.field("bbox", "ymin") <= north) & (ds.field("bbox", "ymax") >= south)
    )  # fmt: skip
    parts: dict[str, list[pd.DataFrame]] = {}
    for file in _files(path):
        kind = _type_of(file)
        if kind is None:
            ledger.drop("file of no type of Overture's that is read")
            continue
        if _NEEDED_FOR[kind] in take or (kind == "segment" and "context" in take):
            parts.setdefault(kind, []).extend(_READ[kind](file, overlaps, category))
    if not parts:
        raise InputError(f"{path} holds nothing of {', '.join(take)} in Overture's form")
    whole = {kind: pd.concat(frames, ignore_index=True) for kind, frames in parts.items()}
    drawn = [whole[kind] for kind in ("water", "division") if kind in whole]
    places = whole.get("place")
    if places is not None:
        ledger.drop("place without a category", int(places["category"].isna().sum()))
        places = places[places["category"].notna()].reset_index(drop=True)
    return Mapped(
        places=places,
        roads=whole.get("segment"),
        buildings=whole["building"]["geometry"].to_numpy(object) if "building" in whole else None,
        drawn=pd.concat(drawn, ignore_index=True) if drawn else None,
        facts={"types": sorted(whole)},
    )


def _files(path: Path) -> list[Path]:
    if path.is_file():
        check_regular(path)
        return [path]
    found = sorted(path.rglob("*.parquet"))
    if not found:
        raise InputError(f"{path} holds no GeoParquet file")
    return found


def _type_of(path: Path) -> str | None:
    """Return the type of a file, by the folder it lies in or the columns it has; None for any other."""
    for part in path.parts:
        if part.startswith("type=") and part.removeprefix("type=") in _TELLING:
            return part.removeprefix("type=")
    try:
        columns = set(pq.read_schema(path).names)
    except (OSError, pa.ArrowException):
        return None
    if not {"id", "geometry", "bbox"} <= columns:
        return None
    return next((kind for kind, names in _TELLING.items() if columns & set(names)), None)


def _batches(path: Path, overlaps: Any, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield rows near the regions with `columns` (those that the file has), and their geometry."""
    try:
        table = ds.dataset(path, format="parquet")
        names = [name for name in (*columns, "id", "geometry") if name in table.schema.names]
        for batch in table.to_batches(columns=names, filter=overlaps):
            if batch.num_rows:
                frame = batch.to_pandas()
                yield frame.assign(geometry=shapely.from_wkb(frame["geometry"].to_numpy(object)))
    except (OSError, ValueError, pa.ArrowException, shapely.GEOSException) as error:
        raise InputError(f"{path} cannot be read as Overture's GeoParquet: {error}") from error


def _primary(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column of text, or the text `primary` of a column of structs."""
    return values.map(lambda cell: cell.get("primary") if isinstance(cell, dict) else cell).astype(object)


def _names(frame: pd.DataFrame) -> Any:
    return _primary(frame["names"]) if "names" in frame else None


def _places(path: Path, overlaps: Any, category: str | None) -> Iterator[pd.DataFrame]:
    for frame in _batches(path, overlaps, ("names", *CATEGORIES)):
        columns = [name for name in ((category,) if category else CATEGORIES) if name in frame]
        if not columns:
            raise InputError(f"{path} has no column {category or ' or '.join(CATEGORIES)}")
        told = pd.Series(None, index=frame.index, dtype=object)
        for column in columns:
            told = told.where(told.notna(), _primary(frame[column]))
        middle = shapely.point_on_surface(frame["geometry"].to_numpy())
        yield pd.DataFrame(
            {
                "place": frame["id"].astype(str),
                "category": told.where(told.notna(), None),
                "name": _names(frame),
                "lon": shapely.get_x(middle),
                "lat": shapely.get_y(middle),
            }
        )


def _roads(path: Path, overlaps: Any, category: str | None) -> Iterator[pd.DataFrame]:
    for frame in _batches(path, overlaps, ("names", "subtype", "class")):
        kept = frame[(frame["subtype"] == "road") & frame["class"].isin(list(RANKS))]
        yield pd.DataFrame(
            {
                "feature": kept["id"].astype(str),
                "category": kept["class"],
                "name": _names(kept),
                "geometry": kept["geometry"],
            }
        )


def _buildings(path: Path, overlaps: Any, category: str | None) -> Iterator[pd.DataFrame]:
    for frame in _batches(path, overlaps, ()):
        yield frame[["geometry"]]


def _water(path: Path, overlaps: Any, category: str | None) -> Iterator[pd.DataFrame]:
    for frame in _batches(path, overlaps, ("names",)):
        shaped = frame[np.isin(shapely.get_dimensions(frame["geometry"].to_numpy()), (1, 2))]
        areal = shapely.get_dimensions(shaped["geometry"].to_numpy()) == 2
        yield _drawn(shaped, "water", np.where(areal, 1, 3))


def _divisions(path: Path, overlaps: Any, category: str | None) -> Iterator[pd.DataFrame]:
    for frame in _batches(path, overlaps, ("names", "subtype", "class")):
        kind = frame["class"].where(frame["class"].notna(), frame["subtype"]) if "class" in frame else frame["subtype"]
        rank = kind.map(PLACES)
        points = shapely.get_type_id(frame["geometry"].to_numpy()) == shapely.GeometryType.POINT
        named = frame[rank.notna() & points & _names(frame).notna()]
        yield _drawn(named, "place", rank[named.index].to_numpy())


def _drawn(frame: pd.DataFrame, kind: str, rank: Any) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "feature": frame["id"].astype(str),
            "kind": kind,
            "rank": rank,
            "name": _names(frame),
            "geometry": frame["geometry"],
        }
    )


_READ = {"place": _places, "segment": _roads, "building": _buildings, "water": _water, "division": _divisions}
