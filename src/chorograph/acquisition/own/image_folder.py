"""Any folder of class folders of images, as torchvision's ImageFolder reads it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from chorograph.acquisition.corpus import class_facts
from chorograph.acquisition.holding import hold
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source
from chorograph.ground.errors import InputError
from chorograph.ground.image_formats import SUFFIXES, find_image_files, is_litter
from chorograph.ground.stage import Ledger, Progress, silent

#: What parts of a data set are called, and their roles.
_PARTS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def parts_of(source: Path) -> dict[str, Path]:
    """Return the folders of train, val and test by their role where SOURCE holds nothing but such, else nothing."""
    folders = [path for path in source.iterdir() if path.is_dir() and not is_litter(path)] if source.is_dir() else []
    parts = {_PARTS.get(path.name.lower(), ""): path for path in sorted(folders)}
    return parts if len(parts) == len(folders) and "" not in parts else {}


def find_images(source: Path, ledger: Ledger) -> list[tuple[str, Path]]:
    """Return (class, file) of every image below SOURCE/CLASS, sorted; `InputError` for a class folder without images.

    Hidden folders and files, a system's own (`__MACOSX`, `._a.jpg`), images beside the class folders and links that
    lead out of SOURCE are left out and counted.
    """
    if not source.is_dir():
        raise InputError(f"{source} is not a folder")
    root = source.resolve()
    found: list[tuple[str, Path]] = []
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        if is_litter(folder):
            ledger.drop("folder that is hidden or one of the system, no class")
            continue
        files = find_image_files(folder, ledger.drop)
        if not files:
            raise InputError(f"{folder} holds no images; remove the folder or fill it")
        for file in files:
            if file.resolve().is_relative_to(root):
                found.append((folder.name, file))
            else:
                ledger.drop("link that leads out of the folder")
    if not found:
        raise InputError(f"{source} holds no class folders with images")
    beside = [path for path in source.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file()]
    ledger.drop("image beside the class folders, of no class", len(beside))
    return found


def import_image_folder(
    source: Path, out: Path, ledger: Ledger, *, skip_bad: bool = False, progress: Progress = silent
) -> None:
    """Build a corpus from SOURCE/CLASS/IMAGE, or from SOURCE/PART/CLASS/IMAGE with the parts as `splits/official`."""
    parts = parts_of(source)
    listed = [(role, *one) for role, part in (parts or {"": source}).items() for one in find_images(part, ledger)]
    found = [(str(file.relative_to(source).with_suffix("")), name, file) for _, name, file in listed]
    with AreaDraft(out, out.name, source.name, [Source(source.name)]) as draft:
        rows = []
        for done, (image_id, _, file) in enumerate(found, start=1):
            uri, sha256 = hold(draft, image_id, file, ledger, skip_bad=skip_bad)
            rows.append({"image_id": image_id, "uri": uri, "sha256": sha256})
            progress("reading images", done, len(found))
        images = pd.DataFrame(rows).assign(view="satellite", source=source.name, licence="unstated")
        draft.write("images", images)
        triples, entities = class_facts((image_id, name) for image_id, name, _ in found)
        draft.write("entities", entities)
        draft.write("triples", triples)
        if parts:
            draft.write_split("official", images[["image_id"]].assign(role=[role for role, *_ in listed]))
    ledger.count("images", len(found))
    ledger.count("classes", len({name for _, name, _ in found}))
