"""Image-text pairs of many shards as one numbered table, each read by one call."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.errors import ImageError, InputError
from chorograph.shards.index import indexed
from chorograph.shards.samples import CAPTIONS, IMAGES, read_caption, unusable
from chorograph.shards.tar import Drop, split_name

_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


@dataclass(frozen=True)
class ShardPairs:
    """Pairs by row: shard by shard in the order given, inside a shard in its own.

    `spans` (n, 4): offset and size of the image, offset and size of the caption; `caption_kinds` (n,): which of
    `CAPTIONS`. Reading is thread-safe, and survives a fork and a way through pickle.
    """

    paths: tuple[Path, ...]
    keys: tuple[str, ...] = field(repr=False)
    shards: NDArray[np.int32] = field(repr=False)
    spans: NDArray[np.int64] = field(repr=False)
    caption_kinds: NDArray[np.int8] = field(repr=False)
    _files: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, row: int) -> str:
        """Return the key of a row, unique in its shard."""
        return self.keys[row]

    def uri(self, row: int) -> str:
        """Return `PATH.tar#KEY`."""
        return f"{self.paths[self.shards[row]]}#{self.keys[row]}"

    def image(self, row: int) -> bytes:
        """Return the encoded image; `ImageError` where the shard was cut since it was opened."""
        return self._read(row, *self.spans[row, :2])

    def caption(self, row: int) -> str:
        """Return the caption."""
        caption, reason = read_caption(CAPTIONS[self.caption_kinds[row]], self._read(row, *self.spans[row, 2:]))
        if caption is None:
            raise InputError(f"{self.uri(row)} changed while it was in use: {reason}")
        return caption

    def _read(self, row: int, offset: int, size: int) -> bytes:
        shard = int(self.shards[row])
        file = self._files.get(shard)
        if file is None:
            # Two threads may both open it; the one that comes second uses the first one's.
            opened = os.open(self.paths[shard], os.O_RDONLY)
            file = self._files.setdefault(shard, opened)
            if file != opened:
                os.close(opened)
        data = os.pread(file, int(size), int(offset))
        if len(data) != size:
            raise ImageError("truncated", self.uri(row))
        return data

    def __del__(self) -> None:
        for file in self._files.values():
            os.close(file)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.paths, self.keys, self.shards, self.spans, self.caption_kinds)


def open_pairs(shards: Sequence[Path | str], drop: Drop) -> ShardPairs:
    """Read the headers and captions of plain tars; what is no pair is told to `drop`, and each row is final.

    Only the images are not looked at. Raises `InputError` where a shard is not there or no pair is left.
    """
    paths = expand_shards(shards)
    keys: list[str] = []
    rows: list[tuple[int, int, int, int, int, int]] = []
    for number, path in enumerate(paths):
        for key, members in indexed(path, _is_caption, drop):
            reason = unusable(members)
            if reason is not None:
                drop(reason)
                continue
            image = next(members[extension] for extension in IMAGES if extension in members)
            kind = next(kind for kind, extension in enumerate(CAPTIONS) if extension in members)
            caption = members[CAPTIONS[kind]]
            keys.append(key)
            rows.append((number, image.offset, image.size, caption.offset, caption.size, kind))
    if not rows:
        raise InputError(f"{', '.join(map(str, shards))}: no image with a caption in {len(paths)} shards")
    table = np.array(rows, dtype=np.int64)
    return ShardPairs(
        paths=tuple(paths),
        keys=tuple(keys),
        shards=table[:, 0].astype(np.int32),
        spans=np.ascontiguousarray(table[:, 1:5]),
        caption_kinds=table[:, 5].astype(np.int8),
    )


def expand_shards(shards: Sequence[Path | str]) -> list[Path]:
    """Return the tars that paths, folders, `*` and `{0000..0031}` stand for, in order and each once.

    Raises `InputError` for one that stands for nothing.
    """
    found: dict[Path, None] = {}
    for asked in map(str, shards):
        for pattern in _numbered(asked):
            path = Path(pattern)
            if path.is_dir():
                here = sorted(path.glob("*.tar"))
            elif path.is_file():
                here = [path]
            else:
                here = sorted(map(Path, glob(pattern)))  # noqa: PTH207  # the pattern may be absolute
            if not here:
                raise InputError(f"{pattern} is no shard, no folder of shards and no pattern of any")
            found |= dict.fromkeys(here)
    return list(found)


def _numbered(pattern: str) -> Iterator[str]:
    """Yield what `{first..last}` stands for, zeros kept, as a shell would."""
    match = _BRACES.search(pattern)
    if match is None:
        yield pattern
        return
    first, last = match.groups()
    for number in range(int(first), int(last) + 1):
        yield from _numbered(f"{pattern[: match.start()]}{number:0{len(first)}d}{pattern[match.end() :]}")


def _is_caption(name: str) -> bool:
    parts = split_name(name)
    return parts is not None and parts[1] in CAPTIONS
