"""What an enemy, or an editor, does to a file: to content by its structure, to tables by columns, to bytes."""

from __future__ import annotations

import copy
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st

_DEEP: Any = None
for _ in range(300):
    _DEEP = [_DEEP]
#: Values that something somewhere is not ready for.
HOSTILE: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, -0.0, 1e308, float("nan"), float("inf"), "", " ", "\0", "nan",
    "../../../etc/passwd", "/dev/zero", "/vsicurl/http://127.0.0.1:9/x", "x" * 100_000, "é" * 300,
    [], [[]], {}, {"": ""}, [None], ["a", 1], {"a": {"b": []}}, _DEEP, "2020-13-45", "<script>", "{0}", "%s", 1.5,
)  # fmt: skip
Path_ = tuple[Any, ...]


def places(content: Any, at: Path_ = ()) -> Iterator[Path_]:
    """Yield the path of every value in plain content."""
    yield at
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, item in items:
        yield from places(item, (*at, key))


def _changed(content: Any, at: Path_, how: str, value: Any) -> Any:
    if not at:
        return value
    changed = copy.deepcopy(content)
    holder = changed
    for key in at[:-1]:
        holder = holder[key]
    match how:
        case "drop":
            del holder[at[-1]]
        case "wrap":
            holder[at[-1]] = [holder[at[-1]]]
        case "twice" if isinstance(holder, list):
            holder.append(copy.deepcopy(holder[at[-1]]))
        case "rename" if isinstance(holder, dict):
            holder[f"{at[-1]}_"] = holder.pop(at[-1])
        case _:
            holder[at[-1]] = value
    return changed


@st.composite
def contents(draw: st.DrawFn, content: Any) -> Any:
    """Change one to three places of plain content."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(list(places(content))))
        how = draw(st.sampled_from(("put", "put", "put", "drop", "wrap", "twice", "rename")))
        content = _changed(content, at, how, draw(st.sampled_from(HOSTILE)))
    return content


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Damage bytes: cut, flip, insert, or put something else in their place."""
    how = draw(st.sampled_from(("cut", "flip", "flip", "insert", "other")))
    place = draw(st.integers(0, max(len(data) - 1, 0)))
    if how == "cut":
        return data[:place]
    if how == "flip":
        changed = bytearray(data)
        for _ in range(draw(st.integers(1, 8))):
            changed[draw(st.integers(0, len(data) - 1))] ^= draw(st.integers(1, 255))
        return bytes(changed)
    if how == "insert":
        return data[:place] + draw(st.binary(min_size=1, max_size=30)) + data[place:]
    return draw(
        st.sampled_from(
            (
                b"",
                b"\0" * 1000,
                b"PAR1",
                b"\x1f\x8b\x08\0",
                b"<html>",
                b"{",
                b"[" * 50_000,
                b"version https://git-lfs\n",
            )
        )
    )


_TYPES: tuple[pa.DataType, ...] = (
    pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float64(), pa.bool_(), pa.binary(), pa.large_string(),
    pa.string_view(), pa.dictionary(pa.int32(), pa.string()), pa.timestamp("ns"), pa.date32(), pa.duration("s"),
    pa.decimal128(20, 3), pa.null(),
    pa.list_(pa.string()), pa.struct([("a", pa.int64())]), pa.list_(pa.float32(), 3), pa.map_(pa.string(), pa.string()),
)  # fmt: skip


def _made_up(kind: pa.DataType, rows: int) -> pa.Array:
    """Return `rows` values of a type, not all of them null where that is simple."""
    try:
        return pa.array([1] * rows, pa.int64()).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        pass
    try:
        return pa.array(["a"] * rows, pa.string()).cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return pa.nulls(rows, kind)


@st.composite
def tables(draw: st.DrawFn, table: pa.Table) -> pa.Table:
    """Change one to three columns, cells or rows of a table."""
    for _ in range(draw(st.integers(1, 3))):
        if not table.num_columns:
            break
        number = draw(st.integers(0, table.num_columns - 1))
        name, column = table.schema.names[number], table.column(number)
        how = draw(
            st.sampled_from(
                ("type", "type", "null", "cell", "cell", "drop", "rename", "twice", "rows", "none", "again")
            )
        )
        match how:
            case "type":
                kind = draw(st.sampled_from(_TYPES))
                table = table.set_column(number, name, _made_up(kind, len(table)))
            case "null" | "cell" if len(table):
                value = None if how == "null" else draw(st.sampled_from(HOSTILE))
                values = column.to_pylist()
                values[draw(st.integers(0, len(table) - 1))] = value
                try:
                    table = table.set_column(number, name, pa.array(values, column.type))
                except (pa.ArrowException, OverflowError, TypeError, ValueError):
                    continue
            case "drop":
                table = table.remove_column(number)
            case "rename":
                table = table.rename_columns([f"{n}_" if n == name else n for n in table.schema.names])
            case "twice":
                table = table.append_column(name, column)
            case "rows":
                table = pa.concat_tables([table, table.slice(0, 1)])
            case "none":
                table = table.slice(0, 0)
            case _:
                table = table.append_column(f"more {number}", column)
    return table


def write_table(path: Path, table: pa.Table) -> bool:
    """Write a table as Parquet; false where Parquet has no such type."""
    try:
        pq.write_table(table, path)
    except (pa.ArrowException, NotImplementedError):
        return False
    return True


def write_json(path: Path, content: Any) -> None:
    """Write content as JSON, numbers that JSON has not among it."""
    path.write_text(json.dumps(content), encoding="utf-8")


#: What may stand where a file should be.
KINDS = ("pipe", "folder", "loop", "dangling", "device", "sparse", "unreadable name")


def put(kind: str, path: Path) -> None:
    """Put something that is no such file in the place of one."""
    path.unlink(missing_ok=True)
    match kind:
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
        case "loop":
            path.symlink_to(path)
        case "dangling":
            path.symlink_to(path.parent / "nowhere" / "at all")
        case "device" if os.geteuid() == 0:
            os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # a device of its own: nobody else's is at stake
        case "device":
            path.symlink_to("/dev/zero")
        case "sparse":
            with path.open("wb") as file:
                file.truncate(5 * 1024**3)
        case _:
            path.write_bytes(b"\xff\xfe\xfd" * 100)
