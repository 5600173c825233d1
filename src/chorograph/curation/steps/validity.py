"""Validity of images: whether they decode, how large they are, and the hashes that find their copies."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from chorograph.area.images import hashes_of_reduced, open_grey, reduced
from chorograph.curation.packs import PackReader
from chorograph.curation.rows import Context, Drop, Row
from chorograph.ground.errors import ImageError
from chorograph.ground.files import sha256_bytes


def orientations(small: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return (n, 8) perceptual hashes of (n, 32, 32) reduced images in all orientations: four turns, four mirrored.

    Turning commutes with the reduction that a hash begins with, so an image is reduced once.
    """
    views = [np.rot90(side, turns, axes=(1, 2)) for side in (small, small[:, :, ::-1]) for turns in range(4)]
    return np.stack([hashes_of_reduced(view) for view in views], axis=1)


#: Images that a thread takes at once.
_HANDFUL = 8


@dataclass(frozen=True)
class Inspected:
    """What is known of an image that decoded; its hash is made of `small`."""

    width: int
    height: int
    sha256: str
    small: NDArray[np.uint8]


def inspect_image(data: bytes, max_pixels: int = 64_000_000) -> Inspected:
    """Decode an image whole and reduce it; `ImageError` with the reason where that cannot be done."""
    image = open_grey(data, max_pixels=max_pixels)
    return Inspected(image.width, image.height, sha256_bytes(data), reduced(image))


@dataclass(frozen=True)
class ValidImages:
    """Keep images that decode, are not tiny, and are no strips; fills width, height, sha256, phash.

    With `turned`, also the hashes in all eight orientations, for `hash_duplicates` to find turned copies by.
    """

    name: ClassVar[str] = "valid_images"

    min_side: int = 1
    max_pixels: int = 64_000_000
    max_aspect: float = 100.0
    turned: bool = False

    def fault(self, found: Inspected) -> Drop | None:
        """Return why an image that decodes leaves, or None."""
        short, long = sorted((found.width, found.height))
        if short < self.min_side:
            return Drop("image too small", short)
        if long > self.max_aspect * short:
            return Drop("image is a strip", long / short)
        return None

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Decode over as many threads as there are cores; then hash all at once."""
        with PackReader(context.packs) as packs:

            def judge(row: Row) -> Inspected | Drop:
                if row["pack"] is None:
                    return Drop("no image")
                try:
                    return inspect_image(packs.read(row), self.max_pixels)
                except ImageError as error:
                    return Drop(f"image {error.reason}")

            # A few at a time: one by one, handing them out would cost as much as a small image.
            handfuls = [rows[start : start + _HANDFUL] for start in range(0, len(rows), _HANDFUL)]
            with ThreadPoolExecutor(max_workers=os.cpu_count()) as pool:
                judged = [
                    found for part in pool.map(lambda part: [judge(row) for row in part], handfuls) for found in part
                ]
        decoded = [(row, found) for row, found in zip(rows, judged, strict=True) if isinstance(found, Inspected)]
        if decoded:
            small = np.stack([found.small for _, found in decoded])
            turned = orientations(small) if self.turned else None
            hashes = hashes_of_reduced(small) if turned is None else turned[:, 0]
            for place, (row, found) in enumerate(decoded):
                row.update(width=found.width, height=found.height, sha256=found.sha256, phash=int(hashes[place]))
                if turned is not None:
                    row["turned"] = turned[place].tobytes()
        return [found if isinstance(found, Drop) else self.fault(found) for found in judged]

    def describe(self) -> str:
        """Say what it does."""
        return (
            f"image decodes, shorter side at least {self.min_side} px, at most {self.max_pixels:,} px, "
            f"longer side at most {self.max_aspect:g} times the shorter"
        )
