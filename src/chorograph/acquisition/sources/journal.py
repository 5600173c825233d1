"""What was had of a long run so far, row by row: a run that was killed goes on from there.

SQLite in its write-ahead mode: a row is safe from the death of the process as soon as it is written, and costs no
waiting for the disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from chorograph.ground.files import sha256_file

#: Failures that another run would meet again: what failed so is not asked for again.
FINAL = frozenset({"HTTP 404", "HTTP 410", "wrong type", "too many pixels", "too many bytes", "no data"})


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


_COLUMNS = [field.name for field in fields(Row)]


class Journal:
    """The rows of a run, kept in a file."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection
        self.rows = {row[0]: Row(*row) for row in connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM rows")}  # noqa: S608

    def add(self, row: Row) -> None:
        """Keep a row: from now on it survives the death of this process."""
        marks = ", ".join("?" * len(_COLUMNS))
        self.connection.execute(f"INSERT OR REPLACE INTO rows VALUES ({marks})", astuple(row))  # noqa: S608
        self.rows[row.name] = row

    def settled(self, folder: Path) -> set[str]:
        """Return the names that need not be asked for again: held, byte for byte, in `folder`, or failed for good."""
        return {name for name, row in self.rows.items() if _is_settled(row, folder)}

    def close(self, *, done: bool) -> None:
        """Close the file; one that is `done` is removed."""
        self.connection.close()
        if done:
            _remove(self.path)


@contextmanager
def open_journal(path: Path, asked: str) -> Iterator[Journal]:
    """Open the journal of a run that was asked for so; that of another one, or a damaged one, begins anew.

    It is removed where the block ends well, and kept for the next try where it does not.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        journal = Journal(path, _opened(path, asked))
    except sqlite3.DatabaseError:
        _remove(path)
        journal = Journal(path, _opened(path, asked))
    try:
        yield journal
    except BaseException:
        journal.close(done=False)
        raise
    journal.close(done=True)


def _opened(path: Path, asked: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE IF NOT EXISTS asked (what TEXT)")
    connection.execute(f"CREATE TABLE IF NOT EXISTS rows ({', '.join(_COLUMNS)}, PRIMARY KEY (name))")
    before = connection.execute("SELECT what FROM asked").fetchone()
    if before != (asked,):
        connection.execute("DELETE FROM rows")
        connection.execute("DELETE FROM asked")
        connection.execute("INSERT INTO asked VALUES (?)", (asked,))
    return connection


def _is_settled(row: Row, folder: Path) -> bool:
    if row.uri is None:
        return row.reason in FINAL
    with suppress(OSError):
        return sha256_file(folder / row.uri) == row.sha256
    return False


def _remove(path: Path) -> None:
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
