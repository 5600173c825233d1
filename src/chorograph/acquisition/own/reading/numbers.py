"""Numbers as people write them: decimal commas, thousands, words and codes for missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chorograph.acquisition.own.reading.tables import OwnTable

#: Words that programs write for a missing number.
MISSING_WORDS = frozenset({"na", "n/a", "nan", "null", "none", "#n/a", "#na", "<na>"})
#: Codes that agencies and programs write for a missing number (US Census: -666666666 and its kin; fill values).
_CENSUS = frozenset(float(f"-{digit * 9}") for digit in "23456789")
CODES = frozenset({-999.0, -9999.0, -99999.0, -999999.0, -9999999.0, -32768.0, -2147483648.0})
#: No vector holds one of these.
SURE_CODES = np.array(sorted(_CENSUS | CODES), dtype=np.float32)
_SMALL_CODES = frozenset({-1.0, -9.0, -99.0})
#: No measurement of a region is as large.
FILL = 1e30
#: A repeated value is far off where all others would fit into its distance from them this often; one that looks like
#: a code (0, 9999, 88, the ends of 16 bits) where they fit once.
_FAR, _CODE_FAR = 10.0, 1.0
_CODE_LIKE = re.compile(r"0|-?(?:9{2,}|8{2,}|7{2,}|9{2,}\.9+)|65535|-3276[78]|-?2147483647")

_SIGN, _POWER, _GAP = r"[+-]?", r"(?:[eE][+-]?\d+)?", " '\u00a0\u2009\u202f’"
_NUMBER = {
    ".": re.compile(rf"{_SIGN}(?:\d{{1,3}}(?:[,{_GAP}]\d{{3}})+|\d*)(?:\.\d*)?{_POWER}"),
    ",": re.compile(rf"{_SIGN}(?:\d{{1,3}}(?:[.{_GAP}]\d{{3}})+|\d*)(?:,\d*)?{_POWER}"),
}
#: What only one decimal sign explains: too few or many digits behind it, thousands before it, thousands twice.
_ONLY = {
    sign: re.compile(
        rf"{_SIGN}(?:\d*{mark}(?:\d{{1,2}}|\d{{4,}})|(?:0|\d{{4,}}){mark}\d+|\d{{1,3}}(?:[{other}{_GAP}]\d{{3}})+{mark}\d+"
        rf"|\d{{1,3}}(?:{other}\d{{3}}){{2,}}|\d*{mark}\d+[eE].*)"
    )
    for sign, mark, other in ((".", r"\.", ","), (",", ",", r"\."))
}
_BOTH = {",": re.compile(rf"{_SIGN}\d{{1,3}},\d{{3}}"), ".": re.compile(rf"{_SIGN}\d{{1,3}}\.\d{{3}}")}
_NUMERIC = re.compile(rf"{_SIGN}[\d.,{_GAP}]*\d[\d.,{_GAP}]*{_POWER}")


def numbers(table: OwnTable, column: str, notes: list[str] | None = None, *, thousands: bool = True) -> pd.Series[Any]:
    """Return a column as float64, a missing cell as NaN.

    What was taken for granted (a decimal comma, a word for missing) is added to `notes`. Text and infinity are
    `InputError`s with file, line and column; so is a column that means one thing with points between thousands
    (where there may be any) and another with decimals.
    """
    values = table.frame[column]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        found = values.astype("float64")
    else:
        found = _from_text(table, column, table.text(column), notes, thousands)
    if (infinite := found.abs() == np.inf).any():
        raise InputError(f"{table.path}: {column} is infinite in {table.line(infinite)}; leave the cell empty")
    return found.where(~_asked_missing(table, found))


def whole_numbers(table: OwnTable, column: str) -> pd.Series[Any]:
    """Return a column of whole numbers as Int64; anything else is an error that names it."""
    text = table.text(column)
    filled = text.notna() & ~text.isin(table.reading.missing) & ~text.map(_is_missing_word)
    found = text.map(lambda cell: _number(cell, ".") if isinstance(cell, str) else np.nan).astype("float64")
    if (odd := filled & ~(found % 1 == 0)).any():
        raise InputError(
            f"{table.path}: {column} is {text[odd].iloc[0]!r} in {table.line(odd)}; {column} is a whole number"
        )
    return found.astype("Int64")


def _is_missing_word(cell: object) -> bool:
    return isinstance(cell, str) and cell.lower() in MISSING_WORDS


def is_textual(table: OwnTable, column: str) -> bool:
    """Whether no cell of a column is a number, in either way to write decimals, though some are filled."""
    values = table.frame[column]
    if pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values):
        return False
    if values.map(lambda cell: isinstance(cell, list | dict | np.ndarray)).any():
        return True
    filled = [cell for cell in table.text(column) if cell is not None and cell.lower() not in MISSING_WORDS]
    return bool(filled) and not any(_NUMERIC.fullmatch(_plain(cell)) for cell in filled)


def codes_for_missing(values: NDArray[np.float64]) -> tuple[list[float], list[float]]:
    """Return the values that are no measurements: (surely codes for missing, perhaps some).

    Surely: known to be such codes, and outside of what everything else says (below zero where nothing else is, or
    further off than everything else is wide). Perhaps: repeated and far off, what looks like a code and is off, or -1,
    -9, -99 where nothing else is below zero; they may be measurements.
    """
    found, times = np.unique(values[np.isfinite(values)], return_counts=True)
    known = np.isin(found, list(_CENSUS | CODES)) | (np.abs(found) > FILL)
    others = found[~known]
    if not len(others):
        return [float(value) for value in found if value in _CENSUS or abs(value) > FILL], []
    low, span = float(others.min()), float(others.max() - others.min())
    sure = [float(v) for v in found[known] if v in _CENSUS or abs(v) > FILL or low >= 0 or low - v > span]
    odd = []
    for value, number in zip(others, times[~known], strict=True):
        rest = others[others != value]
        like_code = _CODE_LIKE.fullmatch(f"{value:.10g}") is not None
        if (number > 1 or (like_code and value != 0)) and len(rest) > 2:
            gap = max(float(rest.min()) - value, value - float(rest.max()))
            far = gap > (_CODE_FAR if like_code else _FAR) * float(rest.max() - rest.min()) > 0
            if far or (number > 1 and value in _SMALL_CODES and rest.min() >= 0):
                odd.append(float(value))
    return sure, odd


def _from_text(
    table: OwnTable, column: str, text: pd.Series[Any], notes: list[str] | None, thousands: bool
) -> pd.Series[Any]:
    asked = {word.strip().lower() for word in table.reading.missing}
    lower = text.map(lambda cell: None if cell is None else cell.lower())
    words = lower.isin(MISSING_WORDS)
    if words.any() and notes is not None:
        said = ", ".join(sorted({repr(cell) for cell in text[words]}))
        notes.append(f"{table.path.name}: {column} says {said} in {int(words.sum())} cells (first {table.line(words)})")
    cells = text.mask(words | lower.isin(asked), None)
    decimal = _decimal(table, column, cells, notes, thousands)
    found = _parse(cells, decimal)
    if (wrong := cells.notna() & found.isna()).any():
        raise InputError(
            f"{table.path}: {column} is {cells[wrong].iloc[0]!r}, no number, in {table.line(wrong)}"
            f"{_hint(cells[wrong].iloc[0])}"
        )
    return found


def _hint(cell: str) -> str:
    plain = _plain(cell)
    if plain.endswith("%") and _NUMERIC.fullmatch(plain[:-1]):
        return "; leave the % sign away and say the unit with --unit COLUMN=%"
    if plain[:1] in "$€£¥" or plain[-1:] in "$€£¥":
        return "; leave the currency away and say it with --unit COLUMN=USD"
    if _NUMERIC.fullmatch(plain):
        return "; say its decimal sign with --decimal"
    if any(sign.isdigit() for sign in plain):
        return f"; write it as a plain number, such as 1234.5, or where it means missing say --missing {cell!r}"
    return f"; where it means missing, say so with --missing {cell!r}"


def _decimal(table: OwnTable, column: str, cells: pd.Series[Any], notes: list[str] | None, thousands: bool) -> str:
    """Return the decimal sign of a column: as asked, as its cells need it, or as the rest of the file has it."""
    if table.reading.decimal is not None:
        return table.reading.decimal
    written = [_plain(cell) for cell in cells if cell is not None and ("," in cell or "." in cell)]
    signs = _signs(written)
    if not signs and written:
        signs = _signs(_numbers_of_other_columns(table, column))
        either = next((cell for cell in written if _BOTH[","].fullmatch(cell)), None)
        if either is None and thousands and _may_be_thousands(table, cells, written):
            either = written[0]
        if either is not None and len(signs) != 1:
            raise InputError(
                f"{table.path}: {column} holds {either!r}, which is either thousands or a decimal "
                f"{'comma' if ',' in either else 'point'}; say which with --decimal . or --decimal ,"
            )
    if signs != {","}:
        return "."
    note = f"{table.path.name}: numbers were read with a decimal comma; say another sign with --decimal"
    if notes is not None and note not in notes:
        notes.append(note)
    return ","


def _may_be_thousands(table: OwnTable, cells: pd.Series[Any], written: list[str]) -> bool:
    """Whether points may part thousands: three digits behind each, among whole numbers or between semicolons."""
    if not all(_BOTH["."].fullmatch(cell) for cell in written):
        return False
    return table.separator == ";" or any(cell is not None and len(cell) > 1 and cell.isdecimal() for cell in cells)


def _numbers_of_other_columns(table: OwnTable, column: str) -> Iterator[str]:
    for other in table.columns:
        if other != column and not pd.api.types.is_numeric_dtype(table.frame[other]):
            for cell in table.text(other):
                if cell is not None and _NUMERIC.fullmatch(plain := _plain(cell)):
                    yield plain


def _signs(cells: Iterable[str]) -> set[str]:
    found: set[str] = set()
    for cell in cells:
        found |= {sign for sign, only in _ONLY.items() if only.fullmatch(cell)}
        if len(found) == 2:
            break
    return found


def _parse(cells: pd.Series[Any], decimal: str) -> pd.Series[Any]:
    """Return cells as numbers, NaN where one is none in that way to write decimals."""
    if decimal == ".":
        quick = pd.to_numeric(cells, errors="coerce").astype("float64")
        left = cells.notna() & quick.isna()
        return quick.where(~left, cells[left].map(lambda cell: _number(cell, ".")).reindex(cells.index))
    return cells.map(lambda cell: np.nan if cell is None else _number(cell, decimal)).astype("float64")


def _number(cell: str, decimal: str) -> float:
    plain = _plain(cell)
    if plain.lower().lstrip("+-") in ("inf", "infinity"):
        return np.inf
    if not plain or not _NUMBER[decimal].fullmatch(plain) or not any(sign.isdigit() for sign in plain):
        return np.nan
    for gap in (*_GAP, "," if decimal == "." else "."):
        plain = plain.replace(gap, "")
    return float(plain.replace(decimal, "."))


def _plain(cell: str) -> str:
    return cell.strip().replace("\u2212", "-")


def _asked_missing(table: OwnTable, found: pd.Series[Any]) -> pd.Series[Any]:
    asked = pd.to_numeric(pd.Series(table.reading.missing, dtype=object), errors="coerce").dropna()
    return found.isin(asked.astype(float))
