"""Evaluation images that training saw: looked for by their bytes and by a perceptual hash."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.area.folder import Area
from chorograph.area.images import perceptual_hash, read_encoded, read_rgb
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.image_formats import SUFFIXES
from chorograph.ground.stage import Ledger, Progress, read_manifest, silent
from chorograph.models.encoders.registry import images_seen

#: Of 64 bits; among the 4.5 million pairs of 3,000 RSICD images, one true near-copy is this close and nothing else.
NEAR_BITS = 6
#: Hashes that are compared at once.
_BLOCK = 4_000_000


@dataclass(frozen=True)
class Hashed:
    """Images by name: `sha256` of each file's bytes, and `hashes` (n,), perceptual."""

    keys: tuple[str, ...]
    sha256: tuple[str, ...]
    hashes: NDArray[np.uint64]


@dataclass(frozen=True)
class Seen:
    """Images that training saw: what they are called, their digests, and perceptual hashes where they are at hand."""

    name: str
    sha256: frozenset[str]
    hashes: NDArray[np.uint64]

    def look_for(self, images: Hashed) -> dict[str, Any]:
        """Return which evaluation images are among them: the same bytes, or within `NEAR_BITS` bits of a hash."""
        same = np.array([digest in self.sha256 for digest in images.sha256], dtype=bool)
        near = ~same & (nearest(images.hashes, self.hashes) <= NEAR_BITS)
        return {
            "in": self.name,
            "images": len(self.sha256),
            "identical": int(same.sum()),
            "similar": int(near.sum()) if len(self.hashes) else None,
            "examples": [images.keys[row] for row in np.flatnonzero(same | near)[:10]],
        }


def nearest(hashes: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the number of bits that each hash differs in from the nearest other; 65 where nothing can be compared.

    A hash of 0 is of an image without contrast, and like no other.
    """
    found = np.full(len(hashes), 65, dtype=np.int64)
    others = others[others != 0]
    step = max(1, _BLOCK // max(len(others), 1))
    for start in range(0, len(hashes) if len(others) else 0, step):
        part = hashes[start : start + step, None]
        bits = np.bitwise_count(part ^ others).min(1)
        found[start : start + step] = np.where(part[:, 0] != 0, bits, 65)
    return found


def read_seen(paths: Sequence[Path], model: str, ledger: Ledger, progress: Progress = silent) -> list[Seen]:
    """Read what training saw: each of `paths` (an area, or any folder of images), and what the model itself says.

    A checkpoint lists the hashes of the images that it was trained on; where the area that its manifest names is at
    hand, they are also looked for by their looks.
    """
    seen = []
    for path in paths:
        looked = hash_files(_files(path), str(path), ledger, progress)
        seen.append(Seen(str(path), frozenset(looked.sha256), looked.hashes))
    for part in model.split("+"):
        if digests := images_seen(part):
            name = f"the training images of {part}"
            looked = hash_files(_trained_on(Path(part), digests), name, ledger, progress)
            seen.append(Seen(name, frozenset(digests), looked.hashes))
    return seen


def hash_files(files: Sequence[Path], name: str, ledger: Ledger, progress: Progress = silent) -> Hashed:
    """Hash image files; those that cannot be read are left out, and counted as images of `name`."""
    keys, digests, hashes = [], [], []

    def read(file: Path) -> tuple[str, np.uint64] | ImageError:
        try:
            data = read_encoded(file)
            return sha256(data).hexdigest(), perceptual_hash(read_rgb(data))
        except OSError:
            return ImageError("missing", file)
        except ImageError as error:
            return error

    with ThreadPoolExecutor(max_workers=2) as pool:
        for done, (file, result) in enumerate(zip(files, pool.map(read, files), strict=True), start=1):
            if isinstance(result, ImageError):
                ledger.drop(f"image of {name} {result.reason}")
            else:
                keys.append(file.name)
                digests.append(result[0])
                hashes.append(result[1])
            progress(f"hashing {name}", done, len(files))
    return Hashed(tuple(keys), tuple(digests), np.array(hashes, dtype=np.uint64))


def _files(path: Path) -> list[Path]:
    if (path / "area.toml").is_file():
        area = Area.open(path)
        return [area.resolve(uri) for uri in area.images["uri"].dropna()]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES)
    if not files:
        raise InputError(f"{path} is neither an area nor a folder with images")
    return files


def _trained_on(checkpoint: Path, digests: set[str]) -> list[Path]:
    """Return the files of a checkpoint's training images; none where its area is not at hand."""
    manifest = checkpoint / "manifest.json"
    area = Path(read_manifest(manifest)["config"].get("area", "")) if manifest.is_file() else Path()
    if not (area / "area.toml").is_file():
        return []
    opened = Area.open(area)
    images = opened.images[opened.images["sha256"].isin(digests)]
    return [opened.resolve(uri) for uri in images["uri"].dropna()]
