"""Writing shards: whole or absent, and the same bytes for the same samples."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path
from chorograph.shards.tar import MAX_MEMBER_BYTES, PICKLES

if TYPE_CHECKING:
    from types import TracebackType

_EXTENSION = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")


@dataclass
class ShardWriter:
    """A series of shards in a folder, each begun when the one before holds `max_samples` or `max_bytes`.

    `pattern` is the file name with the place of the number, `pub11-train-{:04d}.tar`, counted from `first`. A shard
    appears under its name once it is complete (fsync and rename); after an exception inside the block finished shards
    stay and the open one vanishes. Raises `InputError` for a shard that exists already, unless `replace`.
    """

    folder: Path
    pattern: str = "{:04d}.tar"
    max_samples: int = 10_000
    max_bytes: int = 1024**3
    first: int = 0
    replace: bool = False
    paths: list[Path] = field(default_factory=list, init=False)
    _open: _OpenShard | None = field(default=None, init=False, repr=False)

    def __enter__(self) -> Self:
        """Begin; nothing is written before the first sample."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Publish the open shard; after an error, remove it."""
        if error is None:
            self._finish()
        elif self._open is not None:
            self._open.stack.__exit__(kind, error, trace)

    def write(self, key: str, members: Mapping[str, Any]) -> str:
        """Write a sample, its members by extension, and return its uri, `SHARD.tar#KEY`.

        Bytes are written as they are, text as UTF-8, anything else as JSON. Raises `InputError` for a key that cannot
        be one or stands in the shard already, and for an extension that readers would unpickle.
        """
        _check_key(key)
        encoded = {extension: _encode(value) for extension, value in members.items()}
        for extension, data in encoded.items():
            if not _EXTENSION.fullmatch(extension) or extension.rpartition(".")[2] in PICKLES:
                raise InputError(f"{key}: {extension!r} is no extension that a shard is written with")
            if len(data) > MAX_MEMBER_BYTES:
                raise InputError(f"{key}.{extension} has {len(data)} bytes; a member has {MAX_MEMBER_BYTES} at most")
        shard = self._open
        if shard is not None and (len(shard.keys) >= self.max_samples or shard.size >= self.max_bytes):
            self._finish()
            shard = None
        if shard is None:
            shard = self._open = self._begin()
        if key in shard.keys:
            raise InputError(f"{shard.target} holds a sample {key!r} already; keys are unique in a shard")
        shard.keys.add(key)
        for extension, data in encoded.items():
            info = tarfile.TarInfo(f"{key}.{extension}")
            info.size = len(data)
            shard.tar.addfile(info, io.BytesIO(data))
            shard.size += len(data)
        return f"{shard.target.name}#{key}"

    def _begin(self) -> _OpenShard:
        target = self.folder / self.pattern.format(self.first + len(self.paths))
        if target.suffix != ".tar" or target in self.paths:
            raise InputError(f"{self.pattern!r} names no series of shards; it ends in .tar and has a place, {{:04d}}")
        if target.exists() and not self.replace:
            raise InputError(f"{target} exists already; choose another folder or remove it")
        stack = ExitStack()
        temporary = stack.enter_context(atomic_path(target))
        tar = stack.enter_context(tarfile.open(temporary, "w", format=tarfile.PAX_FORMAT))  # noqa: SIM115  # it is one
        return _OpenShard(target, tar, stack)

    def _finish(self) -> None:
        if self._open is not None:
            shard, self._open = self._open, None
            shard.stack.close()
            self.paths.append(shard.target)


@dataclass
class _OpenShard:
    """The shard that samples are going into."""

    target: Path
    tar: tarfile.TarFile
    stack: ExitStack
    keys: set[str] = field(default_factory=set)
    size: int = 0


def shard_key(image_id: str) -> str:
    """Return a key made of any id: itself where it can be one, else its letters and a hash that tells it apart."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", image_id).strip("-")[:80]
    if plain and plain == image_id:
        return plain
    return f"{plain}-{hashlib.sha256(image_id.encode('utf-8', 'surrogatepass')).hexdigest()[:10]}".lstrip("-")


def _check_key(key: str) -> None:
    parts = key.split("/")
    if not all(parts) or "." in parts[-1] or ".." in parts or not key.isprintable() or "\\" in key or "#" in key:
        raise InputError(
            f"{key!r} cannot be a sample's key: no dot in its last part, no '..', '#' or backslash, not absolute; "
            "`shard_key` makes one of any id"
        )


def _encode(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8")
