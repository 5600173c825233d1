"""Ids across files: as text first, then as programs change them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from chorograph.acquisition.own.reading.ids import as_ids, id_column_of, match_regions
from chorograph.acquisition.own.reading.tables import OwnTable, read_table
from chorograph.ground.errors import InputError

KNOWN = ["01073000100", "01073000101", "Zürich", "ﬁve"]


def _table(folder: Path, *ids: str) -> OwnTable:
    (folder / "t.csv").write_text("\n".join(["geoid,x", *(f"{name},1" for name in ids)]) + "\n")
    return read_table(folder / "t.csv")


@pytest.mark.parametrize(
    ("written", "meant", "told"),
    [
        ("01073000100", "01073000100", None),
        ("1073000100", "01073000100", "without their leading zeros"),
        ("1400000US01073000101", "01073000101", "prefix"),
        ("1073000100.0", "01073000100", "zeros"),
        (unicodedata.normalize("NFD", "Zürich"), "Zürich", "Unicode form"),
        ("ZÜRICH", "Zürich", "case"),
    ],
)
def test_an_id_is_found_in_its_other_spelling(tmp_path: Path, written: str, meant: str, told: str | None) -> None:
    notes: list[str] = []
    assert match_regions(_table(tmp_path, written), "geoid", KNOWN, notes).tolist() == [meant]
    assert bool(notes) == bool(told)
    assert told is None or told in notes[0]


def test_prefixes_may_stand_in_either_file(tmp_path: Path) -> None:
    assert match_regions(_table(tmp_path, "1073"), "geoid", ["0500000US01073"]).tolist() == ["0500000US01073"]


def test_ids_that_would_fall_together_are_not_guessed(tmp_path: Path) -> None:
    known = ["007", "0007", "8"]
    assert match_regions(_table(tmp_path, "007", "0007"), "geoid", known).tolist() == ["007", "0007"]
    with pytest.raises(InputError, match=r"no polygon has geoid '7' \(line 2, 1 in all\)"):
        match_regions(_table(tmp_path, "7"), "geoid", known)


@pytest.mark.parametrize(
    ("written", "message"),
    [("01073000109", "did you mean '01073000101'|did you mean '01073000100'"), ("1.073E+09", "spreadsheet rounded")],
)
def test_an_unknown_id_is_named_with_a_remedy(tmp_path: Path, written: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        match_regions(_table(tmp_path, "01073000100", written), "geoid", KNOWN)
    assert "line 3" in str(error.value)


def test_empty_ids(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="geoid is empty in line 3"):
        match_regions(_table(tmp_path, "01073000100", ""), "geoid", KNOWN)
    found = match_regions(_table(tmp_path, "01073000100", ""), "geoid", KNOWN, may_be_empty=True)
    assert found.tolist() == ["01073000100", None]


def test_typed_ids() -> None:
    assert as_ids([1073000100.0, None, 2.0]) == ["1073000100", None, "2"]
    assert as_ids([1.5, 2.0]) == ["1.5", "2.0"]
    assert as_ids(["007", " 8 ", ""]) == ["007", "8", None]


def test_a_column_of_ids_is_found_where_there_is_one(tmp_path: Path) -> None:
    notes: list[str] = []
    table = _table(tmp_path, "1073000100", "1073000101")
    assert id_column_of(table, "region_id", KNOWN, notes) == "geoid"
    assert "say another with --region-id" in notes[0]
    # Short ids look like ranks and counts: nothing is guessed.
    assert id_column_of(_table(tmp_path, "1", "2"), "region_id", ["1", "2"], []) is None
