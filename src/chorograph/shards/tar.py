"""Walking through tars that strangers made: nothing is unpacked, followed or unpickled.

The standard library's reader raises at the first damage, follows links and spends longer on a header than libjpeg on a
small image. This one reads headers of the ustar, GNU and pax kinds, and leaves out, with a reason, all but plain files.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from chorograph.ground.errors import InputError

#: Told the reason of each thing that is left out; a ledger's `drop` is one.
Drop = Callable[[str], None]
#: Asked for each member's name: whether its bytes are wanted now.
Want = Callable[[str], bool]

BLOCK = 512
#: A larger member is no image or caption; a hostile header can claim any size.
MAX_MEMBER_BYTES = 256 * 1024**2
#: A longer name is an attack on memory.
_MAX_NAME_BYTES = 64 * 1024
#: Endings whose usual readers unpickle: such members are never read.
PICKLES = frozenset({"pkl", "pickle", "pyd", "pth", "pt", "ckpt", "joblib", "npy", "npz", "dill"})

_CHUNK = 1024**2
#: Reasons for which all after a place is lost.
ENDS = _TOO_SHORT, _DAMAGED = "shard truncated", "shard damaged"


class Member(NamedTuple):
    """A plain file inside a tar: its name, where its bytes lie, and the bytes themselves where they were wanted."""

    name: str
    offset: int
    size: int
    data: bytes | None


def walk(stream: IO[bytes], drop: Drop, want: Want = lambda name: True) -> Iterator[Member]:
    """Yield the plain files of an open tar, in order, with the bytes of those that `want` names.

    Never raises for what the tar holds: `drop` is told "shard truncated" or "shard damaged" once, after everything
    before the damage was yielded, and for each member left out: one that leads out of the shard, a link, a device, a
    pickle, one of a name that is not UTF-8 or of more than `MAX_MEMBER_BYTES`.
    """
    reader = _Reader(stream)
    override: dict[str, str] = {}
    try:
        while True:
            block = reader.read(BLOCK)
            header = _parse(block)
            if header is None:
                return
            name, size, kind = header
            if kind in _ABOUT_THE_NEXT:
                if size > _MAX_NAME_BYTES:
                    raise _DamagedError
                said = reader.read(size)
                reader.skip(-size % BLOCK)
                override |= _extended(said) if kind == b"x" else {"path": _text(said)} if kind == b"L" else {}
                continue
            name, size = override.get("path", name), int(override.get("size", size))
            special = any(key.startswith("GNU.sparse") for key in override)
            override = {}
            offset = reader.position
            reason = _refusal(name, size, b"S" if special else kind)
            if kind in _WITHOUT_BYTES:
                size = 0  # links and the like hold none, whatever their header states
            data = None
            if reason is None and want(name):
                data = reader.read(size)
            else:
                reader.skip(size)
            if reason is None:
                yield Member(name, offset, size, data)
            elif reason:
                drop(reason)
            reader.skip(-size % BLOCK)  # last, as a shard may end here and the member be whole
    except _TruncatedError:
        drop(_TOO_SHORT)
    except _DamagedError:
        drop(_DAMAGED)


@contextmanager
def open_stream(source: Path | Sequence[Path]) -> Iterator[IO[bytes]]:
    """Open a tar for one pass; several paths are the parts of one split archive, and gzip is recognised.

    Raises `InputError` for a file that is not there.
    """
    parts = [source] if isinstance(source, Path) else list(source)
    if missing := next((part for part in parts if not part.is_file()), None):
        raise InputError(f"{missing} does not exist; give a tar, or all parts of a split one in order")
    with _Joined(parts) as joined:
        stream: IO[bytes] = io.BufferedReader(joined, _CHUNK)
        if stream.peek(2)[:2] == b"\x1f\x8b":  # type: ignore[attr-defined]
            stream = gzip.GzipFile(fileobj=stream)  # type: ignore[assignment]
        yield stream


def split_name(name: str) -> tuple[str, str] | None:
    """Part a member's name into a sample's key and an extension at the first dot of its last part, as WebDataset does.

    None where there is no key or no extension.
    """
    folder, slash, last = name.rpartition("/")
    key, _, extension = last.partition(".")
    return (f"{folder}{slash}{key}", extension.lower()) if key and extension else None


@dataclass
class _Reader:
    """Reads and skips in a stream, and knows how far it is; a stream that ends early is truncated."""

    stream: IO[bytes]
    position: int = 0

    def __post_init__(self) -> None:
        self._end: int | None = None
        if self.stream.seekable() and not isinstance(self.stream, gzip.GzipFile):
            here = self.stream.tell()
            self._end = self.stream.seek(0, os.SEEK_END) - here
            self.stream.seek(here)

    def read(self, size: int) -> bytes:
        if self._end is not None and self.position + size > self._end:
            raise _TruncatedError
        try:
            data = self.stream.read(size)
        except EOFError:
            raise _TruncatedError from None
        except (OSError, zlib.error):
            raise _DamagedError from None
        if len(data) != size:
            raise _TruncatedError
        self.position += size
        return data

    def skip(self, size: int) -> None:
        if self._end is None:
            while size > 0:
                size -= len(self.read(min(size, _CHUNK)))
            return
        if self.position + size > self._end:
            raise _TruncatedError
        if size:
            self.stream.seek(size, os.SEEK_CUR)
            self.position += size


class _Joined(io.RawIOBase):
    """Several files read as one."""

    def __init__(self, parts: Sequence[Path]) -> None:
        self._parts, self._number = list(parts), 0
        self._file: IO[bytes] = self._parts[0].open("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return len(self._parts) == 1

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while True:
            number: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
            if number or self._number + 1 >= len(self._parts):
                return number
            self._number += 1
            self._file.close()
            self._file = self._parts[self._number].open("rb", buffering=0)

    def close(self) -> None:
        self._file.close()
        super().close()


class _TruncatedError(Exception):
    """The tar ends before it should."""


class _DamagedError(Exception):
    """What should be a header is none."""


#: Headers that say something about the header after them: pax, global pax, GNU long name, GNU long link.
_ABOUT_THE_NEXT = (b"x", b"g", b"L", b"K")
_WITHOUT_BYTES = (b"1", b"2", b"3", b"4", b"5", b"6")


def _parse(block: bytes) -> tuple[str, int, bytes] | None:
    """Return name, size and kind of a header; None at the end mark."""
    checksum = _number(block[148:156])
    if checksum != sum(block) - sum(block[148:156]) + 8 * 32:
        if not block.strip(b"\0"):
            return None
        raise _DamagedError
    name = block[:100].partition(b"\0")[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].partition(b"\0")[0] + b"/" + name
    size = _number(block[124:136])
    if size < 0:
        raise _DamagedError
    return name.decode("utf-8", "surrogateescape"), size, block[156:157]


def _number(digits: bytes) -> int:
    """Read a header's number: octal digits, or base 256 where the first bit is set."""
    if digits[0] & 0x80:
        return int.from_bytes(bytes([digits[0] & 0x7F]) + digits[1:], "big")
    try:
        return int(digits.partition(b"\0")[0].strip() or b"0", 8)
    except ValueError:
        raise _DamagedError from None


def _extended(records: bytes) -> dict[str, str]:
    """Return the records of a pax header: lines of `LENGTH KEY=VALUE`."""
    said: dict[str, str] = {}
    while records:
        length, space, _ = records.partition(b" ")
        if not space or not length.isdigit() or not len(length) + 1 < int(length) <= len(records):
            raise _DamagedError
        key, _, value = records[len(length) + 1 : int(length) - 1].partition(b"=")
        said[_text(key)] = _text(value)
        records = records[int(length) :]
    if not said.get("size", "0").isdigit():
        raise _DamagedError
    return said


def _text(data: bytes) -> str:
    return data.rstrip(b"\0").decode("utf-8", "surrogateescape")


def _refusal(name: str, size: int, kind: bytes) -> str | None:
    """Return why a member is left out: "" for a folder, which nobody misses; None where it is not."""
    if kind == b"5":
        return ""
    if kind in (b"1", b"2"):
        return "member is a link"
    if kind not in (b"0", b"\0", b"7"):
        return "member is no plain file"
    if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
        return "member leads out of the shard"
    if name.endswith("/"):
        return ""
    if name.rpartition(".")[2].lower() in PICKLES:
        return "member holds a pickle"
    if size > MAX_MEMBER_BYTES:
        return "member too large"
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return "member name is not UTF-8"
    return None
