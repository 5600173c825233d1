"""Image-text pairs as people have them before there are shards: files beside each other, or a table that names them.

Three forms: a folder of `a.jpg` with `a.txt`; a CSV or TSV of file names and captions; a folder with `metadata.jsonl`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.csv_rows import read_csv_rows
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.files import within
from chorograph.ground.image_formats import SUFFIXES, find_image_files, is_litter
from chorograph.shards.samples import captions_of
from chorograph.shards.tar import Drop

#: Columns that name an image and its caption, the first one there is taken: open_clip's, Hugging Face's, others.
IMAGE_COLUMNS = ("filepath", "file_name", "filename", "image", "image_path", "path", "file")
CAPTION_COLUMNS = ("title", "caption", "captions", "text", "sentence")
_TABLES = (".csv", ".tsv", ".jsonl")
_NAMED = ("metadata.jsonl", "metadata.csv")
_BESIDE = (".caption", ".txt", ".json")


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
            return within(self.root, self.keys[row]).read_bytes()
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
        return place.suffix.lower() in _TABLES
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
    counted: Counter[str] = Counter()

    def tell(reason: str) -> None:
        counted[reason] += 1
        drop(reason)

    for name, said in _files(place, tell) if table is None else _rows(table, tell):
        texts[name] = (*texts.get(name, ()), *said)
    if not texts:
        reasons = ", ".join(f"{number} x {reason}" for reason, number in counted.items()) or "nothing is in it"
        raise InputError(
            f"{place}: no image with a caption in {'it' if table is None else table.name}; left out: {reasons}; give "
            "a.jpg beside a.txt, or a table of filepath and title"
        )
    keys = tuple(sorted(texts))
    return FolderPairs(root, keys, tuple(texts[key] for key in keys))


def _table_of(folder: Path) -> Path | None:
    """Return the table of a folder: by its name, or the only one that has columns of files and captions."""
    if named := next((folder / name for name in _NAMED if (folder / name).is_file()), None):
        return named
    found = [path for path in folder.iterdir() if path.suffix.lower() in _TABLES[:2] and not is_litter(path)]
    return found[0] if len(found) == 1 and all(_columns(_header(found[0]))) else None


def _header(path: Path) -> list[str]:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(65_536)
    return [name.strip().strip('"') for name in first.split(_delimiter(first))]


def _delimiter(header: str) -> str:
    return max(",\t;", key=header.count)


def _columns(held: list[str]) -> tuple[str | None, str | None]:
    image = next((name for name in IMAGE_COLUMNS if name in held), None)
    return image, next((name for name in CAPTION_COLUMNS if name in held), None)


def _files(folder: Path, drop: Drop) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the images of a folder with what stands in the file of the same name beside each."""
    images = find_image_files(folder, drop)
    for path in images:
        beside = _beside(path)
        if beside is None:
            drop("image without a caption")
            continue
        found, reason = captions_of({beside.suffix[1:]: beside.read_bytes()})
        if reason is None:
            yield path.relative_to(folder).as_posix(), found
        else:
            drop(reason)
    stems = {path.with_suffix("") for path in images}
    for path in folder.rglob("*.txt"):
        if path.with_suffix("") not in stems and not is_litter(path):
            drop("caption without an image")


def _beside(image: Path) -> Path | None:
    return next((path for suffix in _BESIDE if (path := image.with_suffix(suffix)).is_file()), None)


def _rows(table: Path, drop: Drop) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield image and captions of each row of a table whose image is there."""
    folder = table.parent
    for line, name, captions in _json_rows(table) if table.suffix.lower() == ".jsonl" else _csv_rows(table):
        kept = tuple(text.strip() for text in captions if text.strip())
        if not name or not kept:
            drop("row without a file name or caption")
            continue
        try:
            path = within(folder, name)
        except InputError as error:
            raise InputError(f"{table}, row {line}: {error}") from None
        if path.suffix.lower() not in SUFFIXES:
            drop("file is named like no image")
        elif not path.is_file():
            drop("image is not there")
        else:
            yield path.relative_to(folder.resolve()).as_posix(), kept


def _csv_rows(table: Path) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            delimiter = _delimiter(file.readline(65_536))
            file.seek(0)
            held, rows = read_csv_rows(file, table, delimiter)
            image, caption = _columns(held)
            if image is None or caption is None:
                raise InputError(f"{table} needs columns filepath and title, not {', '.join(held) or 'none'}")
            for row in rows:
                if row.surplus:
                    raise InputError(
                        f"{table}, row {row.line}: {len(row.values) + len(row.surplus)} fields for {len(held)} "
                        "columns; put texts with a comma in quotes"
                    )
                yield row.line, row.values.get(image, "").strip(), (row.values.get(caption, ""),)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{table} cannot be read as CSV: {error}; save it as UTF-8") from error


def _json_rows(table: Path) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    with table.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{table}, row {line}: no JSON ({error})") from None
            image, caption = _columns(list(row)) if isinstance(row, dict) else (None, None)
            if image is None or caption is None:
                raise InputError(f"{table}, row {line}: it needs file_name and text (or caption), not {text[:80]!r}")
            said = row[caption] if isinstance(row[caption], list) else [row[caption]]
            yield line, str(row[image]).strip(), tuple(one for one in said if isinstance(one, str))
