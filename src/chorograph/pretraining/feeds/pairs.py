"""Image-text pairs of an area or of shards: one numbered table, held out by region, every caption in its turn.

Where all images fit in memory at model resolution they are decoded once; else each time they are wanted. A folder of
files and its copy in tars give the same rows in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from chorograph.area.folder import Area
from chorograph.area.images import read_rgb
from chorograph.ground.arrays import Indices, Pixels
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.stage import Ledger, Progress
from chorograph.models.preprocessing import Preprocessing
from chorograph.shards.order import epoch_order, global_batches
from chorograph.shards.pairs import ShardPairs

#: Pixels up to this are kept in memory; beyond it, images are decoded each time they are wanted.
_MEMORY_BYTES = 4 * 1024**3
_READ = 256


class Captions(Protocol):
    """The captions of each image, by row."""

    def __len__(self) -> int: ...

    def __getitem__(self, row: int, /) -> tuple[str, ...]: ...

    def __iter__(self) -> Iterator[tuple[str, ...]]:
        return (self[row] for row in range(len(self)))


class Images(Protocol):
    """Images by row, at model resolution."""

    def read(self, rows: Indices) -> tuple[Tensor, list[str | None]]:
        """Return uint8 pixels (n, 3, height, width) of those that can be read, and of each row why it cannot."""


@dataclass(frozen=True)
class InMemory:
    """Images that were decoded once: `pixels` uint8 (n, 3, height, width)."""

    pixels: Tensor

    def read(self, rows: Indices) -> tuple[Tensor, list[str | None]]:
        """Return the pixels of rows; all of them can be read."""
        return self.pixels[torch.from_numpy(rows)], [None] * len(rows)


@dataclass(frozen=True)
class OnDisk:
    """Images decoded each time: `decode` takes a row to uint8 (height, width, 3) of `size`, or raises `ImageError`."""

    decode: Callable[[int], Pixels]
    size: tuple[int, int]

    def read(self, rows: Indices) -> tuple[Tensor, list[str | None]]:
        """Return the pixels of those rows that can be read, and of each row why it cannot."""
        pixels = np.empty((len(rows), 3, *self.size), dtype=np.uint8)
        reasons: list[str | None] = []
        read = 0
        for row in rows.tolist():
            try:
                pixels[read] = self.decode(row).transpose(2, 0, 1)
            except ImageError as error:
                reasons.append(error.reason)
            else:
                reasons.append(None)
                read += 1
        return torch.from_numpy(pixels[:read]), reasons


@dataclass(frozen=True)
class Pairs:
    """Images with their captions: `captions[i]` are those of image i, by rank."""

    image_ids: Sequence[str]
    images: Images
    captions: Captions

    def __len__(self) -> int:
        return len(self.image_ids)

    def captions_at(self, rows: Sequence[int] | Indices, epoch: int, seed: int) -> list[str]:
        """Return the captions that these images are shown with in `epoch`."""
        return [
            captions[caption_of(len(captions), row, epoch, seed)]
            for row, captions in ((row, self.captions[row]) for row in map(int, rows))
        ]

    def shuffled(self, seed: int) -> Pairs:
        """Return the same images, each with all the captions of an image drawn at random without replacement."""
        order = np.random.default_rng((seed, 4)).permutation(len(self))
        return replace(self, captions=_Chosen(self.captions, order))


@dataclass(frozen=True)
class Roles:
    """Which images are trained on and which are held out; `how` says by what rule."""

    train: NDArray[np.bool_]
    held: NDArray[np.bool_]
    how: str


def caption_of(number: int, row: int, epoch: int, seed: int) -> int:
    """Return which of an image's `number` captions is used in `epoch` (from 0).

    A permutation is gone through before the next one is drawn, so `number` epochs in a row, from a multiple of it, use
    every caption once. A pure function of its arguments: nothing has to be kept to resume.
    """
    if number == 1:
        return 0
    return int(np.random.default_rng((seed, row, epoch // number)).permutation(number)[epoch % number])


def batches(rows: int, batch_size: int, epoch: int, seed: int) -> list[Indices]:
    """Return the rows of each step of an epoch: shuffled, each row once, batch sizes differing by one at most."""
    return global_batches(epoch_order(rows, seed, epoch), batch_size)


def assign_roles(area: Area, images: pd.DataFrame, holdout: str, seed: int) -> Roles:
    """Part the images into trained on, held out for validation, and (given splits only) kept from both.

    `holdout` is a share (of the regions, so that a region's tiles never stand on both sides; of the images in a corpus
    without regions) or the name of a split, whose rows of role train and val are used. Raises `InputError`.
    """
    share = _share(holdout)
    if share is None:
        return _given_roles(area, images, holdout)
    by_region = area.has_regions and bool(images["region_id"].notna().any())
    owner = images["region_id"].fillna(images["image_id"]) if by_region else images["image_id"]
    return _drawn_roles(owner, share, seed, "regions with all their images" if by_region else "images")


def _share(holdout: str) -> float | None:
    """Return the share that `holdout` is, or None for a name."""
    try:
        share = float(holdout)
    except ValueError:
        return None
    if not 0 <= share < 1:
        raise InputError(f"holdout is a share from 0 up to (not including) 1, or the name of a split, not {holdout!r}")
    return share


def _drawn_roles(owner: pd.Series[str], share: float, seed: int, what: str) -> Roles:
    owners = np.sort(owner.unique().astype(str))
    number = round(share * len(owners))
    if share > 0:
        number = min(max(number, 1), len(owners) - 1)
    chosen = np.random.default_rng((seed, 2)).permutation(owners)[:number]
    held = owner.isin(chosen).to_numpy(dtype=bool)
    return Roles(~held, held, f"{number} of {len(owners)} {what}, drawn at random with seed {seed}")


def _given_roles(area: Area, images: pd.DataFrame, name: str) -> Roles:
    role = area.roles(name, images).to_numpy(dtype=object)
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
) -> tuple[Pairs, Pairs, str]:
    """Return an area's pairs to train on, those held out, and how these were chosen.

    What cannot be used is counted in `ledger`; of images that are decoded later, when they are met. Raises `InputError`
    where nothing is left.
    """
    images = area.images
    images = images[images["view"] == view].drop_duplicates("image_id")
    held_captions = _captions(area)
    ledger.drop("image known but not held", int(images["uri"].isna().sum()))
    images = images[images["uri"].notna()]
    captioned = images["image_id"].isin(held_captions.index)
    ledger.drop("image without a caption", int((~captioned).sum()))
    images = images[captioned].sort_values("image_id").reset_index(drop=True)
    if images.empty:
        raise InputError(f"{area.path} holds no {view} image with a caption; `chorograph caption` writes some")
    roles = assign_roles(area, images, holdout, seed)
    small = _fits(len(images), preprocessing)
    parts = [
        _area_pairs(area, images[mask], held_captions, preprocessing, ledger, progress, small=small)
        for mask in (roles.train, roles.held)
    ]
    ledger.count("captions trained on", sum(map(len, parts[0].captions)))
    return _counted(parts, str(area.path), ledger, roles.how)


def load_images(
    area: Area, images: pd.DataFrame, preprocessing: Preprocessing, ledger: Ledger, progress: Progress
) -> Pairs:
    """Return images of an area with their captions, none where they have none, in the order of the ids."""
    ledger.drop("image known but not held", int(images["uri"].isna().sum()))
    held = images[images["uri"].notna()].sort_values("image_id")
    small = _fits(len(held), preprocessing)
    return _area_pairs(area, held, _captions(area), preprocessing, ledger, progress, small=small)


def load_shard_pairs(
    shards: ShardPairs,
    preprocessing: Preprocessing,
    *,
    holdout: str,
    seed: int,
    ledger: Ledger,
    progress: Progress,
) -> tuple[Pairs, Pairs, str]:
    """Return the pairs of shards to train on, those held out (a share, by key), and how these were chosen.

    Raises `InputError` where nothing is left, and for the name of a split, which shards have not.
    """
    share = _share(holdout)
    if share is None:
        raise InputError(f"shards have no split {holdout!r}; hold out a share, or import them as an area")
    roles = _drawn_roles(pd.Series(list(shards.keys), dtype=str), share, seed, "keys of shards")
    small = _fits(len(shards), preprocessing)
    parts = []
    for mask in (roles.train, roles.held):
        rows = np.flatnonzero(mask)
        decode = _ShardImages(shards, rows, preprocessing, scaled=not small)
        ids = tuple(shards.keys[row] for row in rows.tolist())
        pairs = Pairs(ids, OnDisk(decode, preprocessing.size), _Chosen(_ShardCaptions(shards), rows))
        parts.append(_in_memory(pairs, ledger, progress) if small else pairs)
    said = sum(map(len, parts[0].captions)) if small else int(shards.numbers[roles.train].sum())
    ledger.count("captions trained on", said)
    return _counted(parts, ", ".join(map(str, shards.paths[:3])), ledger, roles.how)


def _counted(parts: Sequence[Pairs], where: str, ledger: Ledger, how: str) -> tuple[Pairs, Pairs, str]:
    if len(parts[0]) < 2:
        lost = ", ".join(f"{number} x {reason}" for reason, number in ledger.dropped.items())
        raise InputError(
            f"{where} leaves {len(parts[0])} readable captioned images to train on; give 2"
            + (f"; left out: {lost}" if lost else "")
        )
    ledger.count("images trained on", len(parts[0]))
    ledger.count("images held out", len(parts[1]))
    return parts[0], parts[1], how


def _captions(area: Area) -> pd.Series[Any]:
    """Return each captioned image's captions, by rank."""
    captions = area.captions.sort_values(["image_id", "rank", "caption_id"])
    return captions.groupby("image_id", sort=False)["caption"].agg(tuple)


def _area_pairs(
    area: Area,
    images: pd.DataFrame,
    captions: pd.Series[Any],
    preprocessing: Preprocessing,
    ledger: Ledger,
    progress: Progress,
    *,
    small: bool,
) -> Pairs:
    decode = _AreaImages(area, tuple(images["uri"]), preprocessing, scaled=not small)
    ids = tuple(images["image_id"].astype(str))
    known = captions.to_dict()
    pairs = Pairs(ids, OnDisk(decode, preprocessing.size), tuple(known.get(name, ()) for name in ids))
    return _in_memory(pairs, ledger, progress) if small else pairs


@dataclass(frozen=True)
class _AreaImages:
    """Decodes an area's images; scaled ones are read at about the size wanted, which costs a third of the time."""

    area: Area
    uris: tuple[str, ...]
    preprocessing: Preprocessing
    scaled: bool

    def __call__(self, row: int) -> Pixels:
        at_least = self.preprocessing.size if self.scaled else None
        return self.preprocessing.pixels(self.area.read_image(self.uris[row], at_least=at_least))


@dataclass(frozen=True)
class _ShardImages:
    """Decodes the images of some rows of shards."""

    shards: ShardPairs
    rows: Indices
    preprocessing: Preprocessing
    scaled: bool

    def __call__(self, row: int) -> Pixels:
        data = self.shards.image(int(self.rows[row]))
        at_least = self.preprocessing.size if self.scaled else None
        return self.preprocessing.pixels(read_rgb(data, at_least=at_least))


@dataclass(frozen=True)
class _ShardCaptions(Captions):
    """The captions of all rows of shards, read when asked for: millions of them are not held."""

    shards: ShardPairs

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, row: int, /) -> tuple[str, ...]:
        return self.shards.captions(row)


@dataclass(frozen=True)
class _Chosen(Captions):
    """Some rows of captions, in an order of their own."""

    captions: Captions
    rows: Indices

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: int, /) -> tuple[str, ...]:
        return self.captions[int(self.rows[at])]


def _fits(number: int, preprocessing: Preprocessing) -> bool:
    return number * 3 * preprocessing.size[0] * preprocessing.size[1] <= _MEMORY_BYTES


def _in_memory(pairs: Pairs, ledger: Ledger, progress: Progress) -> Pairs:
    """Decode all images of pairs; those that cannot be are counted and left out."""
    number, parts = len(pairs), []
    rows: list[int] = []
    # Pillow and libjpeg let go of the interpreter while they work, so threads decode side by side.
    with ThreadPoolExecutor(max_workers=4) as pool:
        for start in range(0, number, _READ):
            chunk = np.arange(start, min(start + _READ, number))
            for piece, (pixels, reasons) in zip(
                np.array_split(chunk, 4), pool.map(pairs.images.read, np.array_split(chunk, 4)), strict=True
            ):
                parts.append(pixels)
                for row, reason in zip(piece.tolist(), reasons, strict=True):
                    if reason is None:
                        rows.append(row)
                    else:
                        ledger.drop(f"image {reason}")
            progress("reading images", start + len(chunk), number)
    return Pairs(
        tuple(pairs.image_ids[row] for row in rows),
        InMemory(torch.cat(parts) if parts else pairs.images.read(np.empty(0, dtype=np.int64))[0]),
        tuple(pairs.captions[row] for row in rows),
    )
