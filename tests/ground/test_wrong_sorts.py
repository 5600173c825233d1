"""Inputs of the wrong sort are called by their names; CSV is read strictly; litter is no class and no image."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import pytest

from chorograph.ground.csv_rows import read_csv_rows
from chorograph.ground.errors import InputError
from chorograph.ground.file_sorts import sort_of, sort_of_folder
from chorograph.ground.files import read_text
from chorograph.ground.image_formats import find_image_files

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 605143316\n"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (POINTER, f"a Git LFS pointer of {len(POINTER)} bytes, not the file: run `git lfs pull`"),
        (b"<!doctype html><html><title>Virus scan warning</title>", "a web page"),
        (b"\xef\xbb\xbf\n<HTML>", "a web page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "a web page"),
        (gzip.compress(b"x", mtime=0), "gzipped: unpack it"),
        (b"", "empty"),
        (b"PAR1....", "a Parquet table"),
        (b"PK\x03\x04 and no more", "damaged or cut off"),
        (b"Rar!\x1a\x07\x00", "an archive (rar): unpack it"),
        (b"GGUF\x03\0\0\0", "a GGUF model"),
        (b"\x08\x07\x12\x07pytorch", "an ONNX model"),
        (b"\xff\xd8\xff\xe0\0", "an image (JPEG)"),
        (b"Invalid username or password.", "text that begins 'Invalid username or password.'"),
        (b'{"error": "restricted"}', "JSON text that begins"),
        (b"\x1f\x8b\0\0\0\0\0\0" + b'{"a": {}}', "None"),  # safetensors: a length that looks like gzip
    ],
)
def test_a_file_is_called_what_it_is(data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data)
    assert said in str(sort_of(tmp_path / "file"))


def test_folders_of_models_are_called_what_they_are(tmp_path: Path) -> None:
    assert sort_of_folder(tmp_path) is None
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    assert sort_of_folder(tmp_path) == "a model of Hugging Face's transformers (clip)"
    (tmp_path / "open_clip_config.json").write_text("{}")
    assert "open_clip" in str(sort_of_folder(tmp_path))
    (tmp_path / "file").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"file is an image \(JPEG\), not a folder with config.json"):
        read_text(tmp_path / "file" / "config.json")


def test_zip_files_are_told_apart(tmp_path: Path) -> None:
    for member, said in {"m/code/a.py": "TorchScript", "m/data.pkl": "None", "a.jpg": "archive"}.items():
        with zipfile.ZipFile(tmp_path / "file", "w") as archive:
            archive.writestr(member, b"")
        assert said in str(sort_of(tmp_path / "file"))


def rows(text: str) -> list[dict[str, str]]:
    return [row.values for row in read_csv_rows(io.StringIO(text, newline=""), Path("t.csv"))[1]]


def test_plain_and_quoted_rows_are_read() -> None:
    found = rows('filename,title\n0.jpg,"a road, wet"\n1.jpg, "two ""lanes"""\n\n2.jpg,"two\nlines"\n3.jpg,5" pipe\n')
    assert [row["title"] for row in found] == ["a road, wet", 'two "lanes"', "two\nlines", '5" pipe']


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('filename,title\n0.jpg,a\n1.jpg,"a field\n2.jpg,b\n', "row 3: a quote is left open to the end"),
        ('filename,title\n0.jpg,a\n1.jpg,"a field\n2.jpg,a "river"\n', "row 3: a text goes on after its closing quote"),
        ('filename,title\n0.jpg,a\n1.jpg,"a field\n2.jpg,b"\n3.jpg,c\n', "row 3: a quote is left open and takes in"),
        ('image_id,caption\n0,"a field\n1,b\n2,c"\n3,d\n', "row 2: a quote is left open and takes in"),
        ("filename,title\n0.jpg," + "road " * 40_000, "row 2: a field has more than 131,072 characters"),
    ],
)
def test_an_open_quote_is_named_by_its_row(text: str, said: str) -> None:
    with pytest.raises(InputError, match=f"t.csv, {said}"):
        rows(text)


def test_two_columns_of_one_name_are_told() -> None:
    with pytest.raises(InputError, match="two columns are called 'title'"):
        rows("filename,title,title\n0.jpg,a road,a field\n")
    assert rows('\n\nfilename,title\n1,"a road, wet\nand, grey"\n') == [
        {"filename": "1", "title": "a road, wet\nand, grey"}
    ]


def test_bare_commas_are_told() -> None:
    _, found = read_csv_rows(io.StringIO("filename,title\n0.jpg,a road, a river\n1.jpg,b,,\n"), Path("t.csv"))
    assert [row.surplus for row in found] == [(("a river"),), ()]


def test_litter_is_counted_and_no_image(tmp_path: Path) -> None:
    for name in (
        "a/1.jpg",
        "__MACOSX/a/._1.jpg",
        "a/._1.jpg",
        ".ipynb_checkpoints/1.jpg",
        "a/@eaDir/1.jpg",
        "lost+found/1.jpg",
        "_gsdata_/1.jpg",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    told: list[str] = []
    assert find_image_files(tmp_path, told.append) == [tmp_path / "a" / "1.jpg"]
    assert len(told) == 6
    # A hidden folder above, which the user named, hides nothing.
    assert len(find_image_files(tmp_path / ".ipynb_checkpoints", told.append)) == 1
