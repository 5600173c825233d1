"""Evaluation data in the layouts that it is published in, as one list of examples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from chorograph.acquisition.own.image_folder import find_images, parts_of
from chorograph.area.folder import Area
from chorograph.ground.errors import InputError
from chorograph.ground.image_formats import is_litter
from chorograph.ground.stage import Ledger
from chorograph.shards.caption_tables import CaptionRow, ImageFiles, by_image, read_caption_rows

_JSON_FILES = ("captions.json", "dataset_*.json")
_OTHER_FILES = ("metadata.jsonl", "metadata.csv", "*_test.csv", "*.csv", "*.tsv", "*.jsonl", "*.json")


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

    `data` is an area or corpus with captions, a caption file beside its images, or the folder of one: CSV or TSV
    (filename, title; one caption a row), JSON lines, and the forms of JSON that `read_records` knows. Raises
    `InputError` naming the file and row of an image that is not there.
    """
    _refuse_generated(data)
    if _is_area(data):
        examples = _read_area(Area.open(data), split, ledger)
    else:
        described = data if data.is_file() else _described(data, (*_JSON_FILES, *_OTHER_FILES))
        if described is None:
            raise InputError(
                f"{data} holds no caption file; it needs one .csv (filename, title), metadata.jsonl, "
                "captions.json or dataset_NAME.json"
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
    if parts := parts_of(data):
        ledger.drop("folder that is hidden or one of the system, no class", len(every) - len(folders))
        return [
            replace(example, role=role, key=f"{folder.name}/{example.key}")
            for role, folder in parts.items()
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
    kinds = area.image_classes()
    roles: dict[str, str] = {}
    if split is not None:
        roles = dict(zip(images["image_id"], area.roles(split, images).fillna("none"), strict=True))
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
    files = ImageFiles(path.parent)
    examples: list[Example] = []
    for name, row in by_image(_whole(read_caption_rows(path, ledger.warnings.append))).items():
        kept = tuple(text.strip() for text in row.captions if text.strip())
        ledger.drop("empty caption", len(row.captions) - len(kept))
        file = files.find(name, row.where)
        if file is None:
            raise InputError(f"{row.where}: image {name!r} is not below {path.parent}; put it there or remove the row")
        examples.append(Example(file, name, row.where, row.kind, kept, row.role))
    if not examples:
        raise InputError(f"{path} lists no images")
    return examples


def _whole(rows: Iterable[CaptionRow]) -> Iterable[CaptionRow]:
    """Yield rows that name an image and have a cell for its caption; `InputError` for another."""
    for row in rows:
        if not row.image or not row.captions:
            raise InputError(f"{row.where}: the name of its image or its caption is missing")
        yield row
