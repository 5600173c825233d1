"""What was had of a long run so far, row by row: a run that was killed goes on from there.

A file of JSON, a line a row, each written at once: it is safe from the death of the process as soon as it is written,
and costs no waiting for the disk. A last line that was cut off is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.ground.files import sha256_file

#: Failures that another run would meet again: what failed so is not asked for again.
FINAL = frozenset({"HTTP 404", "HTTP 410", "wrong type", "too many pixels", "too many bytes", "no data", "placeholder"})


@dataclass(frozen=True, slots=True)
class Row:
    """How one picture ended: where it is held and the hash of its bytes, or the reason why it is not.

    `nodata` and `cloud` are shares of its pixels from 0 to 1, None where nobody can say.
    """

    name: str
    uri: str | None = None
    sha256: str | None = None
    reason: str | None = None
    url: str | None = None
    captured: str | None = None
    nodata: float | None = None
    cloud: float | None = None

    def line(self) -> bytes:
        """Return the row as a line of the journal."""
        values = (self.name, self.uri, self.sha256, self.reason, self.url, self.captured, self.nodata, self.cloud)
        return json.dumps(values).encode() + b"\n"


class Journal:
    """The rows of a run, kept in a file that is open for adding."""

    def __init__(self, path: Path, rows: dict[str, Row]) -> None:
        self.rows = rows
        self._handle = os.open(path, os.O_WRONLY | os.O_APPEND)

    def add(self, row: Row) -> None:
        """Keep a row: from now on it survives the death of this process."""
        os.write(self._handle, row.line())
        self.rows[row.name] = row

    def settled(self, folder: Path, *, failed: bool = True) -> set[str]:
        """Return the names that need not be asked for again: held, byte for byte, in `folder`, or failed for good.

        Without `failed`, those that failed for good are asked for again too.
        """
        return {name for name, row in self.rows.items() if (failed or row.uri) and _is_settled(row, folder)}

    def close(self) -> None:
        """Close the file."""
        os.close(self._handle)


@contextmanager
def open_journal(path: Path, asked: str) -> Iterator[Journal]:
    """Open the journal of a run that was asked for so; that of another one, or a damaged one, begins anew.

    It is removed where the block ends well, and kept for the next try where it does not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    head = json.dumps(asked).encode() + b"\n"
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    rows = _rows(lines[1:]) if lines[:1] == [head] else {}
    # Written anew: without a line that was cut off, to which the next one would be added.
    path.write_bytes(head + b"".join(row.line() for row in rows.values()))
    journal = Journal(path, rows)
    try:
        yield journal
    finally:
        journal.close()
    path.unlink()


def _rows(lines: list[bytes]) -> dict[str, Row]:
    """Return the last row of each name, in the order of their first ones; lines that are none are left out."""
    found: dict[str, Row] = {}
    for line in lines:
        values: Any = None
        with suppress(ValueError, RecursionError):
            values = json.loads(line)
        if isinstance(values, list) and len(values) == len(Row.__slots__) and line.endswith(b"\n"):
            found[str(values[0])] = Row(*values)
    return found


def _is_settled(row: Row, folder: Path) -> bool:
    if row.uri is None:
        return row.reason in FINAL
    with suppress(OSError):
        return sha256_file(folder / row.uri) == row.sha256
    return False
