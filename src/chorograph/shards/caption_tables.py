"""Tables of captions in every form that people have, read one way: CSV, JSON lines, and the JSON of known data sets."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from chorograph.ground.csv_rows import read_csv_rows
from chorograph.ground.decoding import decoded
from chorograph.ground.errors import InputError
from chorograph.ground.file_sorts import sort_of
from chorograph.ground.files import MAX_TABLE, check_regular
from chorograph.ground.image_formats import SUFFIXES, find_image_files
from chorograph.ground.schema import check_depth

#: Columns that name an image and its caption, in any case; the first one there is taken.
IMAGE_COLUMNS = (
    "filepath", "file_name", "filename", "image", "image_path", "image_name", "path", "file", "img", "image_id",
)  # fmt: skip
CAPTION_COLUMNS = ("title", "caption", "captions", "text", "sentence", "raw", "description", "comment")
TABLES = (".csv", ".tsv")
LINES = (".jsonl", ".ndjson")
SEPARATORS = ",\t;|"
_ROLES = {"train": "train", "restval": "train", "val": "val", "test": "test"}


@dataclass(frozen=True)
class CaptionRow:
    """What a table says of an image: where, its name, captions (none: no cell for one), and class and role if told."""

    where: str
    image: str
    captions: tuple[str, ...]
    kind: str | None = None
    role: str | None = None


def read_caption_rows(path: Path, note: Callable[[str], None] = lambda text: None) -> Iterator[CaptionRow]:
    """Yield the rows of a table of captions, in order; `note` is told of a guessed encoding.

    CSV and TSV need a column of `IMAGE_COLUMNS` and one of `CAPTION_COLUMNS`, as do objects of JSON lines. JSON: see
    `read_records`. Raises `InputError` naming file and row for all else.
    """
    check_regular(path, MAX_TABLE)
    suffix, what = path.suffix.lower(), sort_of(path)
    if what is not None and not what.startswith(("a table", "JSON", "text")):
        raise InputError(f"{path} is no table of captions: it is {what}")
    text, encoding = decoded(path, path.read_bytes(), None)
    if encoding in ("gb18030", "cp1252"):
        note(f"{path} is not UTF-8 and was read as {encoding}")
    if suffix in (*LINES, ".json"):
        yield from _json_rows(text, path)
    else:
        yield from _csv_rows(text, path)


def by_image(rows: Iterable[CaptionRow]) -> dict[str, CaptionRow]:
    """Return the first row of each image, with the captions of all of its rows."""
    found: dict[str, CaptionRow] = {}
    for row in rows:
        first = found.get(row.image)
        found[row.image] = row if first is None else replace(first, captions=first.captions + row.captions)
    return found


def columns_of(header: list[str]) -> tuple[str | None, str | None]:
    """Return which columns name the image and its caption."""
    held = {name.lower(): name for name in reversed(header)}
    image = next((held[name] for name in IMAGE_COLUMNS if name in held), None)
    return image, next((held[name] for name in CAPTION_COLUMNS if name in held), None)


def header_of(path: Path) -> list[str]:
    """Return the names in the first line of a table, as far as they can be read."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = file.readline(65_536)
    return [name.strip().strip('"') for name in first.split(_separator(first))]


def names_captions(path: Path) -> bool:
    """Whether a file looks like a table of captions, from its first bytes."""
    suffix = path.suffix.lower()
    if suffix in TABLES:
        return all(columns_of(header_of(path)))
    if suffix not in (*LINES, ".json"):
        return False
    with path.open("rb") as file:
        head = file.read(65_536)
    return any(f'"{name}"'.encode() in head for name in CAPTION_COLUMNS)


def _separator(text: str) -> str:
    return max(SEPARATORS, key=text.lstrip().partition("\n")[0].count)


def _csv_rows(text: str, path: Path) -> Iterator[CaptionRow]:
    held, rows = read_csv_rows(io.StringIO(text, newline=""), path, _separator(text))
    image, caption = columns_of(held)
    if image is None or caption is None:
        raise InputError(f"{path} needs columns filepath and title, not {', '.join(held) or 'none'}{_remedy(held)}")
    role = next((name for name in held if name.lower() == "split"), "")
    for row in rows:
        where = f"{path}, row {row.line}"
        if row.surplus:
            number = len(row.values) + len(row.surplus)
            raise InputError(f"{where}: {number} fields for {len(held)} columns; put texts with a comma in quotes")
        captions = (row.values[caption],) if caption in row.values else ()
        yield CaptionRow(where, _plain(row.values.get(image, "")), captions, role=row.values.get(role))


def _remedy(header: list[str]) -> str:
    cells = [cell.strip().lower() for cell in header]
    if any(cell.endswith(tuple(SUFFIXES)) and "://" not in cell for cell in cells):
        return "; its first line is a row: put the names of the columns above it"
    if any("url" in cell or "://" in cell for cell in cells):
        return "; pairs by URL are fetched and packed by `chorograph curate`, from Parquet"
    return ""


def _plain(name: str) -> str:
    """Return the name of an image as we write paths: of Windows, too."""
    return name.strip().replace("\\", "/").removeprefix("./")


def _json_rows(text: str, path: Path) -> Iterator[CaptionRow]:
    lines = [(number, said) for number, said in enumerate(text.split("\n"), start=1) if said.strip()]
    if text.lstrip()[:1] == "[" or (path.suffix.lower() == ".json" and not _are_objects(lines)):
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path} is not readable JSON ({error})") from None
        check_depth(content, str(path))
        yield from read_records(content, path)
        return
    for number, said in lines:
        where = f"{path}, row {number}"
        try:
            yield _of_object(json.loads(said), where)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: no JSON ({error})") from None


def _are_objects(lines: list[tuple[int, str]]) -> bool:
    """Whether a text is one object a line, whatever its file is called."""
    try:
        return len(lines) > 1 and isinstance(json.loads(lines[0][1]), dict)
    except (ValueError, RecursionError):
        return False


def _of_object(item: Any, where: str) -> CaptionRow:
    """Read an object by the names of its values; a caption that is no text is none."""
    image, caption = columns_of(list(item)) if isinstance(item, dict) else (None, None)
    if image is None or caption is None:
        raise InputError(f"{where}: it needs file_name and text (or caption), not {str(item)[:80]!r}")
    said = item[caption] if isinstance(item[caption], list) else [item[caption]]
    return CaptionRow(where, _plain(str(item[image])), tuple(one for one in said if isinstance(one, str)))


def read_records(content: Any, path: Path) -> Iterator[CaptionRow]:
    """Yield the images of a caption file that was read as JSON; `InputError` naming the file and the image.

    The forms: a list of {image, class, captions} or of {image, caption}, in whichever nesting and by any of the names
    known; {images: [{filename, split, sentences: [{raw}]}]} as Karpathy's splits and the RSICD, UCM and Sydney captions
    have it; NWPU's {class: [{filename, split, raw, raw_1 ...}]}; COCO's {images, annotations}; {name: captions}.
    """
    if isinstance(content, dict) and "annotations" in content:
        yield from _coco(content, path)
        return
    read: Callable[[Any, str], CaptionRow] = _plain_record
    if isinstance(content, dict) and "images" in content:
        items, read = content["images"], _karpathy
    elif isinstance(content, dict) and all(_is_named(*item) for item in content.items()):
        items = [{"image": name, "captions": said} for name, said in content.items()]
    elif isinstance(content, dict):
        items = [(kind, item) for kind, found in content.items() if isinstance(found, list) for item in found]
        read = _nwpu
    else:
        items = list(_flat(content))
    if not isinstance(items, list) or not items:
        raise InputError(f"{path} is not a list of images")
    for number, item in enumerate(items, start=1):
        where = f"{path}, image {number}"
        try:
            row = read(item, where)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path}: image {number} lacks {error}") from error
        if not isinstance(row.image, str) or not all(isinstance(text, str) for text in row.captions):
            raise InputError(f"{path}: image {number} has a name or caption that is no text: {str(item)[:80]}")
        yield replace(row, image=_plain(row.image))


def _is_named(name: str, said: Any) -> bool:
    """Whether an entry of a JSON object is an image's name with its captions."""
    return name.lower().endswith(tuple(SUFFIXES)) and isinstance(said, str | list)


def _flat(content: Any) -> Iterator[Any]:
    for item in content if isinstance(content, list) else [content]:
        yield from _flat(item) if isinstance(item, list) else [item]


def _karpathy(item: Any, where: str) -> CaptionRow:
    captions = tuple(sentence["raw"] for sentence in item["sentences"])
    return CaptionRow(where, item["filename"], captions, None, _ROLES[item["split"]])


def _nwpu(of_class: Any, where: str) -> CaptionRow:
    kind, item = of_class
    captions = tuple(text for key, text in item.items() if key == "raw" or key.startswith("raw_"))
    return CaptionRow(where, f"{kind}/{item['filename']}", captions, kind, _ROLES[item["split"]])


def _plain_record(item: Any, where: str) -> CaptionRow:
    image, caption = columns_of(list(item.keys()))
    if image is None:
        raise KeyError("image")
    said = item[caption or "captions"]
    return CaptionRow(where, item[image], tuple(said) if isinstance(said, list) else (said,), item.get("class"))


def _coco(content: Any, path: Path) -> Iterator[CaptionRow]:
    """Yield the annotations of COCO's form, {images: [{id, file_name}], annotations: [{image_id, caption}]}."""
    try:
        ids = [str(image["id"]) for image in content["images"]]
        if len(set(ids)) < len(ids):
            raise InputError(f"{path}: several images have the id {max(ids, key=ids.count)!r}; give each its own")
        names = dict(zip(ids, (str(image["file_name"]) for image in content["images"]), strict=True))
        for number, item in enumerate(content["annotations"], start=1):
            if not isinstance(item["caption"], str):
                raise InputError(f"{path}: annotation {number} has a caption that is no text: {item['caption']!r}")
            where = f"{path}, annotation {number}"
            yield CaptionRow(where, names[str(item["image_id"])], (item["caption"],))
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not in COCO's form: it lacks {error}") from error


@dataclass(frozen=True)
class ImageFiles:
    """The image files below a folder, found again by however much of their path a table gives."""

    folder: Path

    @cached_property
    def _known(self) -> dict[str, list[Path]]:
        known: dict[str, list[Path]] = defaultdict(list)
        for path in find_image_files(self.folder, lambda reason: None):
            for name in dict.fromkeys((path.name.lower(), path.stem.lower())):
                known[name].append(path)
        return known

    def find(self, name: str, where: str) -> Path | None:
        """Return the file that `name` ends like, with its suffix or without, in any case; None where there is none.

        Raises `InputError` where it may be several.
        """
        parts = PurePosixPath(name).parts
        found = self._known.get(parts[-1].lower(), []) if parts else []
        if len(found) > 1:
            found = [path for path in found if path.parts[-len(parts) :] == parts] or found
        if len(found) > 1:
            raise InputError(f"{where}: image {name!r} could be {found[0]} or {found[1]}; remove one of them")
        return found[0] if found else None
