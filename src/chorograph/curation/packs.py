"""Packs: where images wait between steps. Append-only, so a run that is killed loses at most the image being written.

A pack is a file of records: a header (magic, key, lengths, CRC-32), a small JSON object, the bytes. The JSON of a
failed fetch holds its reason, and there are no bytes. A record that was cut off is ignored when a pack is read again.
"""

from __future__ import annotations

import json
import os
import struct
import uuid
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chorograph.ground.errors import ImageError

_HEADER = struct.Struct("<4sQIQI")
_MAGIC = b"CPK1"


@dataclass(frozen=True)
class Record:
    """A record of a pack: whose it is, what is said of it, and where its bytes lie."""

    key: int
    about: dict[str, Any]
    pack: str
    offset: int
    length: int


class PackWriter:
    """Writes records to a new pack in a folder; each is on its way to the disk when `add` returns."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / f"{uuid.uuid4().hex}.pack"

    def __enter__(self) -> Self:
        """Begin; the file is made with the first record."""
        self._file: int | None = None
        self._at = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the pack."""
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)

    def add(self, key: int, about: Mapping[str, Any], data: bytes = b"") -> Record:
        """Append a record; returns where it lies."""
        text = json.dumps(dict(about), ensure_ascii=False).encode()
        check = zlib.crc32(data, zlib.crc32(text))
        header = _HEADER.pack(_MAGIC, key, len(text), len(data), check)
        if self._file is None:
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        whole = memoryview(header + text + data)
        while whole:
            whole = whole[os.write(self._file, whole) :]
        offset = self._at + len(header) + len(text)
        self._at = offset + len(data)
        return Record(key, dict(about), self.path.name, offset, len(data))


def read_records(folder: Path) -> Iterator[Record]:
    """Yield the whole records of every pack in a folder, without their bytes."""
    for path in sorted(folder.glob("*.pack")):
        status = path.stat()
        yield from _records_of(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _records_of(path: Path, size: int, modified_ns: int) -> tuple[Record, ...]:
    """Return the records of one pack; only the last can be torn, so only its bytes are checked."""
    records: list[Record] = []
    with path.open("rb") as file:
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            magic, key, text_length, length, check = _HEADER.unpack(header)
            text = file.read(text_length)
            offset = file.tell()
            if magic != _MAGIC or offset + length > size:
                return tuple(records)  # the writer was killed here
            records.append(Record(key, json.loads(text), path.name, offset, length))
            if offset + length == size and zlib.crc32(file.read(length), zlib.crc32(text)) != check:
                return tuple(records[:-1])
            file.seek(offset + length)
    return tuple(records)


class PackReader:
    """Reads images out of the packs of a folder; each pack is opened once, and any thread may read."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self._files: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Begin; packs are opened as they are asked for."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the packs."""
        for file in self._files.values():
            os.close(file)
        self._files.clear()

    def read(self, row: Mapping[str, Any]) -> bytes:
        """Return the bytes of a row's image; `ImageError` (missing) where the pack is gone."""
        name = row["pack"]
        try:
            file = self._files.get(name)
            if file is None:
                # Two threads may both open it; the one that comes second uses the first one's.
                opened = os.open(self.folder / name, os.O_RDONLY)
                file = self._files.setdefault(name, opened)
                if file != opened:
                    os.close(opened)
            return os.pread(file, row["length"], row["offset"])
        except OSError as error:
            raise ImageError("missing", name) from error


def read_packed(folder: str | Path, row: Mapping[str, Any]) -> bytes:
    """Return the bytes of one row's image; `ImageError` (missing) where the pack is gone."""
    with PackReader(folder) as packs:
        return packs.read(row)
