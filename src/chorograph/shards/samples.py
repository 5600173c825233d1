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
#: Why a `json` beside an image gives no caption.
UNNAMED_CAPTION = "json without a caption"
#: What is told of a sample's other images: the first is taken.
SECOND_IMAGE = "second image of one key"
#: Why nothing is found of names with coordinates or versions in them.
DOTTED = "name with a dot before its extension"


@dataclass(frozen=True)
class Sample:
    """What one key holds: the bytes of its members by lower-case extension."""

    key: str
    members: Mapping[str, bytes]

    def image(self) -> bytes:
        """Return the encoded image."""
        return self.members[next(extension for extension in IMAGES if extension in self.members)]

    def captions(self) -> tuple[str, ...]:
        """Return the captions, one or more."""
        found, reason = captions_of(self.members)
        if reason is not None:
            raise ValueError(f"{self.key}: {reason}")
        return found

    def caption(self) -> str:
        """Return the first caption."""
        return self.captions()[0]

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
            for _ in range(lost(members) if reason else other_images(members)):
                drop(reason or SECOND_IMAGE)


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
    captioned = any(extension in members for extension in CAPTIONS)
    if not any(image in members for image in IMAGES):
        if _dotted(members):
            return DOTTED
        return "caption without an image" if captioned else "neither image nor caption"
    return captions_of({extension: member.data or b"" for extension, member in members.items()})[1]


def lost(members: Mapping[str, Member]) -> int:
    """Return how many images go with a sample that is no pair: names with dots make one key of many."""
    return max(1, len(_dotted(members)))


def _dotted(members: Mapping[str, Member]) -> list[str]:
    """Return the extensions that are an image's but for dots before: of `tile_34.05_-118.24.jpg`, `05_-118.24.jpg`."""
    return [extension for extension in members if "." in extension and extension.rpartition(".")[2] in IMAGES]


def other_images(members: Mapping[str, object]) -> int:
    """Return how many images a sample has beyond the one that is taken."""
    return sum(extension in members for extension in IMAGES) - 1


def captions_of(members: Mapping[str, bytes]) -> tuple[tuple[str, ...], str | None]:
    """Return the captions of a sample and None, or none and the reason.

    A `json` that lists `captions` (as `area pack` writes it) has them all; else there is one, in the first of
    `CAPTIONS`.
    """
    if listed := read_listed(members.get("json", b"")):
        return listed, None
    extension = next((extension for extension in CAPTIONS if extension in members), None)
    if extension is None:
        return (), _WITHOUT_CAPTION
    caption, reason = read_caption(extension, members[extension])
    return (() if caption is None else (caption,)), reason


def read_listed(data: bytes) -> tuple[str, ...]:
    """Return the texts that a JSON object lists as `captions` or `caption`; none where it is something else."""
    if b'"caption' not in data:
        return ()
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return ()
    lists = [content.get(name) for name in ("captions", "caption")] if isinstance(content, dict) else []
    texts = next((found for found in lists if isinstance(found, list)), [])
    return tuple(text.strip() for text in texts if isinstance(text, str) and text.strip())


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
            return None, UNNAMED_CAPTION
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
