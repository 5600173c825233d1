"""RSICD (Lu et al. 2017): aerial images of 30 classes, five human captions each."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from chorograph.acquisition.corpus import class_facts
from chorograph.acquisition.holding import hold
from chorograph.acquisition.layouts.captions_json import caption_table
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source
from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json, within
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.shards.caption_tables import by_image, read_records

_SOURCE = Source("RSICD", licence="unstated", attribution="Lu et al. 2017; imagery by Google Earth")


def import_rsicd(
    source: Path, out: Path, ledger: Ledger, *, skip_bad: bool = False, progress: Progress = silent
) -> None:
    """Build a corpus from `captions.json` (image, class, captions) or the official `dataset_rsicd.json`, and images.

    The official file's split is filed as `splits/official`. Other sets of the same form (`dataset_RSITMD.json`) are
    read as well, and named by their file.
    """
    described = next(
        (p for p in (source / "captions.json", *sorted(source.glob("dataset_*.json"))) if p.is_file()), None
    )
    if described is None:
        raise InputError(f"{source} holds neither captions.json nor dataset_rsicd.json")
    named = described.stem.removeprefix("dataset_").upper()
    origin = _SOURCE if named in ("CAPTIONS", "RSICD") else Source(named)
    records = list(by_image(read_records(read_json(described), described)).values())
    folder = next((p for p in (source / "images", source / "RSICD_images") if p.is_dir()), source)
    pairs = []
    for record in records:
        texts = [text.strip() for text in record.captions]
        ledger.drop("empty caption", sum(not text for text in texts))
        pairs += [(Path(record.image).stem, text) for text in texts if text]
    with AreaDraft(out, out.name, origin.name, [origin]) as draft:
        rows = []
        for done, record in enumerate(records, start=1):
            file = within(folder, Path(record.image).name)
            uri, sha256 = hold(
                draft, Path(record.image).stem, file if file.exists() else None, ledger, skip_bad=skip_bad
            )
            rows.append({"image_id": Path(record.image).stem, "uri": uri, "sha256": sha256})
            progress("reading images", done, len(records))
        terms = "Google Earth's terms" if origin is _SOURCE else origin.licence
        images = pd.DataFrame(rows).assign(view="satellite", source=origin.name, licence=terms)
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
