"""Delimited text of any common encoding and separator, as records that know the line they begin at."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from chorograph.ground.decoding import decoded
from chorograph.ground.errors import InputError

#: Larger tables of text are refused before they are read; Parquet has no such bound.
MOST_BYTES = 2 * 1024**3
#: A table of more columns is not read: Census tables have hundreds, vectors of models a thousand.
MOST_COLUMNS = 5_000
#: What may part cells, the likeliest first; Excel writes `;` where the comma is the decimal sign.
SEPARATORS = (",", ";", "\t", "|")
#: What the first column is called where it has no name and numbers the rows (so pandas calls it).
UNNAMED = "Unnamed: 0"
#: Signs without width: marks of byte order, joiners and the like, as copied from web pages.
_INVISIBLE = "\ufeff\u200b\u200c\u200d\u200e\u200f\u2060"
_JSON = re.compile(r"\s*(?:\[\s*)?\{\s*\"")


@dataclass(frozen=True)
class Records:
    """A table of text: the names of its columns, and each record's cells with the line (from 1) it begins at."""

    header: list[str]
    rows: list[list[str]]
    lines: list[int]
    encoding: str
    separator: str


def read_records(path: Path, *, encoding: str | None = None, separator: str | None = None) -> Records:
    """Read a delimited file (`.gz` or not) whose first record names the columns.

    Blank records are left out. Raises `InputError` naming file and line: a record longer or shorter than the header, an
    open quotation mark, a column without a name or with that of another, bytes that are not text.
    """
    text, encoding = decoded(path, _read_bytes(path), encoding)
    if _JSON.match(text):
        raise InputError(f"{path} is JSON, not a delimited table: give CSV, Excel or Parquet, or features as .geojson")
    skipped = 0
    if named := re.match(r"sep=(.)\r?\n", text):  # Excel's own hint
        separator, skipped = separator or named[1], 1
        text = text[named.end() :]
    separator = separator or _separator(text, path)
    records = _records(path, text, separator, skipped)
    _, header = next(records, (1, []))
    if not any(cell.strip() for cell in header):
        raise InputError(f"{path} holds no table: its first line names no columns")
    names = [plain(name) for name in header]
    rows, lines = [], []
    for line, cells in records:
        if len(cells) > len(names) and not any(cell.strip() for cell in cells[len(names) :]):
            cells = cells[: len(names)]  # a comma at the end of the line
        if len(cells) != len(names):
            raise InputError(
                f"{path}: line {line} has {len(cells)} cells, the header {len(names)}: {separator.join(cells)[:80]!r}; "
                "quote cells that hold the separator, fill short lines up, and remove a title above the header"
            )
        rows.append(cells)
        lines.append(line)
    if not names[0] and count_rows([cells[0] for cells in rows]):
        names[0] = UNNAMED
    kept = _named(path, names, rows)
    if len(kept) < len(names):
        rows = [[cells[column] for column in kept] for cells in rows]
    return Records([names[column] for column in kept], rows, lines, encoding, separator)


def plain(cell: str) -> str:
    """Return text without blanks and signs without width around it, nor the `="…"` by which spreadsheets keep text."""
    cell = cell.strip().strip(_INVISIBLE).strip()
    return cell[2:-1].strip() if len(cell) > 3 and cell.startswith('="') and cell.endswith('"') else cell


def count_rows(cells: Sequence[str | None]) -> bool:
    """Whether a column only numbers the rows, from 0 or 1."""
    return cells[:1] in (["0"], ["1"]) and list(cells) == [str(k + int(str(cells[0]))) for k in range(len(cells))]


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise InputError(f"{path} does not exist" if not path.exists() else f"{path} is not a file")
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is larger than {MOST_BYTES >> 30} GiB; give it as Parquet")
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, EOFError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if len(data) > MOST_BYTES:
        raise InputError(f"{path} unpacks to more than {MOST_BYTES >> 30} GiB; give it as Parquet")
    return data


def _separator(text: str, path: Path) -> str:
    """Return the separator that parts the first lines into most cells, equally many in each."""
    if path.name.removesuffix(".gz").endswith((".tsv", ".tab")):
        return "\t"
    best, most = ",", 1
    for separator in SEPARATORS:
        try:
            widths = {len(cells) for _, cells in islice(_records(path, text[:1_000_000], separator, 0), 30)}
        except InputError:
            continue
        if len(widths) <= 2 and min(widths, default=0) > most:  # a line may end in a separator too many
            best, most = separator, min(widths)
    if most > 1:
        return best
    first = text.lstrip().partition("\n")[0]
    return max(SEPARATORS, key=first.count)


def _records(path: Path, text: str, separator: str, skipped: int) -> Iterator[tuple[int, list[str]]]:
    """Yield (line it begins at, cells) of every record that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    begins = 1 + skipped
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise InputError(f"{path}: line {begins}: {_reason(error)}") from error
        line, begins = begins, reader.line_num + 1 + skipped
        _check_width(path, cells)
        if any(cell.strip() for cell in cells):
            yield line, cells


def _check_width(path: Path, cells: list[str]) -> None:
    if len(cells) > MOST_COLUMNS:
        raise InputError(
            f"{path} has {len(cells):,} columns, and a table has {MOST_COLUMNS:,} at most; give those that are wanted, "
            "or one row a value (long)"
        )


def _reason(error: csv.Error) -> str:
    said = str(error)
    if "unexpected end" in said:
        return "a quotation mark opens here and is never closed"
    if "field larger" in said:
        return "a cell longer than 131,072 characters: is a quotation mark open?"
    if "expected after" in said:
        return "text goes on after a closing quotation mark; double the quotation marks inside a cell"
    return said


def _named(path: Path, names: list[str], rows: Iterable[list[str]]) -> list[int]:
    """Return the columns to keep: those with a name; a nameless one must be empty, and no two share a name."""
    kept = [column for column, name in enumerate(names) if name]
    for column in sorted(set(range(len(names))) - set(kept)):
        if any(cells[column].strip() for cells in rows):
            raise InputError(
                f"{path}: column {column + 1} holds values but has no name in the header; where the names stand "
                "further down, remove the lines above them"
            )
    known: dict[str, int] = {}
    for column in kept:
        if names[column] in known:
            raise InputError(
                f"{path}: columns {known[names[column]] + 1} and {column + 1} are both called {names[column]!r}; "
                "rename one"
            )
        known[names[column]] = column
    return kept
