"""A user's files of a graph: facts, quick for ten million of them, and tables; exact about the one line that is bad."""

from __future__ import annotations

from codecs import getincrementaldecoder
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv

from chorograph.ground.csv_rows import read_cells
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import check_regular

_COLUMNS = ["head", "relation", "tail"]
#: Bytes that are looked at together.
_CHUNK = 1 << 20


def read_facts(path: Path, *, header: bool = False) -> pd.DataFrame:
    """Read tab-separated facts, `.gz` or not, as columns of categories: head, relation, tail.

    Raises `InputError` naming the file and the line: a line without three fields, an empty field, bytes that are not
    UTF-8, a fact that appears twice; and for a file without facts.
    """
    check_regular(path)
    _check_text(path)
    first = 2 if header else 1
    bad: list[tuple[int, str]] = []

    def keep(row: Any) -> str:
        bad.append((int(row.number), str(row.text)))
        return "skip"

    kind = pa.dictionary(pa.int32(), pa.string())
    try:
        # One thread: only then does a line know its number.
        table = pcsv.read_csv(
            path,
            read_options=pcsv.ReadOptions(use_threads=False, column_names=_COLUMNS, skip_rows=int(header)),
            parse_options=pcsv.ParseOptions(
                delimiter="\t", quote_char=False, ignore_empty_lines=False, invalid_row_handler=keep
            ),
            convert_options=pcsv.ConvertOptions(column_types=dict.fromkeys(_COLUMNS, kind), strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        if bad or not _is_empty(path):
            raise InputError(f"{path} cannot be read as facts: {error}") from error
        raise InputError(f"{path} holds no fact") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    if bad:
        line, text = bad[0]
        raise InputError(
            f"{path}: line {line} is not head, relation, tail separated by tabs: {text[:80]!r} ({len(bad)} such lines)"
        )
    if table.num_rows == 0:
        raise InputError(f"{path} holds no fact")
    frame = table.unify_dictionaries().to_pandas()
    for column in _COLUMNS:
        blank = [name for name in frame[column].cat.categories if not str(name).strip()]
        if blank:
            row = int(np.flatnonzero(frame[column].isin(blank))[0])
            raise InputError(f"{path}: line {row + first} has an empty {column}")
    if (repeated := _first_repeated(frame)) is not None:
        row, earlier = repeated
        fact = " ".join(frame.iloc[row])
        raise InputError(f"{path}: line {row + first} repeats line {earlier + first}: {fact}")
    return pd.DataFrame(frame)


def _first_repeated(frame: pd.DataFrame) -> tuple[int, int] | None:
    """Return the first row whose fact stands in an earlier row, and that row, without building a table of texts."""
    codes = [frame[column].cat.codes.to_numpy(np.int64) for column in _COLUMNS]
    sizes = [max(len(frame[column].cat.categories), 1) for column in _COLUMNS]
    keys = (codes[0] * sizes[1] + codes[1]) * sizes[2] + codes[2]
    order = np.argsort(keys, kind="stable")
    again = order[1:][keys[order[1:]] == keys[order[:-1]]]
    if not len(again):
        return None
    row = int(again.min())
    return row, int(np.flatnonzero(keys == keys[row])[0])


def _check_text(path: Path) -> None:
    """Raise `InputError` naming the line of bytes that are no UTF-8, of which Arrow would complain on its own."""
    decoder, line = getincrementaldecoder("utf-8")(), 1
    try:
        with pa.input_stream(str(path)) as stream:
            while chunk := stream.read(_CHUNK):
                if b"\0" in chunk:  # a sparse file is nothing else, for gigabytes
                    line += chunk.partition(b"\0")[0].count(b"\n")
                    raise InputError(f"{path}: line {line} is not text (UTF-8)")
                decoder.decode(chunk)
                line += chunk.count(b"\n")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += bytes(error.object[: error.start]).count(b"\n")
        raise InputError(f"{path}: line {line} is not text (UTF-8)") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def _is_empty(path: Path) -> bool:
    with pa.input_stream(str(path)) as stream:
        return not stream.read(1)


def as_text(facts: pd.DataFrame) -> pd.DataFrame:
    """Return facts of categories as columns of text, as an area's table holds them."""
    return pd.DataFrame(
        {column: pc.cast(pa.array(facts[column]), pa.string()).to_pandas().astype(object) for column in _COLUMNS}
    )


def read_columns(
    path: Path | None, texts: tuple[str, ...], numbers: tuple[str, ...], unique: str | None = None
) -> pd.DataFrame | None:
    """Read columns of text and of numbers of a user's CSV, None without one; values of `unique` stand once.

    Raises `UnknownNameError` for a missing column, `InputError` naming the file and the line of an empty, repeated or
    impossible value.
    """
    if path is None:
        return None
    frame = read_cells(path)
    for column in (*texts, *numbers):
        if column not in frame.columns:
            raise UnknownNameError.of(f"column of {path}", column, list(frame.columns))
    for column in texts:
        if (blank := frame[column].str.strip() == "").any():
            raise InputError(f"{path}: {column} is empty in line {int(np.flatnonzero(blank)[0]) + 2}")
    for column in numbers:
        values = pd.to_numeric(frame[column], errors="coerce").astype(np.float64)
        if (wrong := ~np.isfinite(values.to_numpy())).any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{path}: {column} is {frame[column].iloc[row]!r}, no number, in line {row + 2}")
        frame[column] = values
    if unique is not None and (twice := frame[unique].duplicated()).any():
        row = int(np.flatnonzero(twice)[0])
        raise InputError(f"{path}: {unique} {frame[unique].iloc[row]!r} appears twice (again in line {row + 2})")
    return frame[[*texts, *numbers]]
