"""Made files: ids, places and pictures that tests of own files share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import simplejpeg

IDS = ["01073000100", "01073000101", "01073000102", "01073000103"]
#: Longitudes of the tiles, one a region; every tile lies at this latitude.
LON, LAT = [10.5, 11.5, 12.5, 13.5], 40.5


def picture(seed: int, size: int = 32) -> bytes:
    """Return a JPEG that is like no other seed's."""
    pixels = np.random.default_rng(seed).integers(0, 255, (size, size, 3), dtype=np.uint8)
    return simplejpeg.encode_jpeg(pixels)


def write_tiles(folder: Path) -> None:
    folder.mkdir(exist_ok=True, parents=True)
    for k in range(4):
        (folder / f"t{k}.jpg").write_bytes(picture(k))
