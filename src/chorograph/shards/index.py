"""Where everything lies in a shard: one reading of its headers, then any member by one read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from gzip import GzipFile
from pathlib import Path

from chorograph.ground.errors import ImageError, InputError
from chorograph.shards.samples import IMAGES, group
from chorograph.shards.tar import Drop, Member, open_stream, walk


@dataclass(frozen=True)
class ShardIndex:
    """The samples of a plain tar: for each key, offset and size of its members by extension, in the shard's order."""

    path: Path
    samples: Mapping[str, Mapping[str, tuple[int, int]]] = field(repr=False)

    def image(self, key: str) -> bytes:
        """Return a sample's encoded image; `ImageError` ("missing") where there is none."""
        members = self.samples.get(key, {})
        extension = next((extension for extension in IMAGES if extension in members), None)
        if extension is None:
            raise ImageError("missing", f"{self.path}#{key}")
        return self.read(key, extension)

    def read(self, key: str, extension: str) -> bytes:
        """Return the bytes of a member."""
        offset, size = self.samples[key][extension]
        with self.path.open("rb", buffering=0) as file:
            file.seek(offset)
            data = file.read(size)
        if len(data) != size:
            raise ImageError("truncated", f"{self.path}#{key}.{extension}")
        return data


def index_shard(path: Path, drop: Drop) -> ShardIndex:
    """Read the headers of a plain tar; what is left out is told to `drop`. Raises `InputError` for a compressed one."""
    members = {
        key: {extension: (member.offset, member.size) for extension, member in gathered.items()}
        for key, gathered in indexed(path, lambda name: False, drop)
    }
    return ShardIndex(path, members)


def indexed(path: Path, want: Callable[[str], bool], drop: Drop) -> Iterator[tuple[str, dict[str, Member]]]:
    """Yield the samples of a plain tar with the bytes of those members that `want` names; the others are skipped."""
    with open_stream(path) as stream:
        if isinstance(stream, GzipFile):
            raise InputError(f"{path} is a gzipped shard, in which no one sample can be found; unpack it (gunzip)")
        yield from group(walk(stream, drop, want), drop)


def read_image_bytes(path: Path, key: str) -> bytes:
    """Return the encoded image `key` of the shard at `path`; its index is read once and kept.

    `ImageError` ("missing") where there is no such shard or sample.
    """
    try:
        status = path.stat()
    except OSError:
        raise ImageError("missing", f"{path}#{key}") from None
    return _kept(path, status.st_mtime_ns, status.st_size).image(key)


@lru_cache(maxsize=64)
def _kept(path: Path, modified_ns: int, size: int) -> ShardIndex:
    """Return the index of the shard as it is now; what is damaged in it is found missing when asked for."""
    return index_shard(path, lambda reason: None)
