"""Indicators of any table: wide or long, joined by the regions' ids or by place."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from chorograph.acquisition.own.joining import shares_of
from chorograph.acquisition.own.own_settings import IndicatorSettings, Reading
from chorograph.acquisition.own.places import LAT, LON, places_of
from chorograph.acquisition.own.reading.ids import id_column_of, match_regions
from chorograph.acquisition.own.reading.numbers import codes_for_missing, is_textual, numbers, whole_numbers
from chorograph.acquisition.own.reading.tables import OwnTable, read_table
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.stage import Ledger

if TYPE_CHECKING:
    import geopandas as gpd

#: What a column's last word says about its unit; `--unit` overrides it.
_UNIT_SUFFIXES = {
    "usd": "USD", "eur": "EUR", "gbp": "GBP", "cny": "CNY",
    "percent": "%", "pct": "%", "km2": "per km²", "ha": "ha", "km": "km", "kg": "kg", "min": "min", "years": "years",
}  # fmt: skip
#: What a column may be, and whether a region's value is a sum (True) or a mean of the places in it.
KINDS = {"count": True, "mean": False, "share": False, "density": False}


def read_indicators(
    path: Path,
    asked: IndicatorSettings,
    reading: Reading,
    id_column: str,
    regions: gpd.GeoDataFrame,
    source: str,
    ledger: Ledger,
    *,
    layer: str | None = None,
) -> pd.DataFrame:
    """Return region_id, indicator, value, unit, year and source: one row a region, indicator and year.

    Long where the table has columns `indicator` and `value`, else wide: a column an indicator. Rows are joined by
    `id_column`; a table without it, but with polygons or points, by place. Raises `InputError` with file, line and
    column.
    """
    table = read_table(path, reading, layer=layer)
    notes = list(table.notes)
    if not len(table):
        raise InputError(f"{path} holds a header and no row")
    units = dict(pairs(asked.unit, "--unit", "UNIT"))
    column = id_column_of(table, id_column, regions["region_id"], notes)
    if column is None and (places := places_of(table)) is not None:
        frame = _by_place(table, places, asked, regions, notes)
    else:
        column = column or table.need([id_column])
        ids = match_regions(table, column, regions["region_id"], notes)
        long = _long_columns(table)
        frame = _long(table, ids, *long, notes) if long else _wide(table, ids, column, asked, notes)
    _check_repeated(table, frame)
    frame["unit"] = _units(table, frame, units, notes)
    ledger.warnings.extend(note for note in notes if note not in ledger.warnings)
    year = frame["year"] if frame["year"].notna().any() else asked.year
    return pd.DataFrame(
        {
            "region_id": frame["region_id"],
            "indicator": frame["indicator"],
            "value": frame["value"],
            "unit": frame["unit"],
            "year": year,
            "source": frame["source"].fillna(source),
        }
    ).reset_index(drop=True)


def check_units(asked: IndicatorSettings, frame: pd.DataFrame) -> None:
    """Raise `UnknownNameError` where a unit is said of an indicator that is none."""
    held = sorted(set(frame["indicator"]))
    for name, _ in pairs(asked.unit, "--unit", "UNIT"):
        if name not in held:
            raise UnknownNameError.of("indicator (--unit)", name, held)


def pairs(words: Iterable[str], option: str, right: str) -> Iterable[tuple[str, str]]:
    """Yield (column, value) of COLUMN=VALUE; `InputError` where a word is no such pair."""
    for word in words:
        column, equals, value = word.rpartition("=")
        if not (column and equals and value):
            raise InputError(f"{option} is COLUMN={right}, not {word!r}")
        yield column, value


def _long_columns(table: OwnTable) -> tuple[str, str] | None:
    """Return the columns of names and of values of a long table: indicator and value, or variable and value."""
    names, values = table.find(("indicator",)), table.find(("value",))
    if names is None and (melted := table.find(("variable",))) is not None and is_textual(table, melted):
        names = melted
    return (names, values) if names is not None and values is not None else None


def _long(table: OwnTable, ids: pd.Series[Any], name_column: str, value_column: str, notes: list[str]) -> pd.DataFrame:
    names, values = table.filled(name_column), numbers(table, value_column, notes)
    parts = [_measured(table, name, group, notes) for name, group in values.groupby(names, sort=False)]
    return _rows(
        table,
        ids,
        names,
        pd.concat(parts).reindex(values.index),
        unit=table.text("unit") if "unit" in table.columns else None,
        source=table.text("source") if "source" in table.columns else None,
        notes=notes,
    )


def _wide(
    table: OwnTable, ids: pd.Series[Any], id_column: str, asked: IndicatorSettings, notes: list[str]
) -> pd.DataFrame:
    columns = _value_columns(table, {id_column, "year"}, notes)
    parts = []
    for column in columns:
        values = _measured(table, column, numbers(table, column, notes), notes)
        parts.append(_rows(table, ids, pd.Series(column, index=ids.index, dtype=object), values, notes=notes))
    return pd.concat(parts, ignore_index=True)


def _value_columns(table: OwnTable, others: set[str], notes: list[str]) -> list[str]:
    """Return the columns that are indicators: not those of words alone, unless nothing else would be left."""
    columns = [column for column in table.columns if column not in others]
    words = [column for column in columns if is_textual(table, column)]
    if not columns:
        raise InputError(f"{table.path} has no column of values beside {', '.join(sorted(others))}")
    if len(words) == len(columns):
        return columns
    if words:
        notes.append(f"{table.path.name}: columns of words are no indicators and were left out: {', '.join(words)}")
    return [column for column in columns if column not in words]


def _rows(
    table: OwnTable,
    ids: pd.Series[Any],
    names: pd.Series[Any],
    values: pd.Series[Any],
    *,
    unit: pd.Series[Any] | None = None,
    source: pd.Series[Any] | None = None,
    notes: list[str],
) -> pd.DataFrame:
    nothing = pd.Series(None, index=ids.index, dtype=object)
    year = whole_numbers(table, "year") if "year" in table.columns else pd.Series(pd.NA, ids.index, "Int64")
    return pd.DataFrame(
        {
            "region_id": ids,
            "indicator": names,
            "value": values,
            "year": year,
            "unit": nothing if unit is None else unit,
            "source": nothing if source is None else source,
            "row": np.arange(len(ids)),
        }
    )


def _by_place(
    table: OwnTable, places: gpd.GeoSeries, asked: IndicatorSettings, regions: gpd.GeoDataFrame, notes: list[str]
) -> pd.DataFrame:
    """Bring the columns to regions by shared area, or by the region that holds a point."""
    kinds = dict(pairs(asked.kind, "--kind", "|".join(KINDS)))
    taken = {table.find(names) for names in (LON, LAT)} if table.geometry is None else set()
    columns = _value_columns(table, {column for column in taken if column} | {"year"}, notes)
    columns = [column for column in columns if column in kinds] or columns
    for column in columns:
        if kinds.get(column) not in KINDS:
            raise InputError(
                f"{table.path} is joined by place, for it has no ids of regions: say what {column} is, for example "
                f"--kind {column}=count (summed) or --kind {column}=mean (averaged); one of {', '.join(KINDS)}"
            )
    shares = shares_of(places, regions)
    if not len(shares.place):
        raise InputError(f"{table.path}: none of {len(table)} places touches a region; is its reference system right?")
    if outside := len(table) - len(np.unique(shares.place)):
        notes.append(f"{table.path.name}: {outside} of {len(table)} places touch no region")
    parts = []
    for column in columns:
        given = _measured(table, column, numbers(table, column, notes), notes).to_numpy()
        found = shares.counts(given) if KINDS[kinds[column]] else shares.means(given)
        covered = shares.covered(given)
        if partly := int(((covered < 0.99) & (covered >= 0.01)).sum()):
            notes.append(f"{table.path.name}: {column} covers {partly} regions in part only; they have what it covers")
        held = np.isfinite(found)
        parts.append(
            pd.DataFrame(
                {"region_id": regions["region_id"].to_numpy(object)[held], "indicator": column, "value": found[held]}
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    years = sorted(set(whole_numbers(table, "year").dropna())) if "year" in table.columns else []
    if len(years) > 1:
        raise InputError(f"{table.path} holds {len(years)} years; give one file a year")
    frame["year"] = pd.Series([*years, pd.NA][0], index=frame.index, dtype="Int64")
    nothing = pd.Series(None, index=frame.index, dtype=object)
    return frame.assign(unit=nothing, source=nothing, row=-1)


def _check_repeated(table: OwnTable, frame: pd.DataFrame) -> None:
    keys = ["region_id", "indicator", "year"]
    if not (twice := frame.duplicated(keys).to_numpy()).any():
        return
    position = int(np.flatnonzero(twice)[0])
    again = frame.iloc[position]
    number = frame.groupby(keys, dropna=False).ngroup()
    same = number == number.iloc[position]
    lines = " and ".join(str(table.lines[row]) for row in frame.loc[same, "row"].iloc[:2])
    raise InputError(
        f"{table.path}: {again['indicator']} of region {again['region_id']!r} appears twice ({table.unit}s {lines}); "
        "a region has one value of an indicator a year (a long table calls its columns indicator, value and year)"
    )


def _measured(table: OwnTable, name: str, values: pd.Series[Any], notes: list[str]) -> pd.Series[Any]:
    """Return an indicator's values without codes for missing, and say which; what may be one is only named.

    `values` are indexed by the table's rows.
    """
    if values.isna().all():
        notes.append(f"{table.path.name}: {name} has no value in any row")
    sure, odd = codes_for_missing(values.to_numpy(float))
    for code in [*sure, *odd]:
        lines = [str(table.lines[row]) for row in values.index[values == code]]
        shown = ", ".join(lines[:5]) + (", …" if len(lines) > 5 else "")
        said = f"{table.path.name}: {name} is {code:.10g} in {len(lines)} rows ({table.unit} {shown})"
        if code in sure:
            notes.append(f"{said}: a code for missing, taken as missing")
        else:
            notes.append(f"{said}, far from everything else; where it means missing, say --missing {code:.10g}")
    return values.where(~values.isin(sure))


def _units(table: OwnTable, frame: pd.DataFrame, units: dict[str, str], notes: list[str]) -> pd.Series[Any]:
    found = {name: units.get(name) or _unit_by_name(str(name)) for name in frame["indicator"].unique()}
    if frame["unit"].isna().any():
        said = [f"{name}: {unit}" for name, unit in found.items() if name not in units]
        if said:
            notes.append(
                f"{table.path.name}: units taken from the columns' names, say others with --unit: {'; '.join(said)}"
            )
    filled = frame["unit"].where(~frame["indicator"].isin(units), None).fillna(frame["indicator"].map(found))
    several = filled.groupby(frame["indicator"]).nunique()
    if (several > 1).any():
        name = several.index[several > 1][0]
        given = filled[frame["indicator"] == name]
        second = given.index[given != given.iloc[0]][0]
        raise InputError(
            f"{table.path}: {name} is given in {given.iloc[0]!r} and in {given[second]!r} ({table.unit} "
            f"{table.lines[frame.loc[second, 'row']]}); one indicator, one unit"
        )
    return filled


def _unit_by_name(column: str) -> str:
    return _UNIT_SUFFIXES.get(column.rsplit("_", 1)[-1].lower(), "unstated") if "_" in column else "unstated"
