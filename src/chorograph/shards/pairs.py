"""Image-text pairs of many shards as one numbered table, each read by one call."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.file_sorts import sort_of
from chorograph.shards.folder_pairs import holds_pairs, open_folder
from chorograph.shards.index import indexed
from chorograph.shards.left_out import LeftOut
from chorograph.shards.samples import (
    CAPTIONS,
    DOTTED,
    IMAGES,
    SECOND_IMAGE,
    captions_of,
    lost,
    other_images,
    read_listed,
    unusable,
)
from chorograph.shards.tar import ENDS, Drop, Member, split_name

#: Beyond the kinds of `CAPTIONS`: a `json` that lists several.
_LISTED = len(CAPTIONS)
#: Members of a sample that an example names.
_SHOWN = 4
_BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


class ShardPairs(Protocol):
    """Image-text pairs by row, wherever they lie: shards, or a folder of files."""

    @property
    def paths(self) -> tuple[Path, ...]:
        """The shards, or the folder."""

    @property
    def keys(self) -> tuple[str, ...]:
        """What each row is called."""

    @property
    def numbers(self) -> NDArray[np.int32]:
        """How many captions each row has (n,)."""

    def __len__(self) -> int: ...

    def key(self, row: int) -> str:
        """Return the key of a row."""

    def uri(self, row: int) -> str:
        """Return where a row's image lies."""

    def image(self, row: int) -> bytes:
        """Return the encoded image of a row; `ImageError` where it is not there any more."""

    def captions(self, row: int) -> tuple[str, ...]:
        """Return the captions of a row, one or more."""

    def caption(self, row: int) -> str:
        """Return the first caption of a row."""


@dataclass(frozen=True)
class TarPairs:
    """Pairs by row: shard by shard in the order given, inside a shard in its own.

    `spans` (n, 4): offset and size of the image, offset and size of what holds the captions; `caption_kinds` (n,):
    which of `CAPTIONS` that is, or beyond them a `json` that lists several; `numbers` (n,): how many captions. Reading
    is thread-safe, and survives a fork and a way through pickle.
    """

    paths: tuple[Path, ...]
    keys: tuple[str, ...] = field(repr=False)
    shards: NDArray[np.int32] = field(repr=False)
    spans: NDArray[np.int64] = field(repr=False)
    caption_kinds: NDArray[np.int8] = field(repr=False)
    numbers: NDArray[np.int32] = field(repr=False)
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

    def captions(self, row: int) -> tuple[str, ...]:
        """Return the captions of a row, one or more."""
        kind, data = int(self.caption_kinds[row]), self._read(row, *self.spans[row, 2:])
        if kind == _LISTED:
            found, reason = read_listed(data), None
        else:
            found, reason = captions_of({CAPTIONS[kind]: data})
        if len(found) != self.numbers[row]:
            raise InputError(f"{self.uri(row)} changed while it was in use: {reason or 'other captions'}")
        return found

    def caption(self, row: int) -> str:
        """Return the first caption of a row."""
        return self.captions(row)[0]

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
        return type(self), (self.paths, self.keys, self.shards, self.spans, self.caption_kinds, self.numbers)


def open_pairs(shards: Sequence[Path | str], drop: Drop) -> ShardPairs:
    """Read the headers and captions of plain tars, or the captions of a folder or table of pairs.

    What is no pair is told to `drop`, and each row is final: only the images are not looked at. Raises `InputError`
    where a shard is not there or no pair is left: with the counted reasons, an example and a remedy.
    """
    paths = expand_shards(shards)
    if len(paths) == 1 and holds_pairs(paths[0]):
        return open_folder(paths[0], drop)
    keys: list[str] = []
    rows: list[tuple[int, int, int, int, int, int, int]] = []
    left_out = LeftOut(drop)
    for number, path in enumerate(paths):
        left_out.place = path.name

        def of_shard(reason: str, path: Path = path) -> None:
            what = sort_of(path) if reason in ENDS else None
            left_out.tell(f"{path.name} is {what}" if what else reason)

        for key, members in indexed(path, _is_caption, of_shard):
            reason = unusable(members)
            if reason is not None:
                left_out.tell(reason, lost(members), _called(key, members, reason))
                continue
            left_out.tell(SECOND_IMAGE, other_images(members), key)
            image = next(members[extension] for extension in IMAGES if extension in members)
            kind, caption, count = _captions_in(members)
            keys.append(key)
            rows.append((number, image.offset, image.size, caption.offset, caption.size, kind, count))
    if not rows:
        raise InputError(f"{', '.join(map(str, shards))}: no image with a caption in {len(paths)} shards; {left_out}")
    table = np.array(rows, dtype=np.int64)
    return TarPairs(
        paths=tuple(paths),
        keys=tuple(keys),
        shards=table[:, 0].astype(np.int32),
        spans=np.ascontiguousarray(table[:, 1:5]),
        caption_kinds=table[:, 5].astype(np.int8),
        numbers=table[:, 6].astype(np.int32),
    )


def _captions_in(members: Mapping[str, Member]) -> tuple[int, Member, int]:
    """Return which member holds a sample's captions: its kind, itself, and how many they are."""
    if "json" in members and (listed := read_listed(members["json"].data or b"")):
        return _LISTED, members["json"], len(listed)
    kind = next(kind for kind, extension in enumerate(CAPTIONS) if extension in members)
    return kind, members[CAPTIONS[kind]], 1


def _called(key: str, members: Mapping[str, Member], reason: str) -> str:
    """Return how a sample's members are called, as an example: `0001.jpg + json`."""
    said = [extension for extension in members if reason != DOTTED or "." in extension]
    return f"{key}.{' + '.join(said[:_SHOWN])}"


def expand_shards(shards: Sequence[Path | str]) -> list[Path]:
    """Return the tars that paths, folders, `*` and `{0000..0031}` stand for, in order and each once.

    Raises `InputError` for one that stands for nothing.
    """
    found: dict[Path, None] = {}
    for asked in map(str, shards):
        for pattern in _numbered(asked):
            path = Path(pattern)
            if path.is_dir():
                here = sorted(path.glob("*.tar")) or ([path] if holds_pairs(path) else [])
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
