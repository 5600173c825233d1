"""Text of any common encoding: by its mark, as UTF-8, or as it looks."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from chorograph.ground.errors import InputError

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
        f"{path}: line {line} is not UTF-8; save the file as UTF-8, or say its --encoding (gb18030, cp1251…) to a verb "
        "that has it"
    )
