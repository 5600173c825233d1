"""The tables of an area: their columns, types and the rules that a single table must meet.

This page is the library's vocabulary. Rules between tables (does the region of this image exist?) are in
`chorograph.area.check`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa

from chorograph.ground.errors import AreaError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["text", "integer", "number", "vector", "geometry"]

_ARROW: dict[Kind, pa.DataType] = {"text": pa.string(), "integer": pa.int64(), "number": pa.float64()}


@dataclass(frozen=True)
class Column:
    """A column: its name, kind, and whether a row may leave it empty."""

    name: str
    kind: Kind
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """A table: its columns and the columns that together name a row."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """The column names, in order."""
        return [column.name for column in self.columns]


def _table(name: str, key: str, *columns: str) -> Table:
    """Build a table from short words: `lon:number?` is a nullable number, no kind means text."""
    built = []
    for word in columns:
        column, _, kind = word.rstrip("?").partition(":")
        built.append(Column(column, kind or "text", nullable=word.endswith("?")))  # type: ignore[arg-type]
    return Table(name, tuple(built), tuple(key.split()))


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        _table("regions", "region_id", "region_id", "name?", "group?", "geometry:geometry?"),
        _table(
            "images", "image_id", "image_id", "region_id?", "view", "uri?", "url?", "lon:number?", "lat:number?",
            "zoom:integer?", "x:integer?", "y:integer?", "captured?", "source", "licence", "sha256?",
        ),
        _table(
            "captions", "caption_id", "caption_id", "image_id", "rank:integer", "caption", "origin", "score:number?",
        ),
        _table(
            "indicators", "region_id indicator year", "region_id", "indicator", "value:number?", "unit",
            "year:integer?", "source",
        ),
        _table("triples", "head relation tail", "head", "relation", "tail"),
        _table("entities", "entity", "entity", "kind", "region_id?"),
        _table("poi_counts", "region_id poi", "region_id", "poi", "count:integer"),
        _table(
            "ratings", "image_id caption_id rater question", "image_id", "caption_id", "rater", "question",
            "value:number", "at",
        ),
    )
}  # fmt: skip

VIEWS = ("satellite", "street")


def empty(table: Table) -> pd.DataFrame:
    """Return a table without rows, with the right columns and types."""
    return _conform(table, pd.DataFrame({name: [] for name in table.names}))


def conform(name: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` with the table's columns, order and types, after checking the rules of this table alone.

    Missing nullable columns are added empty. Raises `AreaError` naming the table, the column and the first bad row.
    """
    table = get_table(name)
    if unknown := [column for column in frame.columns if column not in table.names]:
        raise UnknownNameError.of(f"column of {name}", str(unknown[0]), table.names)
    for column in table.columns:
        if column.name not in frame.columns and not column.nullable:
            raise AreaError(f"{name}: column {column.name!r} is missing")
    conformed = _conform(table, frame)
    for column in table.columns:
        empty_cells = conformed[column.name].isna()
        if not column.nullable and empty_cells.any():
            raise AreaError(f"{name}: {column.name} is empty in {_rows(empty_cells)}")
        if column.kind == "text" and not column.nullable and (blank := conformed[column.name].str.strip() == "").any():
            raise AreaError(f"{name}: {column.name} is blank in {_rows(blank)}")
    if (twice := conformed.duplicated(list(table.key))).any():
        values = conformed.loc[twice, list(table.key)].iloc[0].tolist()
        raise AreaError(f"{name}: {' + '.join(table.key)} {values} stands twice ({_rows(twice)})")
    _RULES.get(name, lambda _: None)(conformed)
    return conformed


def get_table(name: str) -> Table:
    """Return the table of that name; `UnknownNameError` otherwise."""
    if name not in TABLES:
        raise UnknownNameError.of("table", name, TABLES)
    return TABLES[name]


def to_arrow(name: str, frame: pd.DataFrame) -> pa.Table:
    """Return a conformed frame (no geometry) as an Arrow table with the schema of the contract."""
    schema = pa.schema([(column.name, _ARROW[column.kind]) for column in get_table(name).columns])
    return pa.Table.from_pandas(frame, schema=schema, preserve_index=False)


def _conform(table: Table, frame: pd.DataFrame) -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for column in table.columns:
        if column.name in frame.columns:
            columns[column.name] = _cast(table.name, column, frame[column.name])
        else:
            columns[column.name] = _cast(
                table.name, column, pd.Series([None] * len(frame), index=frame.index, dtype=object)
            )
    return pd.DataFrame(columns, index=frame.index).reset_index(drop=True)


def _cast(table: str, column: Column, values: pd.Series[Any]) -> pd.Series[Any]:
    if column.kind == "geometry":
        return values
    if column.kind == "text":
        if pd.api.types.is_float_dtype(values) and values.notna().any():
            raise AreaError(f"{table}: {column.name} holds numbers where text is expected; read it as text")
        return values.astype("string").astype(object).where(values.notna(), None)
    try:
        numbers = pd.to_numeric(values, errors="raise").astype("float64")
    except (ValueError, TypeError) as error:
        bad = pd.to_numeric(values, errors="coerce").isna() & values.notna()
        raise AreaError(
            f"{table}: {column.name} holds {values[bad].iloc[0]!r}, which is no number, in {_rows(bad)}"
        ) from error
    if (infinite := numbers.abs() == np.inf).any():
        raise AreaError(f"{table}: {column.name} is infinite in {_rows(infinite)}")
    return numbers.astype("Int64") if column.kind == "integer" else numbers


def _rows(bad: pd.Series[bool], most: int = 3) -> str:
    positions = np.flatnonzero(bad.to_numpy())
    shown = ", ".join(str(int(position) + 1) for position in positions[:most])
    return f"row {shown}" + (f" and {len(positions) - most} more" if len(positions) > most else "")


def _check_regions(frame: pd.DataFrame) -> None:
    import shapely

    geometry = np.asarray(frame["geometry"], dtype=object)
    held = ~shapely.is_missing(geometry)
    valid = shapely.is_valid(geometry) | ~held
    if not valid.all():
        first = int(np.flatnonzero(~valid)[0])
        reason = shapely.is_valid_reason(geometry[first])
        raise AreaError(
            f"regions: the polygon of {frame['region_id'].iloc[first]!r} (row {first + 1}) is not valid: {reason}; "
            "repair it (for example with shapely.make_valid) and build again"
        )


def _check_images(frame: pd.DataFrame) -> None:
    if (wrong := ~frame["view"].isin(VIEWS)).any():
        raise AreaError(
            f"images: view is satellite or street, not {frame.loc[wrong, 'view'].iloc[0]!r}, in {_rows(wrong)}"
        )


def _check_indicators(frame: pd.DataFrame) -> None:
    units = frame.groupby("indicator")["unit"].nunique()
    if (several := units[units > 1]).size:
        raise AreaError(
            f"indicators: {several.index[0]!r} is given in {several.iloc[0]} units; one indicator, one unit"
        )


def _check_poi_counts(frame: pd.DataFrame) -> None:
    if (negative := frame["count"] < 0).any():
        raise AreaError(f"poi_counts: count is negative in {_rows(negative)}")


_RULES = {
    "regions": _check_regions,
    "images": _check_images,
    "indicators": _check_indicators,
    "poi_counts": _check_poi_counts,
}


def row_list(bad: Iterable[bool]) -> str:
    """Name the first rows where `bad` holds, counted from 1, and how many more there are."""
    return _rows(pd.Series(list(bad), dtype=bool))
