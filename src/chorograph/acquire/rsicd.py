"""RSICD (Lu et al. 2017): aerial images of 30 classes, five human captions each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from chorograph.acquire.captions_json import caption_table
from chorograph.acquire.corpus import class_facts
from chorograph.acquire.holding import hold
from chorograph.area.errors import InputError
from chorograph.area.files import read_json
from chorograph.area.folder import AreaDraft, Source
from chorograph.area.stage import Ledger, Progress, silent

_SOURCE = Source("RSICD", licence="unstated", attribution="Lu et al. 2017; imagery by Google Earth")
_ROLES = {"train": "train", "val": "val", "test": "test"}


@dataclass(frozen=True)
class _Record:
    image: str
    captions: list[str]
    kind: str | None
    role: str | None


def import_rsicd(
    source: Path, out: Path, ledger: Ledger, *, skip_bad: bool = False, progress: Progress = silent
) -> None:
    """Build a corpus from `captions.json` (image, class, captions) or the official `dataset_rsicd.json`, and images.

    The official file's split is filed as `splits/official`.
    """
    described = next((p for p in (source / "captions.json", source / "dataset_rsicd.json") if p.is_file()), None)
    if described is None:
        raise InputError(f"{source} holds neither captions.json nor dataset_rsicd.json")
    records = list(_records(read_json(described), described))
    folder = next((p for p in (source / "images", source / "RSICD_images") if p.is_dir()), source)
    pairs = []
    for record in records:
        texts = [text.strip() for text in record.captions]
        ledger.drop("empty caption", sum(not text for text in texts))
        pairs += [(Path(record.image).stem, text) for text in texts if text]
    with AreaDraft(out, out.name, "RSICD", [_SOURCE]) as draft:
        rows = []
        for done, record in enumerate(records, start=1):
            file = folder / Path(record.image).name
            uri, sha256 = hold(
                draft, Path(record.image).stem, file if file.exists() else None, ledger, skip_bad=skip_bad
            )
            rows.append({"image_id": Path(record.image).stem, "uri": uri, "sha256": sha256})
            progress("reading images", done, len(records))
        images = pd.DataFrame(rows).assign(view="satellite", source=_SOURCE.name, licence="Google Earth's terms")
        draft.write("images", images)
        draft.write("captions", caption_table(pairs, "human"))
        classes = [(Path(record.image).stem, record.kind) for record in records if record.kind]
        if classes:
            triples, entities = class_facts(classes)
            draft.write("entities", entities)
            draft.write("triples", triples)
        if all(record.role for record in records):
            roles = {"image_id": images["image_id"], "role": [record.role for record in records]}
            draft.write_split("official", pd.DataFrame(roles))
    ledger.count("images known", len(images))
    ledger.count("images held", int(images["uri"].notna().sum()))
    ledger.count("captions", len(pairs))


def _records(content: Any, path: Path) -> Iterator[_Record]:
    official = isinstance(content, dict)
    items = content.get("images") if official else content
    if not isinstance(items, list) or not items:
        raise InputError(f"{path} is not a list of images")
    for number, item in enumerate(items, start=1):
        try:
            if official:
                captions = [sentence["raw"] for sentence in item["sentences"]]
                image, kind, role = item["filename"], None, _ROLES[item["split"]]
            else:
                captions, image, kind, role = item["captions"], item["image"], item.get("class"), None
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: image {number} lacks {error}") from error
        if not isinstance(image, str) or not all(isinstance(text, str) for text in captions):
            raise InputError(f"{path}: image {number} has a name or caption that is no text")
        yield _Record(image, captions, kind, role)
