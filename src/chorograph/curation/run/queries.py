"""One Daft query a partition and phase: read, filter, judge, write. The same on either engine."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pyarrow as pa

from chorograph.curation.rows import SCHEMA, Context, Drop, Row, RowStep
from chorograph.curation.run.apart import apply_apart, suspects, under_way
from chorograph.curation.run.engine import daft
from chorograph.curation.run.guard import apply_guarded
from chorograph.curation.run.partitions import Partition, Piece
from chorograph.curation.run.plan import Columns
from chorograph.curation.steps.keywords import Keywords

#: The columns that a query reads of the input, beside `image`.
_READ = ("caption", "url", "source", "licence", "lon", "lat", "captured")

#: A day of numbers, whatever stands between them.
_MARKED = re.compile(r"^(\d{4})[/:.](\d{2})[/:.](\d{2})(?=\D|$)")
#: In a process, one batch at a time: a step brings its own threads, and politeness to a host holds for all of them.
_ONE_BATCH = threading.Lock()


def read_input(partition: Partition, columns: Columns) -> Any:
    """Return the query that reads a partition under our names, with its keys.

    Files that hold a column in another type than others are read by themselves, and meet in ours.
    """
    module = daft()
    alike: dict[tuple[tuple[str, str], ...], list[Piece]] = {}
    for piece in partition.pieces:
        alike.setdefault(piece.types, []).append(piece)
    first, *others = [_read_alike(pieces, partition, columns) for pieces in alike.values()]
    frame = reduce(lambda one, other: one.concat(other), others, first)
    col, lit = module.col, module.lit
    return frame.with_column("source", module.functions.coalesce(col("source"), lit(partition.source)))


def _read_alike(pieces: Sequence[Piece], partition: Partition, columns: Columns) -> Any:
    module = daft()
    frame = module.read_parquet([piece.path for piece in pieces], row_groups=[list(piece.groups) for piece in pieces])
    held = dict(pieces[0].types)
    wanted = []
    for ours in _READ:
        there = _column(frame, getattr(columns, ours)) if ours in held else module.lit(None)
        if ours == "captured" and ours in held:
            there = _day(there, held[ours])
        wanted.append(there.cast(_types()[ours]).alias(ours))
    if "image" in partition.columns:
        image = _column(frame, columns.image) if "image" in held else module.lit(None)
        wanted.append(image.cast(module.DataType.binary()).alias("image"))
    return frame.select(*wanted)


def _column(frame: Any, name: str) -> Any:
    """Return a column, or the field of a struct that STRUCT.FIELD names."""
    if name in frame.column_names:
        return daft().col(name)
    first, *fields = name.split(".")
    return reduce(lambda column, field: column[field], fields, daft().col(first))


def _day(column: Any, kind: str) -> Any:
    """Return the day of dates, times and texts as YYYY-MM-DD (of times with a zone, in UTC)."""
    functions, text = daft().functions, daft().DataType.string()
    if kind.startswith(("date", "timestamp")):
        column = functions.convert_time_zone(column, "UTC") if "tz=" in kind else column
        return functions.strftime(column.cast(daft().DataType.date()), "%Y-%m-%d")
    if kind == "null":
        return column

    def days(batch: Any) -> Any:
        told = batch.to_arrow().dictionary_encode()  # the same days stand in many rows: each is read once
        return pa.array([day_of(said) for said in told.dictionary.to_pylist()], pa.string()).take(told.indices)

    return daft().func.batch(return_dtype=text)(days)(column.cast(text))


def day_of(said: str | None) -> str | None:
    """Return the day that a text tells, as YYYY-MM-DD, of a time with a zone in UTC; None for a blank.

    Read are ISO 8601, its day with other marks (2020/01/02, EXIF's 2020:01:02) and mail's dates (Thu, 02 Jan 2020 …).
    What tells no whole day (2020, 2020-05, 02.01.2020) is left as it is.
    """
    text = (said or "").strip()
    plain = _MARKED.sub(r"\1-\2-\3", text)
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            when = read(plain)
            return (when.astimezone(UTC) if when.tzinfo else when).date().isoformat()
        except (ValueError, OverflowError):
            continue
    return text or None


def with_key(frame: Any) -> Any:
    """Add `key`: a hash of all that the input says of a row, each column's seeded by the one before."""
    module = daft()
    key = module.lit(0).cast(module.DataType.uint64())
    for name in (*_READ, *(["image"] if "image" in frame.column_names else [])):
        empty = module.lit(b"" if name == "image" else "")
        said = module.col(name) if name == "image" else module.col(name).cast(module.DataType.string())
        key = module.functions.coalesce(said, empty).hash(seed=key)
    return frame.with_column("key", key)


def judged(frame: Any, steps: Sequence[RowStep], context: Context, batch_rows: int) -> Any:
    """Return the query with `steps` applied, batch by batch; without steps, as it is."""
    if not steps:
        return frame
    module = daft()
    names = [name for name in (*SCHEMA.names, "image") if name in frame.column_names]

    def judge(batch: Any) -> Any:
        return judge_rows(batch.to_arrow(), steps, context)

    wrapped = module.func.batch(return_dtype=module.DataType.struct(_types()), unnest=True, batch_size=batch_rows)(
        judge
    )
    return frame.select(wrapped(module.functions.to_struct(*[module.col(name) for name in names])))


def judge_rows(batch: pa.Array, steps: Sequence[RowStep], context: Context) -> pa.Array:
    """Apply steps in order to rows that are still in; returns rows with all columns of `SCHEMA`."""
    empty = dict.fromkeys(SCHEMA.names)
    rows: list[dict[str, Any]] = [{**empty, **row} for row in batch.to_pylist()]
    left = rows
    with _ONE_BATCH:
        suspected = suspects(Path(context.packs))
        for step in steps:
            if not left:
                break
            staying = []
            for row, drop in zip(left, _apply(step, left, context, suspected), strict=True):
                if drop is None:
                    staying.append(row)
                else:
                    row.update(step=step.name, reason=drop.reason, score=drop.score)
            left = staying
    for row in rows:
        row.pop("image", None)
    return pa.array(rows, type=pa.struct(list(SCHEMA)))


def _apply(step: RowStep, rows: Sequence[Row], context: Context, suspected: set[int]) -> list[Drop | None]:
    """Apply a step; rows that were under way when a process died are judged apart from the others."""
    with under_way(Path(context.packs), rows):
        apart = [row["key"] in suspected for row in rows]
        if not any(apart):
            return apply_guarded(step, rows, context)
        died = iter(apply_apart(step, [row for row, alone in zip(rows, apart, strict=True) if alone], context))
        others = [row for row, alone in zip(rows, apart, strict=True) if not alone]
        lived = iter(apply_guarded(step, others, context) if others else ())
        return [next(died) if alone else next(lived) for alone in apart]


def first_query(
    partition: Partition, columns: Columns, steps: Sequence[RowStep], context: Context, batch_rows: int
) -> list[Any]:
    """Return the queries of the first phase: what goes through the steps and, where it is recorded, what keywords drop.

    A keyword filter that comes first is Daft's own; all others see only what it leaves.
    """
    module = daft()
    frame = read_input(partition, columns)
    if not steps or not isinstance(steps[0], Keywords):
        return [_whole(judged(with_key(frame), steps, context, batch_rows))]
    words, caption = steps[0], module.col("caption")
    matches = module.functions.regexp(caption, words.regex)
    kept = _whole(judged(with_key(frame.where(matches)), steps[1:], context, batch_rows))
    if not words.record:
        return [kept]
    lit = module.lit
    dropped = with_key(frame.where(caption.is_null() | ~matches))
    reason = module.functions.when(caption.is_null(), lit("no caption")).otherwise(lit("no keyword"))
    dropped = dropped.with_columns({"step": lit(words.name), "reason": reason})
    return [kept, _whole(dropped)]


def next_query(rows: str, decided: pa.Table, steps: Sequence[RowStep], context: Context, batch_rows: int) -> Any:
    """Return the query of a later phase: rows of the phase before that are still in, through the next steps."""
    module = daft()
    frame = module.read_parquet(f"{rows}/*.parquet")
    frame = frame.where(module.col("step").is_null())
    if decided.num_rows:
        out = module.from_arrow(decided.select(["key"]))
        frame = frame.join(out, on="key", how="anti")
    return _whole(judged(frame, steps, context, batch_rows))


def count_by_source(partition: Partition, columns: Columns) -> list[tuple[str, int, int]]:
    """Return (source, rows, rows without a caption) of a partition's input."""
    captions = [piece.nulls for piece in partition.pieces]
    if "source" not in partition.columns and None not in captions:
        return [(partition.source, partition.rows, sum(nulls or 0 for nulls in captions))]
    module = daft()
    frame = read_input(partition, columns).select(
        "source", module.col("caption").is_null().cast(module.DataType.int64()).alias("nulls")
    )
    counted = frame.groupby("source").agg(
        module.col("nulls").count().alias("rows"), module.col("nulls").sum().alias("nulls")
    )
    found = counted.to_pydict()
    return sorted(zip(found["source"], found["rows"], found["nulls"], strict=True))


def write(frame: Any, folder: Path) -> None:
    """Run a query and write what it gives as Parquet files into a folder."""
    frame.write_parquet(str(folder), compression="zstd")


def _whole(frame: Any) -> Any:
    """Bring a query to all columns of `SCHEMA`, in order."""
    module = daft()
    there = set(frame.column_names)
    return frame.select(
        *[
            (module.col(name) if name in there else module.lit(None)).cast(kind).alias(name)
            for name, kind in _types().items()
        ]
    )


def _types() -> dict[str, Any]:
    module = daft()
    return {field.name: module.DataType.from_arrow_type(field.type) for field in SCHEMA}
