"""A user's table: text as it stands (`007` stays `007`), the true place of every cell, and errors that name it."""

from __future__ import annotations

import html
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.acquisition.own.own_settings import Reading
from chorograph.acquisition.own.reading.text import UNNAMED, count_rows, plain, read_records
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.file_sorts import head_of, sort_of
from chorograph.ground.files import check_row_count

if TYPE_CHECKING:
    import geopandas as gpd

PARQUET = (".parquet", ".geoparquet", ".pq")
WORKBOOKS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
#: Files of features: their attributes are a table, their geometries places.
FEATURES = (
    ".geojson", ".geojsonl", ".geojsons", ".topojson", ".json", ".gpkg", ".shp", ".fgb", ".gml", ".kml", ".kmz",
    ".zip", ".gdb", ".tab", ".gpx",
)  # fmt: skip
_TEXT = (".csv", ".tsv", ".txt", ".tab", ".gz")


@dataclass(frozen=True)
class OwnTable:
    """A table of the user's: its cells, and what is called which row.

    `frame`: columns of text (None where empty), or of numbers where the file types them. `lines`: (n,) the line,
    sheet row or number of each row, called `unit`. `geometry`: its places in EPSG:4326, where the file has them.
    `notes`: what was taken for granted, for the user to know. `separator`: what parts the cells of a table of text.
    """

    path: Path
    frame: pd.DataFrame
    lines: NDArray[np.int64]
    unit: str = "line"
    geometry: gpd.GeoSeries | None = None
    reading: Reading = field(default_factory=Reading)
    notes: tuple[str, ...] = ()
    separator: str = ""

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def columns(self) -> list[str]:
        """The names of the columns."""
        return [str(name) for name in self.frame.columns]

    def line(self, bad: Any) -> str:
        """Name the first row where `bad` holds, and how many there are."""
        rows = np.flatnonzero(np.asarray(bad, dtype=bool))
        more = f" and {len(rows) - 1} more" if len(rows) > 1 else ""
        return f"{self.unit} {self.lines[rows[0]]}{more}"

    def find(self, names: Sequence[str]) -> str | None:
        """Return the first column that is called by one of `names`, whatever its case; exact spelling wins."""
        for name in names:
            if name in self.frame.columns:
                return name
        folded = {column.strip().lower().replace(" ", "_"): column for column in reversed(self.columns)}
        return next((folded[name.lower()] for name in names if name.lower() in folded), None)

    def need(self, names: Sequence[str]) -> str:
        """Return the column that is called by one of `names`; an error with near misses where there is none."""
        if (found := self.find(names)) is not None:
            return found
        raise UnknownNameError.of(f"column of {self.path}", names[0], self.columns)

    def near(self, name: str) -> str | None:
        """Return the column whose name is most like `name`, None where none is."""
        found = get_close_matches(name, [column.lower() for column in self.columns], n=1, cutoff=0.6)
        return next((column for column in self.columns if column.lower() in found), None)

    def text(self, column: str) -> pd.Series[Any]:
        """Return a column as text without blanks around it; None where a cell is empty."""
        return pd.Series([as_text(value) for value in self.frame[column]], index=self.frame.index, dtype=object)

    def filled(self, column: str) -> pd.Series[Any]:
        """Return a column as text; an empty cell, or one that holds several values, is an error that names it."""
        if (nested := self.frame[column].map(is_nested)).any():
            raise InputError(f"{self.path}: {column} holds several values in {self.line(nested)}; give one a row")
        values = self.text(column)
        if values.isna().any():
            raise InputError(f"{self.path}: {column} is empty in {self.line(values.isna())}")
        return values

    def noting(self, *notes: str) -> OwnTable:
        """Return the table with notes added."""
        return replace(self, notes=(*self.notes, *notes))


def read_table(path: Path, reading: Reading | None = None, *, layer: str | None = None) -> OwnTable:
    """Read a table of any kind: text, Excel, Parquet, or features with their places.

    Raises `InputError` that names the file, and where it is one cell or record its line too.
    """
    reading = reading or Reading()
    suffix = path.suffix.lower()
    if not path.exists():
        raise InputError(f"{path} does not exist")
    if suffix in PARQUET:
        table = _read_parquet(path)
    elif suffix in WORKBOOKS:
        table = _read_workbook(path, reading.sheet)
    elif (suffix in FEATURES and suffix not in _TEXT) or path.is_dir():
        table = _read_features(path, layer)
    else:
        table = _read_text(path, reading)
    return _without_row_numbers(replace(table, reading=reading))


def _without_row_numbers(table: OwnTable) -> OwnTable:
    """Return a table without the column of row numbers that pandas and R write first, and call nothing."""
    if table.columns[:1] != [UNNAMED] or not count_rows(table.text(UNNAMED).tolist()):
        return table
    note = f"{table.path.name}: the first column has no name and numbers the rows; it was left out"
    return replace(table.noting(note), frame=table.frame.drop(columns=UNNAMED))


def _read_text(path: Path, reading: Reading) -> OwnTable:
    records = read_records(path, encoding=reading.encoding)
    frame = pd.DataFrame(records.rows, columns=records.header, dtype=object)
    table = OwnTable(path, frame, np.asarray(records.lines, dtype=np.int64), separator=records.separator)
    if reading.encoding is None and not records.encoding.startswith("utf-8"):
        table = table.noting(f"{path.name} was read as {records.encoding}; say another with --encoding")
    return table


def _read_parquet(path: Path) -> OwnTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            check_row_count(path, file.metadata.num_rows)
            if b"geo" in (file.schema_arrow.metadata or {}):
                return _read_features(path, None)
            frame = file.read().to_pandas()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet: {error}") from error
    if frame.index.name is not None:  # pandas keeps an index that has a name apart
        frame = frame.reset_index()
    return OwnTable(path, _named(path, frame), np.arange(1, len(frame) + 1), "row")


def _read_features(path: Path, layer: str | None) -> OwnTable:
    from chorograph.acquisition.own.reading.features import read_features

    features = read_features(path, layer=layer)
    frame = _named(path, pd.DataFrame(features.drop(columns=features.geometry.name)))
    places = features.geometry.reset_index(drop=True)
    return OwnTable(path, frame, np.arange(1, len(frame) + 1), "feature", places)


def _read_workbook(path: Path, sheet: str | None) -> OwnTable:
    import python_calamine

    try:
        with python_calamine.CalamineWorkbook.from_path(str(path)) as book:
            filled = [name for name in book.sheet_names if book.get_sheet_by_name(name).height > 0]
            if sheet is not None and sheet not in book.sheet_names:
                raise UnknownNameError.of(f"sheet of {path}", sheet, book.sheet_names)
            if sheet is None and len(filled) > 1:
                raise InputError(f"{path} holds several sheets: {', '.join(filled)}; choose one with --sheet")
            if not filled:
                raise InputError(f"{path} holds no filled sheet")
            rows = book.get_sheet_by_name(sheet or filled[0]).to_python(skip_empty_area=False)
    except (OSError, python_calamine.CalamineError) as error:
        begin = head_of(path)
        sort = sort_of(path) if begin.startswith((b"<", b"PK")) or b"\0" in begin else "text: name it .csv, or .tsv"
        sort = "a web page, saved under a workbook's name" if begin.startswith(b"<table") else sort
        raise InputError(f"{path} cannot be read as a workbook: {f'it is {sort}' if sort else error}") from error
    table = _of_sheet(path, rows)
    if errors := _error_cells(path, sheet or filled[0]):
        shown = ", ".join(errors[:5]) + (", …" if len(errors) > 5 else "")
        table = table.noting(f"{path.name}: {len(errors)} cells hold errors of formulas, taken as missing ({shown})")
    return table


def _error_cells(path: Path, sheet: str) -> list[str]:
    """Return the cells (`B4`) of a sheet of an .xlsx that hold errors (#REF!), which its reader gives as empty."""
    if not zipfile.is_zipfile(path):
        return []
    with zipfile.ZipFile(path) as book:
        if not {"xl/workbook.xml", "xl/_rels/workbook.xml.rels"} <= set(book.namelist()):
            return []
        content, links = (book.read(f"xl/{name}").decode() for name in ("workbook.xml", "_rels/workbook.xml.rels"))
        ids = {html.unescape(_said(tag, "name")): _said(tag, "r:id") for tag in re.findall(r"<sheet\b[^>]*>", content)}
        files = {_said(tag, "Id"): _said(tag, "Target") for tag in re.findall(r"<Relationship\b[^>]*>", links)}
        member = f"xl/{files.get(ids.get(sheet, ''), '').removeprefix('/xl/')}"
        if member not in book.namelist():
            return []
        return [_said(cell, "r") for cell in re.findall(r'<c\b[^>]*\bt="e"[^>]*>', book.read(member).decode())]


def _said(tag: str, attribute: str) -> str:
    found = re.search(rf'\s{attribute}="([^"]*)"', tag)
    return found[1] if found else ""


def _of_sheet(path: Path, rows: list[list[Any]]) -> OwnTable:
    held = [number for number, row in enumerate(rows) if any(as_text(cell) is not None for cell in row)]
    if not held:
        raise InputError(f"{path} holds no table: its sheet is empty")
    names = [as_text(cell) for cell in rows[held[0]]]
    if names[0] is None and count_rows([as_text(rows[number][0]) for number in held[1:]]):
        names[0] = UNNAMED
    kept = [column for column, name in enumerate(names) if name is not None]
    body = [[rows[number][column] for column in kept] for number in held[1:]]
    for column in set(range(len(names))) - set(kept):
        if any(as_text(rows[number][column]) is not None for number in held[1:]):
            raise InputError(
                f"{path}: column {column + 1} holds values but has no name in row {held[0] + 1}; where the names stand "
                "further down, remove the rows above them"
            )
    frame = _named(path, pd.DataFrame(body, columns=[names[column] for column in kept], dtype=object))
    return OwnTable(path, frame, np.asarray(held[1:], dtype=np.int64) + 1, "row")


def _named(path: Path, frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose columns are called by text, each by its own; `InputError` for two of one name."""
    frame = frame.reset_index(drop=True)
    frame.columns = pd.Index([plain(str(name)) for name in frame.columns])
    if (twice := frame.columns.duplicated()).any():
        raise InputError(f"{path}: two columns are called {frame.columns[twice][0]!r}; rename one")
    return frame


def is_nested(cell: Any) -> bool:
    """Whether a cell of a Parquet table holds a list, or fields of its own."""
    return isinstance(cell, list | tuple | dict | np.ndarray)


def as_text(value: Any) -> str | None:
    """Return a cell as text: a whole number without `.0`, an empty one as None."""
    if isinstance(value, str):
        return plain(value) or None
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, bytes):
        return plain(value.decode("utf-8", "replace")) or None
    if isinstance(value, float | np.floating):
        number = float(value)
        if np.isnan(number):
            return None
        return str(int(number)) if number.is_integer() and abs(number) < 1e15 else repr(number)
    return str(value)
