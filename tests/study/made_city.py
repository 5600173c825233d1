"""A small area for the tests of explanations and text: red roofs make a region dear, and captions count them."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely.geometry import box

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area, Source

SIDE, TILES, PIXELS = 8, 3, 32


def build(path: Path, *, tiles: int = TILES, captions: bool = True) -> Area:
    """Draw SIDE x SIDE regions of about a kilometre; `value` is exp of the mean number of red roofs on their tiles."""
    rng = np.random.default_rng(0)
    number, step = SIDE * SIDE, 0.01
    ids = [f"r{k:02d}" for k in range(number)]
    cells = [
        box(step * (k % SIDE), step * (k // SIDE), step * (k % SIDE + 1), step * (k // SIDE + 1)) for k in range(number)
    ]
    images, written, values = [], [], []
    with AreaDraft(path, "roofs", "Roofs", [Source("made up", "CC0-1.0")], synthetic=True) as draft:
        for k, region in enumerate(ids):
            level = rng.uniform(0, 8)
            roofs = np.clip(np.round(level + rng.normal(0, 2, tiles)), 0, 16).astype(int)
            for place, count in enumerate(roofs):
                image_id = f"{region}-{place}"
                uri, sha256 = draft.write_image(image_id, _draw(int(count), rng), quality=95)
                images.append(
                    {"image_id": image_id, "region_id": region, "view": "satellite", "uri": uri, "sha256": sha256,
                     "source": "made up", "licence": "CC0-1.0", "zoom": 18, "x": 131072 + 4 * (k % SIDE) + place,
                     "y": 131072 - 4 * (k // SIDE)}
                )  # fmt: skip
                text = "many red roofs" if count > 5 else "some red roofs" if count > 2 else "green land"
                written.append(
                    {"caption_id": image_id, "image_id": image_id, "rank": 0, "caption": f"a place with {text}",
                     "origin": "template"}
                )  # fmt: skip
            values.append(float(np.exp(roofs.mean() / 4 + rng.normal(0, 0.05))))
        draft.write("regions", gpd.GeoDataFrame({"region_id": ids}, geometry=cells, crs=4326))
        draft.write("images", pd.DataFrame(images))
        if captions:
            draft.write("captions", pd.DataFrame(written))
        rows = {"region_id": ids[2:], "indicator": "value", "value": values[2:], "unit": "EUR", "source": "made up"}
        draft.write("indicators", pd.DataFrame(rows))
    return Area.open(path)


def _draw(roofs: int, rng: np.random.Generator) -> np.ndarray:
    """Return green land with `roofs` red squares on a 4 x 4 grid."""
    pixels = rng.integers(90, 130, (PIXELS, PIXELS, 3)).astype(np.uint8)
    pixels[..., 0] //= 2
    for cell in rng.permutation(16)[:roofs]:
        row, column = 8 * (cell // 4) + 1, 8 * (cell % 4) + 1
        pixels[row : row + 6, column : column + 6] = (220, 40, 40)
    return pixels
