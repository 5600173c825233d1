"""Ids of regions across files: compared as text, and found again where a program changed how they are written."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Any

import pandas as pd

from chorograph.acquisition.own.reading.tables import OwnTable
from chorograph.acquisition.own.reading.text import plain
from chorograph.ground.errors import InputError

_CENSUS_PREFIX = re.compile(r"\d{3}[0-9A-Z]{4}US(?=\w)")
_POWER = re.compile(r"\d(\.\d+)?[eE]\+\d+")


def _normal(name: str) -> str:
    return plain(unicodedata.normalize("NFKC", name))


def _unprefixed(name: str) -> str:
    return _CENSUS_PREFIX.sub("", _normal(name), count=1)


def _undotted(name: str) -> str:
    return re.sub(r"\.0+$", "", _unprefixed(name))


def _unpadded(name: str) -> str:
    plain = _undotted(name)
    return plain.lstrip("0") or "0" if plain.isdigit() else plain


#: From the least change to the greatest: how an id is brought to what both files may share, and how it is told.
_WAYS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("in another Unicode form", _normal),
    ("behind the ' that spreadsheets keep text by", lambda name: _normal(name).removeprefix("'")),
    ("with a prefix such as 1400000US", _unprefixed),
    ("with .0 behind", _undotted),
    ("without their leading zeros", _unpadded),
    ("in other letters' case", lambda name: _unpadded(name).casefold()),
)


def as_ids(values: Iterable[Any]) -> list[str | None]:
    """Return a column of typed values as ids: a whole number without `.0`, a missing one as None."""
    column = pd.Series(list(values), dtype=object)
    numbers = [value for value in column if isinstance(value, float) and not pd.isna(value)]
    whole = all(value.is_integer() for value in numbers)
    return [
        None if pd.isna(value) or plain(str(value)) == "" else str(int(value)) if isinstance(value, float) and whole
        else plain(str(value))
        for value in column
    ]  # fmt: skip


def id_column_of(table: OwnTable, asked: str, known: Iterable[str], notes: list[str]) -> str | None:
    """Return the column that names regions: the one asked for, or else the only one that holds their ids.

    None where there is none. Short ids say nothing: ranks and counts look like them.
    """
    if (found := table.find([asked])) is not None:
        return found
    known = set(known)
    if not known or sum(map(len, known)) < 4 * len(known) or not len(table):
        return None
    bare = {_unpadded(name) for name in known}
    shares = {
        column: sum(_unpadded(cell) in bare for cell in table.text(column) if cell is not None) / len(table)
        for column in table.columns
    }
    holding = [column for column, share in shares.items() if share > 0.5]
    if len(holding) != 1:
        return None
    notes.append(f"{table.path.name}: {holding[0]} was taken as the regions' ids; say another with --region-id")
    return holding[0]


def match_regions(
    table: OwnTable, column: str, known: Iterable[str], notes: list[str] | None = None, *, may_be_empty: bool = False
) -> pd.Series[Any]:
    """Return the region id that each row of `column` means, as the regions spell it; None where the cell is empty.

    Ids are compared as text. Those that nobody is called by are tried in other spellings (Unicode form, a census
    prefix, lost zeros, case), as long as no two regions fall together; `notes` tells it. `InputError` for a row that
    still names no region.
    """
    values = table.text(column) if may_be_empty else table.filled(column)
    known = list(known)
    found: pd.Series[Any] = values.where(values.isin(known), None)
    for change, way in _WAYS:
        left = values.notna() & found.isna()
        if not left.any():
            break
        spelled: dict[str, str | None] = {}
        for name in known:
            spelled[way(name)] = None if way(name) in spelled else name  # two that fall together are nobody
        again = values[left].map(lambda name, way=way, spelled=spelled: spelled.get(way(name)))
        found = found.where(~left, again.reindex(values.index))
        if (new := again.notna()).any() and notes is not None:
            example = again.index[new][0]
            notes.append(
                f"{table.path.name}: {int(new.sum())} ids stand {change} ({values[example]!r} was taken for "
                f"{found[example]!r})"
            )
    if (lost := values.notna() & found.isna()).any():
        encoding = "; ".join(note for note in table.notes if "--encoding" in note)
        raise InputError(_unknown(table, column, values, lost, known) + (f"; {encoding}" if encoding else ""))
    return found.where(found.notna(), None)


def _unknown(table: OwnTable, column: str, values: pd.Series[Any], lost: pd.Series[Any], known: list[str]) -> str:
    name = values[lost].iloc[0]
    message = f"{table.path}: no polygon has {column} {name!r} ({table.line(lost)}, {int(lost.sum())} in all)"
    if _POWER.fullmatch(name):
        return f"{message}; a spreadsheet rounded the ids: export the file again with ids as text"
    near = get_close_matches(name, known, n=1, cutoff=0.8)
    hint = f"did you mean {near[0]!r}?" if near else f"polygons are called {known[0]!r} and the like."
    return f"{message}; {hint} Correct or remove the line, or add the polygon"
