"""Where image-text pairs come from: areas, shards, several of them mixed, or made up for a measurement of speed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chorograph.area.captions.by_origin import of_origin
from chorograph.area.folder import Area, Source
from chorograph.ground.arrays import Indices
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, Progress
from chorograph.models.preprocessing import Preprocessing
from chorograph.pretraining.config import PretrainConfig, is_shards
from chorograph.pretraining.feeds.pairs import Captions, Images, InMemory, Pairs, load_pairs, load_shard_pairs
from chorograph.shards.pairs import ShardPairs, open_pairs

#: How a place begins that stands for so many made-up pairs.
MADE_UP = "synthetic:"
_WORDS = (
    "houses", "trees", "roads", "fields", "water", "ships", "planes", "sheds", "dense", "sparse", "beside", "near",
)  # fmt: skip


@dataclass(frozen=True)
class Corpus:
    """Pairs of one place: an area, shards, or `number` made-up ones; `weight` is what an image counts when drawn."""

    area: Area | None
    shards: ShardPairs | None
    name: str
    title: str
    synthetic: bool
    sources: Sequence[Source]
    number: int = 0
    weight: float = 1.0

    @classmethod
    def open(cls, place: Area | Path, ledger: Ledger, weight: float = 1.0, origins: Sequence[str] = ()) -> Corpus:
        """Open an area, or the shards that a path or pattern stands for; what these hold in vain is counted.

        `origins`: of an area, the captions of these alone.
        """
        if isinstance(place, Path) and is_made_up(place):
            number = place.name.removeprefix(MADE_UP)
            if not number.isdigit() or int(number) < 2:
                raise InputError(f"{place.name}: give the number of made-up pairs, {MADE_UP}1000")
            return cls(None, None, place.name, f"{number} made-up pairs", True, (), int(number), weight)
        if isinstance(place, Path) and is_shards(place):
            if origins:
                raise InputError(f"{place} does not say whose its captions are; leave --captions away, or give an area")
            shards = open_pairs([place], ledger.drop)
            return cls(None, shards, place.name, f"{len(shards.paths)} shards of {place.name}", False, (), 0, weight)
        area = of_origin(place if isinstance(place, Area) else Area.open(place), origins)
        return cls(area, None, area.name, area.title, area.synthetic, area.sources, 0, weight)

    def captions(self) -> list[str]:
        """Return all captions, for a tokenizer to learn from."""
        if self.shards is not None:
            return [text for row in range(len(self.shards)) for text in self.shards.captions(row)]
        return list(_WORDS) if self.area is None else self.area.captions["caption"].tolist()

    def pairs(
        self, preprocessing: Preprocessing, config: PretrainConfig, ledger: Ledger, progress: Progress, *, holdout: str
    ) -> tuple[Pairs, Pairs, str]:
        """Return the pairs to train on, those held out, and how these were chosen."""
        asked: dict[str, Any] = {"holdout": holdout, "seed": config.seed, "ledger": ledger, "progress": progress}
        if self.shards is not None:
            return load_shard_pairs(self.shards, preprocessing, **asked)
        if self.area is not None:
            return load_pairs(self.area, preprocessing, view=config.view, **asked)
        return (*_made_up(self.number, preprocessing.size, config.seed, ledger), "nothing: the pairs are noise")

    def hashes(self, pairs: Pairs) -> list[str]:
        """Return the hashes of the images that are trained on, as far as they are known."""
        if self.area is None:
            return []
        images = self.area.images
        return images.loc[images["image_id"].isin(pairs.image_ids) & images["sha256"].notna(), "sha256"].tolist()


def is_made_up(place: Path) -> bool:
    """Return whether a place stands for made-up pairs; settings make paths absolute, so its name alone tells."""
    return place.name.startswith(MADE_UP) and not place.exists()


def parse_place(text: str) -> tuple[Path, float]:
    """Read `PATH` or `PATH=WEIGHT`; `InputError` for a weight that is none."""
    path, equals, weight = text.rpartition("=")
    if not equals:
        return Path(text), 1.0
    try:
        value = float(weight)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise InputError(f"options: --also is PATH or PATH=WEIGHT with a positive weight, not {text!r}")
    return Path(path), value


def join(parts: Sequence[Pairs]) -> Pairs:
    """Return the pairs of several places as one table."""
    if len(parts) == 1:
        return parts[0]
    ids = tuple(name for pairs in parts for name in pairs.image_ids)
    starts = np.cumsum([0, *(len(pairs) for pairs in parts)])
    images: Images = _JoinedImages(tuple(pairs.images for pairs in parts), starts)
    if all(isinstance(pairs.images, InMemory) for pairs in parts):
        images = InMemory(images.read(np.arange(len(ids)))[0])
    return Pairs(ids, images, _JoinedCaptions(tuple(pairs.captions for pairs in parts), starts))


@dataclass(frozen=True)
class _JoinedImages:
    parts: tuple[Images, ...]
    starts: Indices

    def read(self, rows: Indices) -> tuple[Tensor, list[str | None]]:
        owner = np.searchsorted(self.starts, rows, side="right") - 1
        found: list[Tensor] = []
        reasons: dict[int, str | None] = {}
        order: list[int] = []
        for number, images in enumerate(self.parts):
            at = np.flatnonzero(owner == number)
            pixels, why = images.read(rows[at] - self.starts[number])
            found.append(pixels)
            reasons.update(zip(at.tolist(), why, strict=True))
            order += [place for place, reason in zip(at.tolist(), why, strict=True) if reason is None]
        return torch.cat(found)[torch.from_numpy(np.argsort(order))], [reasons[at] for at in range(len(rows))]


@dataclass(frozen=True)
class _JoinedCaptions(Captions):
    parts: tuple[Captions, ...]
    starts: Indices

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, row: int, /) -> tuple[str, ...]:
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[number][row - int(self.starts[number])]


def _made_up(number: int, size: tuple[int, int], seed: int, ledger: Ledger) -> tuple[Pairs, Pairs]:
    rng = np.random.default_rng((seed, 9))
    pixels = torch.from_numpy(rng.integers(0, 256, (min(number, 64), 3, *size), dtype=np.uint8))
    drawn = rng.integers(0, len(_WORDS), (number, 12))
    captions = tuple((" ".join(_WORDS[word] for word in row),) for row in drawn.tolist())
    # A few pictures are shown again and again: what is measured is the loop, and memory is for the model.
    images = _Repeated(pixels)
    ledger.count("images trained on", number)
    ledger.count("images held out", 0)
    ledger.count("captions trained on", number)
    every = Pairs(tuple(f"made-up-{row}" for row in range(number)), images, captions)
    return every, Pairs((), images, ())


class _Repeated(InMemory):
    def read(self, rows: Indices) -> tuple[Tensor, list[str | None]]:
        """Return the pixels of rows, of which there are few kinds."""
        return super().read(rows % len(self.pixels))
