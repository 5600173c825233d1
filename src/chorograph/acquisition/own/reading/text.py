"""Delimited text of any common encoding and separator, as records that know the line they begin at."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from chorograph.ground.errors import InputError

#: Larger tables of text are refused before they are read; Parquet has no such bound.
MOST_BYTES = 2 * 1024**3
#: A table of more columns is not read: Census tables have hundreds, vectors of models a thousand.
MOST_COLUMNS = 5_000
#: What may part cells, the likeliest first; Excel writes `;` where the comma is the decimal sign.
SEPARATORS = (",", ";", "\t", "|")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HIGH = re.compile(rb"[\x80-\xff]+")
#: Other things that are taken for tables, by how they begin.
_STRANGERS = (
    (b"PK\x03\x04", "a zip archive or an Excel workbook; an Excel workbook is named .xlsx"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; name it .xls"),
    (b"PAR1", "Parquet; name it .parquet"),
    (b"SQLite format 3", "a GeoPackage or another SQLite file; name it .gpkg"),
    (b"%PDF", "a PDF"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; run `git lfs pull`"),
)
_WEB_PAGES = (b"<!doctype html", b"<html")


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
    skipped = 0
    if named := re.match(r"sep=(.)\r?\n", text):  # Excel's own hint
        separator, skipped = separator or named[1], 1
        text = text[named.end() :]
    separator = separator or _separator(text, path)
    records = _records(path, text, separator, skipped)
    _, header = next(records, (1, []))
    if not any(cell.strip() for cell in header):
        raise InputError(f"{path} holds no table: its first line names no columns")
    names = [name.strip() for name in header]
    rows, lines = [], []
    for line, cells in records:
        if len(cells) > len(names) and not any(cell.strip() for cell in cells[len(names) :]):
            cells = cells[: len(names)]  # a comma at the end of the line
        if len(cells) != len(names):
            raise InputError(
                f"{path}: line {line} has {len(cells)} cells, the header {len(names)}: {separator.join(cells)[:80]!r}; "
                "quote cells that hold the separator, and fill short lines up"
            )
        rows.append(cells)
        lines.append(line)
    kept = _named(path, names, rows)
    if len(kept) < len(names):
        rows = [[cells[column] for column in kept] for cells in rows]
    return Records([names[column] for column in kept], rows, lines, encoding, separator)


def decoded(path: Path, data: bytes, encoding: str | None) -> tuple[str, str]:
    """Return a file's text and the encoding that was taken; `InputError` where it is no text, or not of `encoding`."""
    for mark, what in _STRANGERS:
        if data.startswith(mark):
            raise InputError(f"{path} is not a table of text: it is {what}")
    if data[:512].lstrip().lower().startswith(_WEB_PAGES):
        raise InputError(f"{path} is a web page, not a table: open it, it may say why the download failed")
    found = encoding or next((name for mark, name in _MARKS if data.startswith(mark)), None)
    if found is None and b"\0" in data[:4096]:
        found = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be" if data[:1] == b"\0" else None
        if found is None:
            raise InputError(f"{path} is not a table of text: it holds NUL bytes")
    try:
        return data.decode(found or "utf-8"), found or "utf-8"
    except LookupError:
        raise InputError(f"there is no encoding named {found!r}; known are utf-8, cp1252, gb18030, …") from None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        if found is not None:
            raise InputError(f"{path}: line {line} is not {found}: {error.reason}; say another --encoding") from None
    return _guessed(path, data, line)


def _guessed(path: Path, data: bytes, line: int) -> tuple[str, str]:
    """Decode what is not UTF-8: Chinese stands in pairs of high bytes, Western European letters stand alone."""
    runs = [len(run) for run in _HIGH.findall(data)]
    for name, fits in (("gb18030", all(run % 2 == 0 for run in runs)), ("cp1252", max(runs) <= 3)):
        if fits:
            try:
                return data.decode(name), name
            except UnicodeDecodeError:
                continue
    raise InputError(
        f"{path}: line {line} is not UTF-8; save the file as UTF-8, or say its --encoding (gb18030, cp1251…)"
    )


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
            raise InputError(f"{path}: column {column + 1} holds values but has no name in the header")
    known: dict[str, int] = {}
    for column in kept:
        if names[column] in known:
            raise InputError(
                f"{path}: columns {known[names[column]] + 1} and {column + 1} are both called {names[column]!r}; "
                "rename one"
            )
        known[names[column]] = column
    return kept
