"""Reading CSV strictly: each row by its line, and nothing swallowed by a quote that is left open."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.ground.errors import InputError
from chorograph.ground.files import MAX_TABLE, check_regular
from chorograph.ground.image_formats import EXTENSIONS

if TYPE_CHECKING:
    import pandas as pd

#: Characters of a field; longer ones are what an open quote makes of a large file.
MOST = 131_072
#: A line inside a quoted field that begins like a row about an image: the quote before it was never closed.
_ROW_INSIDE = re.compile(rf"\n[^\n,\t;]*\.(?:{'|'.join(EXTENSIONS)})[\"']?[,\t;]", re.IGNORECASE)


def read_cells(path: Path, delimiter: str = ",") -> pd.DataFrame:
    """Return a table of text (UTF-8) with every cell as it stands there, an empty one as "".

    Raises `InputError` naming the file: it does not exist, is a pipe or too large, is no such table, or a row has more
    cells than there are columns.
    """
    import pandas as pd

    check_regular(path, MAX_TABLE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # cells beyond the last column would be lost, and told by a warning alone
            return pd.read_csv(
                path, sep=delimiter, index_col=False, dtype=str, keep_default_na=False, encoding="utf-8-sig"
            )
    except (OSError, ValueError, Warning) as error:
        raise InputError(f"{path} cannot be read as a table: {str(error).strip()}") from error


@dataclass(frozen=True)
class CsvRow:
    """A row: the line it begins at (from 1), its values by column, and what stands beyond the last column."""

    line: int
    values: dict[str, str]
    surplus: tuple[str, ...] = ()


def read_csv_rows(lines: Iterable[str], path: Path, delimiter: str = ",") -> tuple[list[str], Iterator[CsvRow]]:
    """Return the columns of a CSV text and its rows; a row that is too short lacks its last columns.

    Raises `InputError` for two columns of one name, and naming file and line: a quote that is not closed, goes on after
    its end, or has rows of images inside; a field of more than `MOST` characters.
    """
    csv.field_size_limit(MOST)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    header = next((fields for fields in iter(lambda: _next(reader, path), None) if any(map(str.strip, fields))), [])
    columns = [name.strip() for name in header]
    if twice := next((name for name in columns if name and columns.count(name) > 1), None):
        raise InputError(f"{path}: two columns are called {twice!r}; rename one, or take it out")
    return columns, _rows(reader, columns, path, delimiter)


def _rows(reader: Any, columns: list[str], path: Path, delimiter: str) -> Iterator[CsvRow]:
    while True:
        line = reader.line_num + 1
        fields = _next(reader, path)
        if fields is None:
            return
        if any(_ROW_INSIDE.search(field) or _holds_row(field, fields[0], delimiter) for field in fields):
            raise InputError(f"{path}, row {line}: a quote is left open and takes in the rows after it; close it")
        surplus = tuple(fields[len(columns) :])
        if fields:
            yield CsvRow(line, dict(zip(columns, fields, strict=False)), surplus if any(surplus) else ())


def _holds_row(field: str, first: str, delimiter: str) -> bool:
    """Whether a line inside a field begins with a cell like the row's own first one, where that is numbered."""
    starts = (line.partition(delimiter) for line in field.split("\n")[1:])
    return any(mark and "0" in _shape(first) and _shape(cell) == _shape(first) for cell, mark, _ in starts)


def _shape(cell: str) -> str:
    """Return a cell with each number as 0 and each word as a: `IMG_0012` and `IMG_7` are both `a_0`."""
    return re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "a", cell.strip()))


def _next(reader: Any, path: Path) -> list[str] | None:
    line = reader.line_num + 1
    try:
        return next(reader, None)
    except csv.Error as error:
        said = str(error)
        if "field limit" in said:
            said = f"a field has more than {MOST:,} characters; is a quote left open?"
        elif "unexpected end" in said:
            said = "a quote is left open to the end of the file; close it, or double quotes inside a text"
        elif "expected after" in said:
            said = "a text goes on after its closing quote; double quotes inside a text, or close one left open before"
        raise InputError(f"{path}, row {line}: {said}") from None
