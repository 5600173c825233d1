"""The input in partitions: row groups of Parquet files, checked before anything runs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from chorograph.curation.run.plan import Columns
from chorograph.ground.errors import InputError
from chorograph.ground.file_sorts import sort_of
from chorograph.ground.hashes import content_hash
from chorograph.ground.settings import placed

#: The types that a column may have.
_TEXT = (pa.types.is_string, pa.types.is_large_string)
_NUMBER = (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal)
_BYTES = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
_TIME = (*_TEXT, pa.types.is_timestamp, pa.types.is_date)
#: Names may be numbers, as categories of pandas often are.
_NAME = (*_TEXT, pa.types.is_integer, pa.types.is_boolean)
_KINDS = {
    "caption": (_TEXT, "text"),
    "url": (_TEXT, "text"),
    "source": (_NAME, "text"),
    "licence": (_NAME, "text"),
    "lon": (_NUMBER, "numbers"),
    "lat": (_NUMBER, "numbers"),
    "captured": (_TIME, "text or times"),
    "image": (_BYTES, "bytes"),
}


@dataclass(frozen=True)
class Piece:
    """Some row groups of one file."""

    path: str
    groups: tuple[int, ...]
    rows: int
    nulls: int | None  # captions that are null, where the file says it
    types: tuple[tuple[str, str], ...] = ()  # of the columns that the file has, by our names


@dataclass(frozen=True)
class Partition:
    """What one query goes through: some row groups of the files of one input."""

    number: int
    source: str
    pieces: tuple[Piece, ...]
    identity: str  # changes when the content of a file does
    columns: tuple[str, ...]  # the columns that one of its files has, by our names

    @property
    def rows(self) -> int:
        """How many rows it holds."""
        return sum(piece.rows for piece in self.pieces)


def find_partitions(
    inputs: Sequence[str], columns: Columns, partition_rows: int, drop: Callable[[str], None] = lambda reason: None
) -> list[Partition]:
    """Return the partitions of inputs; each is `PATH` or `SOURCE=PATH` of a Parquet file or a folder of them.

    A partition holds whole row groups, about `partition_rows` rows, of one input: another input leaves it as it is. A
    column that only some files have is empty in the others; a file without rows is passed over, and `drop` is told of
    hidden ones. Raises `InputError` naming the file that is missing, damaged, or has a column in another type, and for
    a column that no file has.
    """
    lacking: dict[str, str] = {}
    met: set[str] = set()
    partitions: list[Partition] = []
    seen: set[Path] = set()
    copies: Counter[str] = Counter()
    for text in inputs:
        source, path = _named(text)
        pieces: list[Piece] = []
        described: list[str] = []
        for file in _files(path, drop):
            if file.resolve() in seen:
                raise InputError(f"{file} is given twice; name it once")
            seen.add(file.resolve())
            metadata, schema = _open(file)
            if not metadata.num_rows:
                continue
            types = _check(schema, columns, file, lacking)
            met |= {ours for ours, _ in types}
            content = content_hash(file)
            copies[content] += 1  # a copy of a file is another part of the input
            for piece in (replace(cut, types=types) for cut in _cut(file, metadata, columns.caption, partition_rows)):
                if pieces and sum(p.rows for p in pieces) + piece.rows > partition_rows:
                    partitions.append(_partition(len(partitions), source, pieces, described))
                    pieces, described = [], []
                pieces.append(piece)
                described.append(f"{content}:{copies[content]}:{piece.groups}")
        if pieces:
            partitions.append(_partition(len(partitions), source, pieces, described))
    if unmet := next((said for ours, said in lacking.items() if ours not in met), None):
        raise InputError(unmet)
    if not partitions:
        raise InputError("there is nothing to read: --in names no Parquet file with rows")
    return partitions


def _partition(number: int, source: str, pieces: list[Piece], described: list[str]) -> Partition:
    held = {ours for piece in pieces for ours, _ in piece.types}
    columns = tuple(ours for ours in _KINDS if ours in held)
    identity = hashlib.sha256(json.dumps([source, described, columns]).encode()).hexdigest()[:16]
    return Partition(number, source, tuple(pieces), identity, columns)


def _named(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    if equals and not Path(text).exists():
        return name, Path(path).expanduser()
    return Path(text).stem, Path(text).expanduser()


def placed_input(text: str) -> str:
    """Return an input as it is named from any folder: `SOURCE=PATH`, the path absolute."""
    source, path = _named(text)
    return f"{source}={placed(path)}"


def _files(path: Path, drop: Callable[[str], None]) -> list[Path]:
    if path.is_file():
        return [path]
    pattern = any(mark in str(path) for mark in "*?[")
    # The pattern may be absolute, and may have a star in any part of it.
    found = sorted(map(Path, glob(str(path), recursive=True)) if pattern else path.rglob("*.parquet"))  # noqa: PTH207
    if pattern:
        found = [file for match in found for file in (sorted(match.rglob("*.parquet")) if match.is_dir() else [match])]
    if not pattern:
        # Hadoop's rule: what Spark has not committed, and what systems leave.
        shown = [file for file in found if not any(part[0] in "._" for part in file.relative_to(path).parts)]
        for _ in range(len(found) - len(shown)):
            drop("hidden Parquet file (._NAME, _temporary/…)")
        found = shown
    if not found:
        raise InputError(f"{path} is neither a Parquet file nor a folder with some")
    return found


def _open(file: Path) -> tuple[pq.FileMetaData, pa.Schema]:
    try:
        with pq.ParquetFile(file) as opened:
            return opened.metadata, opened.schema_arrow
    except (pa.ArrowException, OSError) as error:
        what = sort_of(file)
        said = f"it is {what}" if what and "Parquet" not in what else f"{error}; leave it out or get it again"
        raise InputError(f"{file} is no whole Parquet file: {said}") from error


def _check(schema: pa.Schema, columns: Columns, file: Path, lacking: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return which of our columns a file has, and their types; what it lacks is written into `lacking`, with why."""
    if unread := next((f for f in schema if str(f.type) in ("string_view", "binary_view")), None):
        wanted = str(unread.type).partition("_")[0]
        raise InputError(f"{file}: column {unread.name!r} holds {unread.type}, unknown to Daft; cast to {wanted}")
    there = []
    for ours, (kinds, wanted) in _KINDS.items():
        name = getattr(columns, ours)
        if not name:
            continue
        if schema.names.count(name) > 1:
            raise InputError(f"{file} has two columns called {name!r}; rename one, or take it out")
        field = _field(schema, name)
        if field is None:
            if ours == "url" and columns.image and name == Columns.url:
                continue
            held = ", ".join(schema.names)
            said = f"{file} has no column {name!r} ({ours}); it has: {held}; name yours under `columns`"
            if any(part.startswith(f"{name}=") for part in file.parts):
                said += f"; {name}=… is a name of folders: give each as an --in of its own, --in SOURCE=FOLDER"
            if ours == "caption":
                raise InputError(said)
            lacking.setdefault(ours, said)
            continue
        kind = _plain_type(field.type)
        # A column without a value has no type: pandas and pyarrow write it as nulls.
        if not pa.types.is_null(kind) and not any(test(kind) for test in kinds):
            fields = f"{name}.{kind.field(0).name}" if pa.types.is_struct(kind) and kind.num_fields else ""
            raise InputError(
                f"{file}: column {name!r} ({ours}) holds {kind}, not {wanted}; write it anew as {wanted}, or name "
                f"another column under `columns`{f' (a field of it: {fields})' if fields else ''}"
            )
        there.append((ours, str(kind)))
    return tuple(there)


def _field(schema: pa.Schema, name: str) -> pa.Field | None:
    """Return a column by its name, or a field of a struct by STRUCT.FIELD."""
    if name in schema.names:
        return schema.field(name)
    first, _, rest = name.partition(".")
    kind = schema.field(first).type if rest and first in schema.names else None
    return _field(pa.schema(list(kind)), rest) if kind is not None and pa.types.is_struct(kind) else None


def _plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of the values: a dictionary (pandas' categories) is a way to store them."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _cut(file: Path, metadata: pq.FileMetaData, caption: str, most: int) -> list[Piece]:
    """Return a file's row groups in pieces of about `most` rows."""
    pieces: list[Piece] = []
    groups: list[int] = []
    place = [metadata.schema.column(i).path for i in range(metadata.num_columns)].index(caption)
    rows, nulls = 0, 0 if metadata.num_row_groups else None

    def close() -> None:
        if groups:
            pieces.append(Piece(str(file.resolve()), tuple(groups), rows, nulls))

    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        statistics = group.column(place).statistics
        if groups and rows + group.num_rows > most:
            close()
            groups, rows, nulls = [], 0, 0
        groups.append(number)
        rows += group.num_rows
        known = statistics is not None and statistics.has_null_count and nulls is not None
        nulls = nulls + statistics.null_count if known and nulls is not None else None
    close()
    return pieces
