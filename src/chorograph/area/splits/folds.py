"""Folds: what is tested when, and what each fold must not train on; whole groups dealt to folds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from chorograph.area.splits.sphere import EARTH_RADIUS_M, to_sphere
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray

    from chorograph.area.folder import Area

LEAKY = "leaky: neighbours on both sides"


@dataclass(frozen=True)
class Folds:
    """Which labelled region is tested in which fold, and which regions each fold may train on.

    `fold`: (n,) int, -1 for a region that no fold tests. `banned[k]`: (n,) bool, regions that fold k must not train
    on besides its own (too near, or held for another role). `groups`: (n,) int, the blocks, which bootstraps resample.
    """

    fold: NDArray[np.int64]
    groups: NDArray[np.int64]
    banned: tuple[NDArray[np.bool_], ...]
    merged_duplicates: int = 0

    def __iter__(self) -> Iterator[tuple[int, NDArray[np.bool_], NDArray[np.bool_]]]:
        """Yield (fold number, mask of training regions, mask of tested regions)."""
        for number, banned in enumerate(self.banned):
            tested = self.fold == number
            yield number, ~tested & ~banned, tested

    def away_from(self, lon: NDArray[np.float64], lat: NDArray[np.float64], buffer_m: float) -> Folds:
        """Ban from each fold's training the regions nearer than `buffer_m` to one that it tests."""
        if buffer_m <= 0:
            return self
        positions = to_sphere(lon, lat)
        chord = 2 * EARTH_RADIUS_M * np.sin(buffer_m / (2 * EARTH_RADIUS_M))
        banned = []
        for number, before in enumerate(self.banned):
            tested = self.fold == number
            distance, _ = KDTree(positions[tested]).query(positions)
            banned.append(before | ((distance < chord) & ~tested))
        return Folds(self.fold, self.groups, tuple(banned), self.merged_duplicates)


class Split(Protocol):
    """A way to part labelled regions into folds."""

    @property
    def name(self) -> str:
        """The split as configurations name it."""

    @property
    def leaky(self) -> bool:
        """Whether neighbours stand on both sides."""

    def folds(self, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64]) -> Folds:
        """Part `regions` (labelled ones); regions with an equal number in `duplicates` share an identical image."""


def deal(groups: NDArray[np.int64], duplicates: NDArray[np.int64], number: int | None, seed: int) -> Folds:
    """Deal whole groups to folds, largest first to the smallest fold; groups that share an image stay together."""
    merged = merged_groups(groups, duplicates)
    kept, sizes = np.unique(merged, return_counts=True)
    number = len(kept) if number is None else number
    if number < 2 or len(kept) < number:
        raise InputError(
            f"{len(kept)} separate blocks or groups of {len(groups)} labelled regions cannot fill {max(number, 2)} "
            f"folds; {_remedy(groups, merged, duplicates)}"
        )
    # Shuffled before sorting, so that the seed decides among groups of equal size.
    order = np.random.default_rng(seed).permutation(len(kept))
    order = order[np.argsort(-sizes[order], kind="stable")]
    load = np.zeros(number)
    fold_of_group = np.empty(len(kept), dtype=np.int64)
    for group in order:
        fold_of_group[group] = int(np.argmin(load))
        load[fold_of_group[group]] += sizes[group]
    position = np.searchsorted(kept, merged)
    banned = tuple(np.zeros(len(groups), dtype=bool) for _ in range(number))
    lost = len(np.unique(groups)) - len(kept)
    return Folds(fold_of_group[position], merged, banned, lost)


def _remedy(groups: NDArray[np.int64], merged: NDArray[np.int64], duplicates: NDArray[np.int64]) -> str:
    """Say what makes more blocks: where identical images joined most of them, it is those."""
    before, after = len(np.unique(groups)), len(np.unique(merged))
    if before < 2 * after:
        return "ask for fewer folds, smaller blocks, or label more regions"
    most = int(np.bincount(duplicates[duplicates >= 0]).max())
    return (
        f"{before} blocks became {after} because regions that share an identical picture stay together, and {most} "
        "regions share one: is it a provider's 'no imagery' tile? build the area with --repeated drop"
    )


def duplicate_groups(images: pd.DataFrame, region_ids: pd.Series[str]) -> NDArray[np.int64]:
    """Return for each region the number of its set of regions that share identical images, -1 for none.

    Identical means equal SHA-256 of the encoded bytes; sets are joined through any number of shared images.
    """
    held = images[images["sha256"].notna() & images["region_id"].isin(region_ids)]
    rows = pd.Index(region_ids).get_indexer(pd.Index(held["region_id"]))
    hashes, _ = pd.factorize(held["sha256"])
    component = _components(rows, hashes.astype(np.int64), len(region_ids))
    _, number, size = np.unique(component, return_inverse=True, return_counts=True)
    return np.where(size[number] > 1, number, -1).astype(np.int64)


def merged_groups(groups: NDArray[np.int64], duplicates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join groups that hold regions of the same set of duplicates (`duplicates` >= 0 and equal)."""
    shared = duplicates >= 0
    if not shared.any():
        return groups
    return _components(groups[shared], duplicates[shared], int(groups.max()) + 1)[groups]


def _components(rows: NDArray[Any], marks: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Return the connected component of each of `number` rows, where equal marks link rows."""
    size = number + int(marks.max(initial=-1)) + 1
    links: Any = coo_array((np.ones(len(rows)), (rows, marks + number)), shape=(size, size))
    _, component = connected_components(links, directed=False)
    return np.asarray(component[:number], dtype=np.int64)
