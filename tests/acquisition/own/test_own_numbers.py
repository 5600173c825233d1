"""Numbers as people write them, and values that are no measurements."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorograph.acquisition.own.own_settings import Reading
from chorograph.acquisition.own.reading.numbers import codes_for_missing, is_textual, numbers, whole_numbers
from chorograph.acquisition.own.reading.tables import OwnTable, read_table
from chorograph.ground.errors import InputError


def _table(folder: Path, *cells: str, other: str = "", **reading: object) -> OwnTable:
    path = folder / "t.csv"
    path.write_text("\n".join(["id;x;y", *(f"r{k};{cell};{other}" for k, cell in enumerate(cells))]) + "\n")
    return read_table(path, Reading(**reading))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["1.5", "2", "-3e2", ".5", "5."], [1.5, 2, -300, 0.5, 5]),
        (["1,5", "2", "3,25"], [1.5, 2, 3.25]),
        (["1.234,5", "2.000"], [1234.5, 2000]),
        (["1,234.5", "2,000"], [1234.5, 2000]),
        (["1,234,567", "2,000"], [1234567, 2000]),
        (["1 234", "2\u00a0000,5"], [1234, 2000.5]),
        (["1'234.5"], [1234.5]),
        (["\u22125.5", "+5.25"], [-5.5, 5.25]),
        (["NA", "n/a", "", "NaN", "7.5"], [np.nan, np.nan, np.nan, np.nan, 7.5]),
        (["1.234", "2.34"], [1.234, 2.34]),
    ],
)
def test_numbers_as_people_write_them(tmp_path: Path, cells: list[str], values: list[float]) -> None:
    assert numbers(_table(tmp_path, *cells), "x").tolist() == pytest.approx(values, nan_ok=True)


def test_one_file_has_one_decimal_sign(tmp_path: Path) -> None:
    assert numbers(_table(tmp_path, "1.234", other="0,5"), "x").tolist() == [1234]
    assert numbers(_table(tmp_path, "1,234", other="0,5"), "x").tolist() == [1.234]
    assert numbers(_table(tmp_path, "1,234", other="0.5"), "x").tolist() == [1234]
    with pytest.raises(InputError, match=r"x holds '1,234', which is either.*--decimal"):
        numbers(_table(tmp_path, "1,234"), "x")
    with pytest.raises(InputError, match=r"x holds '1.234', which is either thousands or a decimal point.*--decimal"):
        numbers(_table(tmp_path, "1.234", "987"), "x")  # between semicolons, as where the comma is the decimal sign
    assert numbers(_table(tmp_path, "1.234", "987", decimal=","), "x").tolist() == [1234, 987]
    assert numbers(_table(tmp_path, "1.234"), "x", thousands=False).tolist() == [1.234]
    assert numbers(_table(tmp_path, "1,234", decimal=","), "x").tolist() == [1.234]
    assert numbers(_table(tmp_path, "1,234", decimal="."), "x").tolist() == [1234]


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ("12%", "x is '12%', no number, in line 2; leave the % sign away"),
        ("$5", "leave the currency away"),
        ("suppressed", "--missing 'suppressed'"),
        ("1.2.3", "no number, in line 2"),
        ("1,5.5", "no number"),
        ("inf", "x is infinite in line 2"),
        ("1e999", "x is infinite in line 2"),
        ("12 apples", "no number"),
        ("(40)", r"write it as a plain number, such as 1234.5, or where it means missing say --missing '\(40\)'"),
    ],
)
def test_every_odd_cell_is_named(tmp_path: Path, cell: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        numbers(_table(tmp_path, cell), "x")
    assert "t.csv" in str(error.value)


@settings(deadline=None, max_examples=60)
@given(st.text(st.characters(exclude_characters=';"\r\n\0', exclude_categories=["Cs"]), max_size=12))
def test_no_cell_escapes(tmp_path_factory: pytest.TempPathFactory, cell: str) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "any.csv").write_text(f"id;x\nr;{cell}\n", encoding="utf-8")
    table = read_table(folder / "any.csv", Reading(encoding="utf-8"))
    try:
        assert numbers(table, "x").dtype == np.float64
    except InputError as error:
        assert "any.csv" in str(error)


def test_missing_as_asked(tmp_path: Path) -> None:
    notes: list[str] = []
    table = _table(tmp_path, "5", "suppressed", "-9999", "na", missing=["suppressed", "-9999"])
    assert numbers(table, "x", notes).isna().tolist() == [False, True, True, True]
    assert notes == ["t.csv: x says 'na' in 1 cells (first line 5)"]


def test_whole_numbers(tmp_path: Path) -> None:
    assert whole_numbers(_table(tmp_path, "2015", "", "2016.0"), "x").isna().tolist() == [False, True, False]
    for cell in ("2011-2015", "2015.5", "soon", "2e999"):
        with pytest.raises(InputError, match=rf"t\.csv: x is '{cell}' in line 3; x is a whole number"):
            whole_numbers(_table(tmp_path, "1", cell), "x")


def test_words_are_told_from_numbers(tmp_path: Path) -> None:
    assert is_textual(_table(tmp_path, "King", "Pierce"), "x")
    assert not is_textual(_table(tmp_path, "King", "7"), "x")
    assert not is_textual(_table(tmp_path, "", "1,5"), "x")


@pytest.mark.parametrize(
    ("values", "sure", "odd"),
    [
        ([51226, 46806, -666666666, 50854, -666666666], [-666666666], []),
        ([51226, 46806, -666666666, 50854], [-666666666], []),  # once is enough of a known code
        ([1, 2, 3, -9999, 4], [-9999], []),
        ([-5000.0, 4000, -9999, 300], [], []),  # within reach of the others: a balance, say
        ([-5, 4, -9999, 3], [-9999], []),
        ([1, 2, 3, 3.4028235e38], [3.4028235e38], []),
        ([10, 20, 30, 99999, 99999], [], [99999]),
        ([10, 20, 30, 99999], [], [99999]),  # once is enough to name what looks like a code
        ([40000, 48000, 45000, 0, 0], [], [0]),
        ([40000, 48000, 45000, 65535, 65535], [], [65535]),
        ([40000, 48000, 45000, 60000, 60000], [], []),
        ([0, 0, 3, 9, 4], [], []),  # counts begin at 0
        ([10, 20, 30, -1, -1], [], [-1]),
        ([10, 20, -30, -1, -1], [], []),
        ([10, 20, 30, 40], [], []),
        ([], [], []),
    ],
)
def test_values_that_are_no_measurements(values: list[float], sure: list[float], odd: list[float]) -> None:
    assert codes_for_missing(np.array(values, dtype=float)) == (sure, odd)
