"""Tables of text, workbooks and Parquet: encodings, separators, true lines, records that are too long."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chorograph.acquisition.own.own_settings import Reading
from chorograph.acquisition.own.reading.numbers import is_textual, numbers
from chorograph.acquisition.own.reading.tables import read_table
from chorograph.ground.errors import ChorographError, InputError

TEXT = "geoid,Stadt,x\n007,Zürich,1.5\n008,Genève,2\n"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (TEXT.encode(), False),
        (TEXT.encode("utf-8-sig"), False),
        (TEXT.encode("utf-16"), True),
        (TEXT.encode("utf-16-le"), True),
        (TEXT.encode("cp1252"), True),
        (TEXT.replace(",", ";").encode(), False),
        (TEXT.replace(",", "\t").encode(), False),
        (TEXT.replace(",", "|").encode(), False),
        (("sep=;\n" + TEXT.replace(",", ";")).encode(), False),
        (TEXT.replace("\n", "\r\n").encode(), False),
        (TEXT.replace("\n", ",\n").encode(), False),
        (TEXT.replace("008,", "\n\n008,").encode(), False),
        (TEXT.replace("geoid,", " geoid ,").encode(), False),
    ],
)
def test_text_of_any_making_reads_the_same(tmp_path: Path, data: bytes, told: bool) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    table = read_table(path)
    assert table.columns == ["geoid", "Stadt", "x"]
    assert table.text("geoid").tolist() == ["007", "008"]
    assert table.text("Stadt").tolist() == ["Zürich", "Genève"]
    assert numbers(table, "x").tolist() == [1.5, 2.0]
    assert bool(table.notes) == told


def test_chinese_text_of_either_encoding(tmp_path: Path) -> None:
    text = "区域,收入\n海淀区零号,5\n"
    for encoding in ("utf-8", "gb18030"):
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        table = read_table(tmp_path / "t.csv")
        assert table.text("区域").tolist() == ["海淀区零号"]
    assert "gb18030" in table.notes[0]


def test_an_encoding_can_be_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes("id,город\n1,Москва и Петербург\n".encode("cp1251"))
    with pytest.raises(ChorographError, match=r"t\.csv: line 1 is not UTF-8.*--encoding"):
        read_table(tmp_path / "t.csv")
    table = read_table(tmp_path / "t.csv", Reading(encoding="cp1251"))
    assert table.text("город").tolist() == ["Москва и Петербург"]
    with pytest.raises(ChorographError, match="no encoding named"):
        read_table(tmp_path / "t.csv", Reading(encoding="utf-9"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n\n3,4,5\n", "line 4 has 3 cells, the header 2"),
        ("a,b\n1,2\n3\n", "line 3 has 1 cells, the header 2"),
        ('a,b\n1,"two\nlines"\n3,4,5\n', "line 4 has 3 cells"),
        ('a,b\n1,2\n3,"open\n4,5\n', "line 3: a quotation mark opens here and is never closed"),
        ('a,b\n1,"x"y\n', "line 2: text goes on after a closing quotation mark"),
        ("a,a\n1,2\n", "columns 1 and 2 are both called 'a'"),
        ("a,\n1,2\n", "column 2 holds values but has no name"),
        ("", "names no columns"),
        ("<!DOCTYPE html><html>not found", "web page"),
        ("version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        ("PK\x03\x04", "zip archive or an Excel workbook"),
        ("a,b\n1,\0\n", "NUL bytes"),
        ("a,b\n1," + "x" * 140_000 + "\n", "line 2: a cell longer than 131,072"),
    ],
)
def test_what_is_no_table_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(ChorographError, match=message) as error:
        read_table(tmp_path / "t.csv")
    assert "t.csv" in str(error.value)


def test_missing_files_and_pipes(tmp_path: Path) -> None:
    import os

    with pytest.raises(ChorographError, match="does not exist"):
        read_table(tmp_path / "none.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(ChorographError, match="not a file"):
        read_table(tmp_path / "pipe.csv")


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('id,x\n\n"a\nb",1\n\nc,many\nd,many\n')
    table = read_table(tmp_path / "t.csv")
    assert table.lines.tolist() == [3, 6, 7]
    with pytest.raises(ChorographError, match=r"t\.csv: x is 'many', no number, in line 6 and 1 more"):
        numbers(table, "x")


def test_workbooks(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    sheet = book.active
    for row in ([None, None], ["geoid", "x"], ["007", 1.5], [None, None], ["008", "many"]):
        sheet.append(row)
    book.save(tmp_path / "t.xlsx")
    table = read_table(tmp_path / "t.xlsx")
    assert table.text("geoid").tolist() == ["007", "008"]
    with pytest.raises(ChorographError, match=r"t\.xlsx: x is 'many', no number, in row 5"):
        numbers(table, "x")
    book.create_sheet("other").append(["a"])
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(ChorographError, match="several sheets: Sheet, other"):
        read_table(tmp_path / "t.xlsx")
    assert len(read_table(tmp_path / "t.xlsx", Reading(sheet="Sheet"))) == 2
    (tmp_path / "bad.xlsx").write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(ChorographError, match="cannot be read as a workbook"):
        read_table(tmp_path / "bad.xlsx")


def test_parquet_as_pandas_writes_it(tmp_path: Path) -> None:
    frame = pd.DataFrame({"geoid": pd.Categorical(["007", "008"]), "x": [1.0, None], "n": [3, 4]})
    frame.set_index("geoid").to_parquet(tmp_path / "t.parquet")
    table = read_table(tmp_path / "t.parquet")
    assert table.text("geoid").tolist() == ["007", "008"]
    assert table.text("n").tolist() == ["3", "4"]
    assert numbers(table, "x").isna().tolist() == [False, True]
    pq.write_table(pa.table({"geoid": [1073000100.0, 2.0], "x": [None, None]}), tmp_path / "f.parquet")
    table = read_table(tmp_path / "f.parquet")
    assert table.text("geoid").tolist() == ["1073000100", "2"]
    assert numbers(table, "x").isna().all()
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(ChorographError, match=r"bad\.parquet cannot be read as Parquet"):
        read_table(tmp_path / "bad.parquet")


def test_errors_of_formulas_are_told(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["id", "x"], ["r0", 5], ["r1", "#REF!"]):
        book.active.append(row)
    book.active["B3"].data_type = "e"
    book.save(tmp_path / "t.xlsx")
    table = read_table(tmp_path / "t.xlsx")
    assert numbers(table, "x").tolist() == pytest.approx([5, float("nan")], nan_ok=True)
    assert "1 cells hold errors of formulas, taken as missing (B3)" in table.notes[0]


def test_what_is_called_a_workbook_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.xls").write_text("id\tx\nr0\t5\n")
    with pytest.raises(InputError, match=r"t\.xls cannot be read as a workbook: it is text: name it \.csv"):
        read_table(tmp_path / "t.xls")


def test_yes_and_no_are_words_in_parquet_too(tmp_path: Path) -> None:
    pd.DataFrame({"id": ["a", "b"], "x": [True, False]}).to_parquet(tmp_path / "t.parquet")
    assert is_textual(read_table(tmp_path / "t.parquet"), "x")


def test_cells_of_several_values_are_no_text(tmp_path: Path) -> None:
    pd.DataFrame({"id": [["a"], ["b"]]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="id holds several values in row 1 and 1 more"):
        read_table(tmp_path / "t.parquet").filled("id")


@pytest.mark.parametrize("first", ["", "Unnamed: 0"])
def test_numbers_of_rows_are_no_column(tmp_path: Path, first: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(f"{first},id,x\n0,a,5\n1,b,6\n")  # as pandas writes it
    table = read_table(path)
    assert table.columns == ["id", "x"]
    assert "numbers the rows" in table.notes[0]
    path.write_text(f"{first or 'n'},id,x\n7,a,5\n8,b,6\n")
    assert read_table(path).columns == [first or "n", "id", "x"]
    pd.DataFrame({"id": ["a", "b"], "x": [5, 6]}).to_excel(tmp_path / "t.xlsx")
    assert read_table(tmp_path / "t.xlsx").columns == ["id", "x"]


def test_signs_without_width_are_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('\u200bid,x\ufeff\n="r0"\u200b,\u200b\n')
    table = read_table(tmp_path / "t.csv")
    assert table.columns == ["id", "x"]
    assert table.text("id").tolist() == ["r0"]
    assert table.text("x").tolist() == [None]


def test_a_table_of_too_many_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "wide.csv"
    path.write_text(",".join(f"c{number}" for number in range(10_000)) + "\n" + "1," * 9_999 + "1\n")
    with pytest.raises(InputError, match=r"wide\.csv has 10,000 columns"):
        read_table(path)
