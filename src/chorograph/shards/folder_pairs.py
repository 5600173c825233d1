"""Image-text pairs as people have them before there are shards: files beside each other, or a table that names them.

Two forms: a folder of `a.jpg` with `a.txt`; a table of captions (see `caption_tables`), by itself or in its folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.files import MAX_TABLE, check_regular, within
from chorograph.ground.image_formats import SUFFIXES, find_image_files, is_litter
from chorograph.shards.caption_tables import LINES, TABLES, ImageFiles, columns_of, header_of, read_caption_rows
from chorograph.shards.left_out import LeftOut
from chorograph.shards.samples import captions_of
from chorograph.shards.tar import Drop

#: Tables that are known by their names; of another name, the only one of a folder that has the columns.
_NAMED = ("metadata.jsonl", "metadata.csv", "captions.json")
_BESIDE = (".caption", ".txt", ".json", ".CAPTION", ".TXT", ".JSON")


@dataclass(frozen=True)
class FolderPairs:
    """Pairs by row, sorted by file name: images as files of a folder, captions in memory."""

    root: Path
    keys: tuple[str, ...] = field(repr=False)
    texts: tuple[tuple[str, ...], ...] = field(repr=False)

    @property
    def paths(self) -> tuple[Path, ...]:
        """Where the pairs lie."""
        return (self.root,)

    @cached_property
    def numbers(self) -> NDArray[np.int32]:
        """How many captions each row has (n,)."""
        return np.array([len(texts) for texts in self.texts], dtype=np.int32)

    def __len__(self) -> int:
        return len(self.keys)

    def key(self, row: int) -> str:
        """Return the name of a row's file below the folder."""
        return self.keys[row]

    def uri(self, row: int) -> str:
        """Return the path of a row's image."""
        return str(self.root / self.keys[row])

    def image(self, row: int) -> bytes:
        """Return the encoded image; `ImageError` ("missing") where it is gone."""
        try:
            path = within(self.root, self.keys[row])
            check_regular(path, MAX_TABLE)
            return path.read_bytes()
        except (OSError, InputError) as error:
            raise ImageError("missing", self.uri(row)) from error

    def captions(self, row: int) -> tuple[str, ...]:
        """Return the captions of a row, one or more."""
        return self.texts[row]

    def caption(self, row: int) -> str:
        """Return the first caption of a row."""
        return self.texts[row][0]


def holds_pairs(place: Path) -> bool:
    """Whether a path is a table of file names, or a folder of images with captions beside them or in a table."""
    if place.is_file():
        return place.suffix.lower() in (*TABLES, *LINES, ".json")
    if not place.is_dir() or (place / "area.toml").exists():
        return False
    return _table_of(place) is not None or any(_beside(path) for path in find_image_files(place, lambda reason: None))


def open_folder(place: Path, drop: Drop) -> FolderPairs:
    """Read the pairs of a folder or table; what is no pair is told to `drop`.

    Raises `InputError` naming the row of a table that cannot be read or whose image leads out of its folder, and where
    no pair is left.
    """
    table = place if place.is_file() else _table_of(place)
    root = place if table is None else table.parent
    texts: dict[str, tuple[str, ...]] = {}
    left_out = LeftOut(drop, place.name)
    for name, said in _files(place, left_out) if table is None else _rows(table, left_out):
        texts[name] = (*texts.get(name, ()), *said)
    if not texts:
        raise InputError(
            f"{place}: no image with a caption in {'it' if table is None else table.name}; {left_out}; give a.jpg "
            f"beside a.txt, or a table of filepath and title{_shards_below(place)}"
        )
    keys = tuple(sorted(texts))
    return FolderPairs(root, keys, tuple(texts[key] for key in keys))


def _shards_below(place: Path) -> str:
    below = sorted({str(found.parent) for found in place.glob("*/*.tar")})
    return f"; shards lie in {', '.join(below[:3])}: name that" if below else ""


def _table_of(folder: Path) -> Path | None:
    """Return the table of a folder: by its name, or the only one that has columns of files and captions."""
    if named := next((folder / name for name in _NAMED if (folder / name).is_file()), None):
        return named
    found = [path for path in folder.iterdir() if path.suffix.lower() in TABLES and not is_litter(path)]
    return found[0] if len(found) == 1 and all(columns_of(header_of(found[0]))) else None


def _files(folder: Path, left_out: LeftOut) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the images of a folder with what stands in the file of the same name beside each."""
    images = find_image_files(folder, left_out.tell)
    for path in images:
        name, beside = path.relative_to(folder).as_posix(), _beside(path)
        if beside is None:
            left_out.tell("image without a caption", example=name)
            continue
        found, reason = captions_of({beside.suffix[1:].lower(): beside.read_bytes()})
        if reason is None:
            yield name, found
        else:
            left_out.tell(reason, example=beside.name)
    stems = {path.with_suffix("") for path in images}
    for path in folder.rglob("*.txt"):
        if path.with_suffix("") not in stems and path.with_suffix("") not in images and not is_litter(path):
            left_out.tell("caption without an image", example=path.name)


def _beside(image: Path) -> Path | None:
    """Return the file of an image's captions: a.txt of a.jpg, or a.jpg.txt."""
    names = (*(image.with_suffix(suffix) for suffix in _BESIDE), *(image.with_name(image.name + s) for s in _BESIDE))
    return next((path for path in names if path.is_file()), None)


def _rows(table: Path, left_out: LeftOut) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield image and captions of each row of a table whose image is there."""
    files, root = ImageFiles(table.parent), table.parent.resolve()
    for row in read_caption_rows(table):
        kept = tuple(text.strip() for text in row.captions if text.strip())
        if not row.image or not kept:
            left_out.tell("row without a file name or caption", example=row.where)
            continue
        try:
            path = within(root, row.image)
            if not path.is_file() and (found := files.find(row.image, row.where)) is not None:
                path = within(root, str(found.relative_to(table.parent)))
        except InputError as error:
            raise InputError(f"{row.where}: {error}") from None
        if "://" in row.image:
            left_out.tell("image is a URL", example=row.image)
        elif not path.is_file():
            left_out.tell("image is not there", example=row.image)
        elif path.suffix.lower() not in SUFFIXES:
            left_out.tell("file is named like no image", example=row.image)
        else:
            yield path.relative_to(root).as_posix(), kept
