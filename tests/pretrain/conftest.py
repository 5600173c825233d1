"""A small area whose pictures are told apart by colour, with three captions a picture."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box

from chorograph.area.folder import Area, AreaDraft, Source

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 220), "white": (240, 240, 240)}


@pytest.fixture
def colours(tmp_path: Path) -> Area:
    """Eight regions of four tiles; one tile is not an image, one is known but not held, one has no caption."""
    path = tmp_path / "colours"
    rng = np.random.default_rng(0)
    images, captions = [], []
    with AreaDraft(path, "colours", "Colours", [Source("made up", "CC0-1.0")], synthetic=True) as draft:
        regions = [f"r{number}" for number in range(8)]
        draft.write("regions", gpd.GeoDataFrame(
            {"region_id": regions}, geometry=[box(n, 0, n + 1, 1) for n in range(8)], crs=4326
        ))  # fmt: skip
        for number in range(32):
            name = list(COLOURS)[number % 4]
            image_id = f"t{number:02d}"
            noise = rng.integers(-20, 20, (32, 32, 3))
            pixels = np.clip(np.array(COLOURS[name]) + noise, 0, 255).astype(np.uint8)
            uri, sha256 = draft.write_image(image_id, pixels)
            if number == 5:
                uri, sha256 = draft.add_image(image_id, b"this is text")
            images.append(
                {"image_id": image_id, "region_id": regions[number // 4], "view": "satellite", "source": "made up",
                 "licence": "CC0-1.0", "uri": None if number == 6 else uri, "sha256": sha256}
            )  # fmt: skip
            if number == 7:
                continue
            for rank, text in enumerate((f"a {name} place", f"all is {name}", f"{name} land, tile {number}")):
                captions.append(
                    {"caption_id": f"{image_id}-{rank}", "image_id": image_id, "rank": rank, "caption": text,
                     "origin": "template"}
                )  # fmt: skip
        draft.write("images", pd.DataFrame(images))
        draft.write("captions", pd.DataFrame(captions))
    return Area.open(path)
