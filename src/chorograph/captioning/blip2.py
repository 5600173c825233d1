"""Captions by a BLIP-2 of Hugging Face, plain or with an adapter that was trained here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from chorograph.ground.errors import ImageError
from chorograph.ground.stage import Ledger

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: How the name of such a captioner begins: `hf:FOLDER` or `hf:FOLDER+ADAPTER`.
PREFIX = "hf:"
_READ = 64


def blip2_captions(area: Area, name: str, per_image: int, seed: int, ledger: Ledger) -> pd.DataFrame:
    """Return captions (the contract's columns) of every image that is held; those that cannot be read are counted."""
    from chorograph.models.captioners.blip2 import load_adapted

    blip2 = load_adapted(name.removeprefix(PREFIX))
    images = area.images.drop_duplicates("image_id")
    ledger.drop("image known but not held", int(images["uri"].isna().sum()))
    images = images[images["uri"].notna()]
    rows = []
    for start in range(0, len(images), _READ):
        read = {}
        for image_id, uri in images[["image_id", "uri"]].iloc[start : start + _READ].itertuples(index=False, name=None):
            try:
                read[image_id] = area.read_image(uri)
            except ImageError as error:
                ledger.drop(f"image {error.reason}")
        for rank in range(per_image):
            texts = blip2.write(list(read.values()), seed=seed + 7919 * rank + start)
            for image_id, text in zip(read, texts, strict=True):
                if not text:
                    ledger.drop("caption without a word")
                    continue
                rows.append((f"{image_id}-{name}-{rank}", image_id, rank, text, f"model:{name}"))
    return pd.DataFrame(rows, columns=["caption_id", "image_id", "rank", "caption", "origin"])
