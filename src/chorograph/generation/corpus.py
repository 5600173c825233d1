"""Generated pictures as a corpus of their own, every image marked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source
from chorograph.generation.pictures import GENERATED, Made
from chorograph.ground.arrays import Pixels


def write_corpus(path: Path, pictures: Sequence[tuple[Pixels, Made]]) -> None:
    """Write a new area without regions: pictures with their prompts as captions, of source `generated`."""
    images, captions = [], []
    source = Source(GENERATED, "none", "made by a model, not photographed")
    with AreaDraft(path, path.name, f"Generated pictures in {path.name}", [source], synthetic=True) as draft:
        for number, (pixels, made) in enumerate(pictures):
            name = f"generated-{number:04d}"
            uri, sha256 = draft.write_image(name, pixels)
            images.append(
                {"image_id": name, "view": "satellite", "uri": uri, "sha256": sha256, "source": GENERATED,
                 "licence": "none"}
            )  # fmt: skip
            captions.append(
                {
                    "caption_id": name,
                    "image_id": name,
                    "rank": 0,
                    "caption": made.prompt,
                    "origin": f"model:{made.model}",
                }
            )
        draft.write("images", pd.DataFrame(images).assign(region_id=None))
        draft.write("captions", pd.DataFrame(captions))
