"""Samples of image-text shards: members of one key, of WebDataset's usual extensions or of RS5M's own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.image_formats import EXTENSIONS
from chorograph.shards.tar import Drop, Member, open_stream, split_name, walk

#: Extensions that hold a sample's encoded image, the first one present is taken; `img_content` is RS5M's.
IMAGES = ("img_content", *EXTENSIONS)
#: Extensions that hold its caption; of a `json`, the value of `caption` is taken.
CAPTIONS = ("caption", "txt", "json")
#: RS5M's extension of an image's own name.
NAME = "img_name"

_WITHOUT_CAPTION = "image without a caption"


@dataclass(frozen=True)
class Sample:
    """What one key holds: the bytes of its members by lower-case extension."""

    key: str
    members: Mapping[str, bytes]

    def image(self) -> bytes:
        """Return the encoded image."""
        return self.members[next(extension for extension in IMAGES if extension in self.members)]

    def caption(self) -> str:
        """Return the caption."""
        extension = next(extension for extension in CAPTIONS if extension in self.members)
        caption, reason = read_caption(extension, self.members[extension])
        if caption is None:
            raise ValueError(f"{self.key}: {reason}")
        return caption

    @property
    def name(self) -> str:
        """The image's own name where the shard tells it, else the key."""
        return self.members[NAME].decode("utf-8", "replace") if NAME in self.members else self.key


def read_samples(source: Path | Sequence[Path], drop: Drop) -> Iterator[Sample]:
    """Read a shard in one pass: plain or gzipped, whole or split into parts; yields what has an image and a caption.

    `drop` is told the reason of everything else. Raises `InputError` for a file that is not there, and for nothing that
    a file holds.
    """
    with open_stream(source) as stream:
        for key, members in group(walk(stream, drop), drop):
            reason = unusable(members)
            if reason is None:
                yield Sample(key, {extension: member.data or b"" for extension, member in members.items()})
            else:
                drop(reason)


def group(members: Iterable[Member], drop: Drop) -> Iterator[tuple[str, dict[str, Member]]]:
    """Gather members that follow each other and have one key; a key that comes again is dropped."""
    seen: set[str] = set()
    present: str | None = None
    gathered: dict[str, Member] = {}
    for member in members:
        parts = split_name(member.name)
        if parts is None:
            drop("member without key or extension")
            continue
        key, extension = parts
        if key != present or extension in gathered:
            if present is not None and gathered:
                yield from _once(present, gathered, seen, drop)
            present, gathered = key, {}
        gathered[extension] = member
    if present is not None:
        yield from _once(present, gathered, seen, drop)


def unusable(members: Mapping[str, Member]) -> str | None:
    """Return why a sample is no image-text pair, or None; captions must have been read."""
    extension = next((extension for extension in CAPTIONS if extension in members), None)
    if not any(image in members for image in IMAGES):
        return "caption without an image" if extension else "neither image nor caption"
    if extension is None:
        return _WITHOUT_CAPTION
    return read_caption(extension, members[extension].data or b"")[1]


def read_caption(extension: str, data: bytes) -> tuple[str | None, str | None]:
    """Return a caption and None, or None and the reason."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return None, "caption is not UTF-8"
    if extension == "json":
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            return None, "caption is no JSON text"
        if not isinstance(content, dict) or "caption" not in content:
            return None, _WITHOUT_CAPTION
        if not isinstance(content["caption"], str):
            return None, "caption is no JSON text"
        text = content["caption"]
    text = text.strip("\0 \t\r\n\ufeff")
    return (text, None) if text else (None, "caption is empty")


def _once(key: str, gathered: dict[str, Member], seen: set[str], drop: Drop) -> Iterator[tuple[str, dict[str, Member]]]:
    if key in seen:
        drop("duplicate key")
        return
    seen.add(key)
    yield key, gathered
