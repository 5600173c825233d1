"""Image-text pairs of an area: read once, held out by region, every caption in its turn."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorograph.area.errors import ImageError, InputError
from chorograph.area.folder import Area
from chorograph.area.stage import Ledger, Progress
from chorograph.models.preprocessing import Pixels, Preprocessing

#: Pixels beyond this stay in a scratch file that the system maps into memory.
_MEMORY_BYTES = 4 * 1024**3
_READ = 256


@dataclass(frozen=True)
class Pairs:
    """Images at model resolution with their captions.

    `pixels`: uint8 (n, 3, height, width). `captions[i]`: the captions of image i, by rank.
    """

    image_ids: tuple[str, ...]
    pixels: Tensor
    captions: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.image_ids)

    def captions_at(self, rows: Sequence[int] | NDArray[np.int64], epoch: int, seed: int) -> list[str]:
        """Return the captions that these images are shown with in `epoch`."""
        return [self.captions[row][caption_of(len(self.captions[row]), row, epoch, seed)] for row in map(int, rows)]

    def shuffled(self, seed: int) -> Pairs:
        """Return the same images, each with all the captions of an image drawn at random without replacement."""
        order = np.random.default_rng((seed, 4)).permutation(len(self))
        return replace(self, captions=tuple(self.captions[row] for row in order))


def caption_of(number: int, row: int, epoch: int, seed: int) -> int:
    """Return which of an image's `number` captions is used in `epoch` (from 0).

    A permutation is gone through before the next one is drawn, so `number` epochs in a row, from a multiple of it, use
    every caption once. A pure function of its arguments: nothing has to be kept to resume.
    """
    if number == 1:
        return 0
    return int(np.random.default_rng((seed, row, epoch // number)).permutation(number)[epoch % number])


def batches(rows: int, batch_size: int, epoch: int, seed: int) -> list[NDArray[np.int64]]:
    """Return the rows of each step of an epoch: shuffled, each row once, batch sizes differing by one at most."""
    order = np.random.default_rng((seed, epoch, 1)).permutation(rows)
    return np.array_split(order, -(-rows // batch_size))


@dataclass(frozen=True)
class Roles:
    """Which images are trained on and which are held out; `how` says by what rule."""

    train: NDArray[np.bool_]
    held: NDArray[np.bool_]
    how: str


def assign_roles(area: Area, images: pd.DataFrame, holdout: str, seed: int) -> Roles:
    """Part the images into trained on, held out for validation, and (given splits only) kept from both.

    `holdout` is a share (of the regions, so that a region's tiles never stand on both sides; of the images in a corpus
    without regions) or the name of a split, whose rows of role train and val are used. Raises `InputError`.
    """
    try:
        share = float(holdout)
    except ValueError:
        return _given_roles(area, images, holdout)
    if not 0 <= share < 1:
        raise InputError(f"holdout is a share from 0 up to (not including) 1, or the name of a split, not {holdout!r}")
    by_region = area.has_regions and bool(images["region_id"].notna().any())
    owner = images["region_id"].fillna(images["image_id"]) if by_region else images["image_id"]
    owners = np.sort(owner.unique().astype(str))
    number = round(share * len(owners))
    if share > 0:
        number = min(max(number, 1), len(owners) - 1)
    chosen = np.random.default_rng((seed, 2)).permutation(owners)[:number]
    held = owner.isin(chosen).to_numpy(dtype=bool)
    what = "regions with all their images" if by_region else "images"
    return Roles(~held, held, f"{number} of {len(owners)} {what}, drawn at random with seed {seed}")


def _given_roles(area: Area, images: pd.DataFrame, name: str) -> Roles:
    split = area.split(name)
    key = "region_id" if "region_id" in split.columns else "image_id"
    role = images[key].map(split.set_index(key)["role"]).to_numpy(dtype=object)
    if not (role == "train").any():
        raise InputError(f"split {name!r} gives none of the {len(images)} captioned images the role train")
    return Roles(role == "train", role == "val", f"role val of the given split {name!r}; role test is never shown")


def load_pairs(
    area: Area,
    preprocessing: Preprocessing,
    *,
    view: str,
    holdout: str,
    seed: int,
    ledger: Ledger,
    progress: Progress,
    scratch: Path,
) -> tuple[Pairs, Pairs, str]:
    """Return the pairs to train on, the pairs held out, and how those were chosen.

    Every image is decoded once and kept as uint8 at model resolution, in memory or, above 4 GiB, in a scratch file
    beside `scratch`. What cannot be used is counted in `ledger`. Raises `InputError` where nothing is left.
    """
    images = area.images
    images = images[images["view"] == view].drop_duplicates("image_id")
    captions = area.captions.sort_values(["image_id", "rank", "caption_id"])
    held_captions = captions.groupby("image_id", sort=False)["caption"].agg(tuple)
    ledger.drop("image known but not held", int(images["uri"].isna().sum()))
    images = images[images["uri"].notna()]
    captioned = images["image_id"].isin(held_captions.index)
    ledger.drop("image without a caption", int((~captioned).sum()))
    images = images[captioned].sort_values("image_id").reset_index(drop=True)
    if images.empty:
        raise InputError(f"{area.path} holds no {view} image with a caption; `chorograph caption` writes some")
    roles = assign_roles(area, images, holdout, seed)
    parts = []
    for mask in (roles.train, roles.held):
        chosen = images[mask]
        rows, pixels = _read_all(area, chosen["uri"].tolist(), preprocessing, ledger, progress, scratch)
        ids = tuple(chosen["image_id"].iloc[rows].astype(str))
        parts.append(Pairs(ids, pixels, tuple(held_captions.loc[image_id] for image_id in ids)))
    if len(parts[0]) < 2:
        raise InputError(f"{area.path} leaves {len(parts[0])} readable captioned {view} images to train on; give 2")
    ledger.count("images trained on", len(parts[0]))
    ledger.count("images held out", len(parts[1]))
    ledger.count("captions trained on", sum(map(len, parts[0].captions)))
    return parts[0], parts[1], roles.how


def _read_all(
    area: Area, uris: Sequence[str], preprocessing: Preprocessing, ledger: Ledger, progress: Progress, scratch: Path
) -> tuple[list[int], Tensor]:
    """Return the rows that could be read and their pixels (n, 3, height, width)."""
    pixels = _room(len(uris), preprocessing.size, scratch)
    rows: list[int] = []

    def read(uri: str) -> Pixels | str:
        try:
            return preprocessing.pixels(area.read_image(uri))
        except ImageError as error:
            return error.reason

    # Pillow and libjpeg let go of the interpreter while they work, so threads decode side by side.
    with ThreadPoolExecutor(max_workers=4) as pool:
        for start in range(0, len(uris), _READ):
            for row, result in enumerate(pool.map(read, uris[start : start + _READ]), start=start):
                if isinstance(result, str):
                    ledger.drop(f"image {result}")
                    continue
                pixels[len(rows)] = result.transpose(2, 0, 1)
                rows.append(row)
            progress("reading images", min(start + _READ, len(uris)), len(uris))
    return rows, torch.from_numpy(pixels[: len(rows)])


def _room(number: int, size: tuple[int, int], scratch: Path) -> NDArray[np.uint8]:
    shape = (number, 3, *size)
    if number * 3 * size[0] * size[1] <= _MEMORY_BYTES:
        return np.empty(shape, dtype=np.uint8)
    scratch.mkdir(parents=True, exist_ok=True)
    # The file has no name: it is gone when the process ends, however it ends.
    with tempfile.TemporaryFile(dir=scratch) as file:
        return np.memmap(file, dtype=np.uint8, mode="w+", shape=shape)
