"""Evaluation data in the layouts that it is published in, as one list of examples."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from chorograph.acquisition.layouts.captions_json import read_pairs
from chorograph.acquisition.layouts.rsicd import read_records
from chorograph.acquisition.own.image_folder import find_images
from chorograph.area.folder import Area
from chorograph.ground.csv_rows import read_csv_rows
from chorograph.ground.errors import InputError
from chorograph.ground.files import MAX_TABLE, check_regular, read_json
from chorograph.ground.image_formats import find_image_files, is_litter
from chorograph.ground.stage import Ledger

_ROLES = ("train", "val", "test")
_JSON_FILES = ("captions.json", "dataset_*.json")
_OTHER_FILES = ("*_test.csv", "*.csv", "*.json")
_IMAGE_COLUMNS = ("filename", "image", "image_id", "filepath", "file")
_CAPTION_COLUMNS = ("title", "caption", "text", "sentence", "raw")


@dataclass(frozen=True)
class Example:
    """An image of a data set: its file, its name there, where it is listed, and its class, captions and role if any."""

    file: Path
    key: str
    where: str
    kind: str | None = None
    captions: tuple[str, ...] = ()
    role: str | None = None


def read_classified(data: Path, ledger: Ledger, *, split: str | None = None) -> list[Example]:
    """Return the images of a data set with their classes.

    `data` is a folder of class folders (EuroSAT, RESISC45, AID; perhaps one folder further down, or below train, val
    and test), an area whose graph says `image isOf class`, or a folder with a caption file that names classes. `split`
    is a given split of an area. Raises `InputError` naming a class folder without images, or the row of an image that
    is not there.
    """
    _refuse_generated(data)
    if _is_area(data):
        examples = _read_area(Area.open(data), split, ledger)
    elif (described := _described(data, _JSON_FILES)) is not None:
        examples = _read_caption_file(described, ledger)
    else:
        examples = _read_folder(data, ledger)
    if unknown := [example for example in examples if example.kind is None]:
        if len(unknown) == len(examples):
            raise InputError(f"{data} names no classes; give a folder of class folders, or a corpus imported with them")
        ledger.drop("image without a class", len(unknown))
    return [example for example in examples if example.kind is not None]


def read_captioned(data: Path, ledger: Ledger, *, split: str | None = None) -> list[Example]:
    """Return the images of a data set with their captions.

    `data` is an area or corpus with captions, a caption file beside its images, or the folder of one: CSV (filename,
    title; one caption a row; UTF-8 or GB 18030), `dataset_NAME.json` of RSICD, UCM, Sydney or NWPU, a list of {image,
    captions} or of {image, caption}, COCO's form. Raises `InputError` naming the file and row of an image that is not
    there.
    """
    _refuse_generated(data)
    if _is_area(data):
        examples = _read_area(Area.open(data), split, ledger)
    else:
        described = data if data.is_file() else _described(data, (*_JSON_FILES, *_OTHER_FILES))
        if described is None:
            raise InputError(
                f"{data} holds no caption file; it needs one .csv (filename, title), captions.json or dataset_NAME.json"
            )
        examples = _read_caption_file(described, ledger)
    silent = sum(not example.captions for example in examples)
    ledger.drop("image without a caption", silent)
    if silent == len(examples):
        raise InputError(f"{data} holds no captions")
    return [example for example in examples if example.captions]


def of_role(examples: Sequence[Example], role: str) -> list[Example]:
    """Return the examples of a role; all of them where the data is not parted. `InputError` where none has it."""
    if all(example.role is None for example in examples):
        return list(examples)
    chosen = [example for example in examples if example.role == role]
    if not chosen:
        held = sorted({str(example.role) for example in examples})
        raise InputError(f"no image has the role {role}; the data has {', '.join(held)}")
    return chosen


#: The source of images that a model made (`chorograph generate`).
_GENERATED = "generated"


def refuse_generated(area: Area) -> None:
    """Raise `InputError` for an area with images that a model made."""
    if (area.images["source"] == _GENERATED).any():
        raise InputError(f"{area.path} holds generated images (source: {_GENERATED}); a model is not judged on those")


def _refuse_generated(data: Path) -> None:
    if (data / "pictures.json").is_file():
        raise InputError(f"{data} holds generated images (pictures.json); a model is not judged on those")


def _is_area(data: Path) -> bool:
    return (data / "area.toml").is_file()


def _described(folder: Path, patterns: Sequence[str]) -> Path | None:
    """Return the one file of a folder that the first fitting pattern finds; `InputError` where it finds several."""
    for pattern in patterns:
        found = sorted(folder.glob(pattern))
        if len(found) > 1:
            raise InputError(f"{folder} holds {found[0].name} and {found[1].name}; say which as --data")
        if found:
            return found[0]
    return None


def _read_folder(data: Path, ledger: Ledger) -> list[Example]:
    every = [path for path in data.iterdir() if path.is_dir()] if data.is_dir() else []
    folders = [path for path in every if not is_litter(path)]
    if len(folders) == 1 and any(path.is_dir() and not is_litter(path) for path in folders[0].iterdir()):
        ledger.drop("folder that is hidden or one of the system, no class", len(every) - len(folders))
        return _read_folder(folders[0], ledger)
    if folders and {path.name for path in folders} <= set(_ROLES):
        return [
            replace(example, role=folder.name, key=f"{folder.name}/{example.key}")
            for folder in sorted(folders)
            for example in _read_folder(folder, ledger)
        ]
    found = find_images(data, ledger)
    return [Example(file, file.relative_to(data).as_posix(), str(file), kind=name) for name, file in found]


def _read_area(area: Area, split: str | None, ledger: Ledger) -> list[Example]:
    refuse_generated(area)
    images = area.images
    ledger.drop("image known but not held", int(images["uri"].isna().sum()))
    images = images[images["uri"].notna()]
    captions = area.captions.sort_values(["image_id", "rank", "caption_id"]).groupby("image_id")["caption"].agg(tuple)
    triples = area.triples
    classes = triples[(triples["relation"] == "isOf") & triples["tail"].str.startswith("class:")]
    heads, tails = classes["head"].str.removeprefix("image:"), classes["tail"].str.removeprefix("class:")
    kinds = dict(zip(heads, tails, strict=True))
    roles: dict[str, str] = {}
    if split is not None:
        given = area.split(split)
        by = "region_id" if "region_id" in given.columns else "image_id"
        roles = dict(zip(images["image_id"], images[by].map(given.set_index(by)["role"]).fillna("none"), strict=True))
    return [
        Example(
            area.resolve(uri),
            image_id,
            f"image {image_id!r} of {area.path}",
            kinds.get(image_id),
            captions.get(image_id, ()),
            roles.get(image_id),
        )
        for image_id, uri in zip(images["image_id"], images["uri"], strict=True)
    ]


def _read_caption_file(path: Path, ledger: Ledger) -> list[Example]:
    """Return one example an image, in the order in which the file first names them."""
    rows = _csv_rows(path) if path.suffix.lower() == ".csv" else _json_rows(path)
    files = _Files.below(path.parent)
    examples: dict[str, Example] = {}
    for where, name, texts, kind, role in rows:
        kept = tuple(text.strip() for text in texts if text.strip())
        ledger.drop("empty caption", len(texts) - len(kept))
        if name in examples:
            examples[name] = replace(examples[name], captions=examples[name].captions + kept)
        else:
            examples[name] = Example(files.find(name, where), name, where, kind, kept, role)
    if not examples:
        raise InputError(f"{path} lists no images")
    return list(examples.values())


_Row = tuple[str, str, Sequence[str], str | None, str | None]


def _csv_rows(path: Path) -> Iterable[_Row]:
    """Yield (where, image, [caption], None, role) of each row of a table."""
    check_regular(path, MAX_TABLE)
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is neither UTF-8 nor GB 18030: {error}") from error
    columns, rows = read_csv_rows(io.StringIO(text, newline=""), path)
    image = next((name for name in _IMAGE_COLUMNS if name in columns), None)
    caption = next((name for name in _CAPTION_COLUMNS if name in columns), None)
    if image is None or caption is None:
        raise InputError(f"{path} needs columns filename and title, not {', '.join(columns) or 'none'}")
    for row in rows:
        where = f"{path}, row {row.line}"
        if row.surplus:
            held = len(row.values) + len(row.surplus)
            raise InputError(f"{where}: {held} fields for {len(columns)} columns; put a text with commas in quotes")
        if not row.values.get(image) or caption not in row.values:
            raise InputError(f"{where}: {image} or {caption} is missing")
        yield where, row.values[image], [row.values[caption]], None, row.values.get("split")


def _json_rows(path: Path) -> Iterable[_Row]:
    content = read_json(path)
    if _is_pairs(content):
        for number, (image, caption) in enumerate(read_pairs(path), start=1):
            yield f"{path}, record {number}", image, [caption], None, None
        return
    if isinstance(content, dict) and "annotations" in content:
        yield from _coco_rows(content, path)
        return
    for number, record in enumerate(read_records(content, path), start=1):
        yield f"{path}, image {number}", record.image, record.captions, record.kind, record.role


def _coco_rows(content: Any, path: Path) -> Iterable[_Row]:
    """Yield the annotations of COCO's form, {images: [{id, file_name}], annotations: [{image_id, caption}]}."""
    try:
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        for number, item in enumerate(content["annotations"], start=1):
            yield f"{path}, annotation {number}", names[item["image_id"]], [str(item["caption"])], None, None
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is not in COCO's form: it lacks {error}") from error


def _is_pairs(content: Any) -> bool:
    """Whether a JSON file is a list of {image, caption}, in whichever nesting."""
    while isinstance(content, list) and content:
        content = content[0]
    return isinstance(content, dict) and "caption" in content


@dataclass(frozen=True)
class _Files:
    """The image files below a folder, found again by however much of their path a table gives."""

    folder: Path
    by_name: dict[str, list[Path]]

    @classmethod
    def below(cls, folder: Path) -> _Files:
        by_name = defaultdict(list)
        for path in find_image_files(folder, lambda reason: None):
            by_name[path.name].append(path)
        return cls(folder, dict(by_name))

    def find(self, name: str, where: str) -> Path:
        """Return the file that `name` ends like; `InputError` where there is none, or more than one."""
        found = self.by_name.get(PurePosixPath(name).name, [])
        if len(found) > 1:
            parts = PurePosixPath(name).parts
            found = [path for path in found if path.parts[-len(parts) :] == parts]
        if not found:
            raise InputError(f"{where}: image {name!r} is not below {self.folder}; put it there or remove the row")
        if len(found) > 1:
            raise InputError(f"{where}: image {name!r} could be {found[0]} or {found[1]}; remove one of them")
        return found[0]
