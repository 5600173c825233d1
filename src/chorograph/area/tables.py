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
import pyarrow.compute as pc

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
        # Captions as they were before they were refined, and the sentences that were dropped.
        _table(
            "captions_original", "caption_id", "caption_id", "image_id", "rank:integer", "caption", "origin",
            "score:number?",
        ),
        _table(
            "captions_dropped", "caption_id", "caption_id", "image_id", "rank:integer", "caption", "origin",
            "score:number?", "rule", "reason",
        ),
        # What is known of images: kind cover (share of the ground), object (number), text (its value is 1).
        _table("image_facts", "image_id kind name", "image_id", "kind", "name", "value:number"),
        _table(
            "descriptions", "region_id rank", "region_id", "sentence", "rank:integer", "evidence", "origin",
        ),
        _table(
            "indicators", "region_id indicator year", "region_id", "indicator", "value:number?", "unit",
            "year:integer?", "source",
        ),
        _table("triples", "head relation tail", "head", "relation", "tail"),
        _table("entities", "entity", "entity", "kind", "region_id?"),
        _table("poi_counts", "region_id poi", "region_id", "poi", "count:integer"),
        _table("places", "place", "place", "category", "name?", "lon:number", "lat:number"),
        _table("context", "feature", "feature", "kind", "rank:integer", "name?", "geometry:geometry"),
        _table(
            "ratings", "image_id caption_id rater question", "image_id", "caption_id", "rater", "question",
            "value:number", "at",
        ),
    )
}  # fmt: skip

VIEWS = ("satellite", "street")
#: What lies around regions on a map.
CONTEXT = ("road", "water", "place")


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
        raise AreaError(f"{name}: {' + '.join(table.key)} {values} appears twice ({_rows(twice)})")
    _RULES.get(name, lambda _: None)(conformed)
    return conformed


def get_table(name: str) -> Table:
    """Return the table of that name; `UnknownNameError` otherwise."""
    if name not in TABLES:
        raise UnknownNameError.of("table", name, TABLES)
    return TABLES[name]


def has_geometry(name: str) -> bool:
    """Return whether a table is one of features."""
    return any(column.kind == "geometry" for column in get_table(name).columns)


def to_arrow(name: str, frame: pd.DataFrame) -> pa.Table:
    """Return a conformed frame (no geometry) as an Arrow table with the schema of the contract."""
    schema = pa.schema([(column.name, _ARROW[column.kind]) for column in get_table(name).columns])
    return pa.Table.from_pandas(frame, schema=schema, preserve_index=False)


def from_arrow(name: str, held: pa.Table) -> pd.DataFrame:
    """Return a stored table as a frame, after checking that its columns, types and rows keep the contract.

    Columns that may be empty may be missing; further ones are left out. Raises `AreaError` naming the column and the
    first rows that are wrong.
    """
    frame = text_columns(name, held, ("text", "integer", "number"))
    check_rows(name, frame)
    return frame


def text_columns(name: str, held: pa.Table, kinds: tuple[str, ...] = ("text",)) -> pd.DataFrame:
    """Return the columns of some kinds (the text ones) of a stored table, their names and types checked."""
    table = get_table(name)
    columns: dict[str, Any] = {}
    for column in table.columns:
        if column.kind not in kinds:
            continue
        if held.schema.names.count(column.name) > 1:
            raise AreaError(f"{name}: column {column.name!r} appears twice")
        if column.name not in held.schema.names:
            if not column.nullable:
                raise AreaError(f"{name}: column {column.name!r} is missing; it has {_list(held.schema.names)}")
            columns[column.name] = pa.nulls(len(held), _ARROW[column.kind])
            continue
        columns[column.name] = _typed(name, column, held.column(column.name))
    frame: pd.DataFrame = pa.table(columns).to_pandas()
    for column in table.columns:
        if column.kind == "integer" and column.name in frame:
            frame[column.name] = frame[column.name].astype("Int64")
    return frame


def check_rows(name: str, frame: pd.DataFrame) -> None:
    """Raise `AreaError` where cells that must be filled are empty, a key appears twice, or a rule is broken."""
    table = get_table(name)
    for column in table.columns:
        if not column.nullable and (lacking := frame[column.name].isna()).any():
            raise AreaError(f"{name}: {column.name} is empty in {_rows(lacking)}")
    if (twice := frame.duplicated(list(table.key))).any():
        values = frame.loc[twice, list(table.key)].iloc[0].tolist()
        raise AreaError(f"{name}: {' + '.join(table.key)} {values} appears twice ({_rows(twice)})")
    _RULES.get(name, lambda _: None)(frame)


def check_split(name: str, frame: pd.DataFrame) -> None:
    """Raise `AreaError` where a given split breaks the contract: region_id or image_id, role, fold?."""
    ids = [column for column in ("region_id", "image_id") if column in frame.columns]
    if len(ids) != 1 or "role" not in frame.columns:
        raise AreaError(f"split {name!r} needs region_id or image_id (one of them) and role")
    given = frame[ids[0]]
    if (odd := ~given.map(lambda value: isinstance(value, str))).any():
        raise AreaError(f"split {name!r}: {ids[0]} is text, not {given[odd].iloc[0]!r}, in {_rows(odd)}")
    if given.duplicated().any():
        twice = given.duplicated()
        raise AreaError(f"split {name!r}: {given[twice].iloc[0]!r} appears twice ({_rows(twice)})")
    role = frame["role"].map(lambda value: isinstance(value, str) and value in ("train", "val", "test"))
    if not role.all():
        found = frame.loc[~role.astype(bool), "role"].iloc[0]
        raise AreaError(f"split {name!r}: role is train, val or test, not {found!r}, in {_rows(~role.astype(bool))}")
    if "fold" in frame.columns and not (pd.api.types.is_numeric_dtype(frame["fold"]) or frame["fold"].isna().all()):
        raise AreaError(f"split {name!r}: fold is a whole number, the column holds {frame['fold'].dtype}")


def _typed(name: str, column: Column, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in the type of the contract; `AreaError` where it holds another kind of thing."""
    kind = values.type.value_type if pa.types.is_dictionary(values.type) else values.type
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
    if not pa.types.is_null(kind) and not (text if column.kind == "text" else number):
        wanted = {"text": "text", "integer": "whole numbers"}.get(column.kind, "numbers")
        raise AreaError(f"{name}: column {column.name!r} holds {kind}, not {wanted}")
    try:
        typed = values.cast(_ARROW[column.kind])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise AreaError(f"{name}: column {column.name!r} holds {kind}: {str(error).splitlines()[0]}") from error
    if column.kind == "number" and (infinite := pc.is_inf(typed).to_pandas().fillna(False)).any():
        raise AreaError(f"{name}: {column.name} is infinite in {_rows(infinite.astype(bool))}")
    return typed


def _list(names: Iterable[str], most: int = 12) -> str:
    """Name the first few of many names."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


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
    # Longitudes may be counted on past the date line.
    for name, low, high in (("lon", -360, 360), ("lat", -90, 90), ("zoom", 0, 30)):
        if (beyond := frame[name].notna() & ~frame[name].between(low, high).fillna(True)).any():
            raise AreaError(
                f"images: {name} is {frame.loc[beyond, name].iloc[0]:g}, not {low} to {high}, in {_rows(beyond)}"
            )


def _check_indicators(frame: pd.DataFrame) -> None:
    units = frame.groupby("indicator")["unit"].nunique()
    if (several := units[units > 1]).size:
        raise AreaError(
            f"indicators: {several.index[0]!r} is given in {several.iloc[0]} units; one indicator, one unit"
        )


def _check_context(frame: pd.DataFrame) -> None:
    if (wrong := ~frame["kind"].isin(CONTEXT)).any():
        raise AreaError(f"context: kind is one of {', '.join(CONTEXT)}, not {frame.loc[wrong, 'kind'].iloc[0]!r}")


def _check_poi_counts(frame: pd.DataFrame) -> None:
    if (negative := frame["count"] < 0).any():
        raise AreaError(f"poi_counts: count is negative in {_rows(negative)}")


_RULES = {
    "regions": _check_regions,
    "images": _check_images,
    "indicators": _check_indicators,
    "poi_counts": _check_poi_counts,
    "context": _check_context,
}


def row_list(bad: Iterable[bool]) -> str:
    """Name the first rows where `bad` holds, counted from 1, and how many more there are."""
    return _rows(pd.Series(list(bad), dtype=bool))
