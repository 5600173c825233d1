"""Splits of regions into folds that share no neighbourhood, and what they exclude from training.

Blocks lie on a fixed global grid, so adding a far region moves nobody else's block (with `verde`, blocks follow the
data's extent). Distances are metres on the sphere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from scipy.cluster.vq import kmeans2
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

from chorograph.ground.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray

    from chorograph.area.folder import Area

#: Mean Earth radius, in metres (IUGG).
EARTH_RADIUS_M = 6_371_008.8
_METRES_PER_DEGREE = EARTH_RADIUS_M * np.pi / 180

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


@dataclass(frozen=True)
class SpatialBlocks:
    """Blocks of about `block_m` metres, dealt to folds of nearly equal size; training keeps `buffer_m` away."""

    block_m: float = 6000.0
    buffer_m: float = 0.0
    number: int = 5
    seed: int = 0
    name: str = "spatial_block"
    leaky: bool = False

    def folds(self, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64]) -> Folds:
        """Part the regions by the block of their inner point; `InputError` where a region has no geometry."""
        lon, lat = inner_points(regions)
        return _deal(block_of(lon, lat, self.block_m), duplicates, self.number, self.seed).away_from(
            lon, lat, self.buffer_m
        )


@dataclass(frozen=True)
class Clusters:
    """Compact clusters of regions (k-means on the sphere), four a fold, dealt to folds of nearly equal size.

    Clusters follow the regions' density where blocks of one size would leave some nearly empty; unlike blocks they move
    when regions are added.
    """

    buffer_m: float = 0.0
    number: int = 5
    seed: int = 0
    name: str = "cluster"
    leaky: bool = False

    def folds(self, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64]) -> Folds:
        """Part the regions by the cluster of their inner point; `InputError` where a region has no geometry."""
        lon, lat = inner_points(regions)
        # Kilometres from the middle: k-means works on numbers of order one to a hundred.
        positions = (to_sphere(lon, lat) - to_sphere(lon, lat).mean(0)) / 1000
        wanted = min(4 * self.number, len(regions))
        _, cluster = kmeans2(positions, wanted, minit="++", seed=np.random.default_rng(self.seed))
        return _deal(cluster.astype(np.int64), duplicates, self.number, self.seed).away_from(lon, lat, self.buffer_m)


@dataclass(frozen=True)
class RandomFolds:
    """Regions dealt to folds at random: neighbours stand on both sides, and every report says so."""

    number: int = 5
    seed: int = 0
    name: str = "random"
    leaky: bool = True

    def folds(self, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64]) -> Folds:
        """Part the regions regardless of where they lie."""
        return _deal(np.arange(len(regions)), duplicates, self.number, self.seed)


@dataclass(frozen=True)
class LeaveGroupOut:
    """One fold for each group (city, county, district): the test of transfer to a place never seen."""

    buffer_m: float = 0.0
    name: str = "leave_group_out"
    leaky: bool = False

    def folds(self, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64]) -> Folds:
        """Part the regions by their `group`; `InputError` where a region has none or there is only one."""
        if regions["group"].isna().any():
            missing = regions.loc[regions["group"].isna(), "region_id"].iloc[0]
            raise InputError(f"leave_group_out needs a group for every labelled region; {missing!r} has none")
        codes, _ = pd.factorize(regions["group"], sort=True)
        dealt = _deal(codes.astype(np.int64), duplicates, None, 0)
        if self.buffer_m > 0:
            return dealt.away_from(*inner_points(regions), self.buffer_m)
        return dealt


@dataclass(frozen=True)
class Given:
    """A published split: fitted on train and val, tested once on test; or its own fold numbers where it has them."""

    split: str
    leaky: bool = False

    @property
    def name(self) -> str:
        """The split as it is named in configurations."""
        return f"given:{self.split}"

    def folds(self, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64]) -> Folds:
        """Read the split as it was published: identical images on both sides are for the caller to look for."""
        table = area.split(self.split)
        if "region_id" not in table.columns:
            raise InputError(f"split {self.split!r} parts images, not regions; predict needs a split of regions")
        table = table.set_index("region_id").reindex(regions["region_id"])
        if "fold" in table.columns and table["fold"].notna().any():
            fold = table["fold"].fillna(-1).to_numpy(np.int64)
        else:
            fold = np.where(table["role"].to_numpy() == "test", 0, -1).astype(np.int64)
        outside = table["role"].isna().to_numpy()
        if not (fold >= 0).any():
            raise InputError(f"split {self.split!r} tests none of the {len(regions)} labelled regions")
        banned = tuple(outside for _ in range(int(fold.max()) + 1))
        return Folds(fold, np.arange(len(regions)), banned)


def parse_split(text: str, *, block_m: float, buffer_m: float, folds: int, seed: int) -> Split:
    """Return the split that a configuration names: spatial_block, cluster, leave_group_out, given:NAME or random."""
    if text.startswith("given:"):
        return Given(text.removeprefix("given:"))
    match text:
        case "spatial_block":
            return SpatialBlocks(block_m, buffer_m, folds, seed)
        case "cluster":
            return Clusters(buffer_m, folds, seed)
        case "leave_group_out":
            return LeaveGroupOut(buffer_m)
        case "random":
            return RandomFolds(folds, seed)
    raise UnknownNameError.of("split", text, ["spatial_block", "cluster", "leave_group_out", "given:NAME", "random"])


def inner_points(regions: gpd.GeoDataFrame) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lon and lat of a point inside each region; `InputError` where a region has no geometry."""
    if (absent := regions.geometry.isna() | regions.geometry.is_empty).any():
        raise InputError(
            f"region {regions.loc[absent, 'region_id'].iloc[0]!r} has no geometry ({int(absent.sum())} in all): "
            "spatial splits need polygons; use a given split or leave_group_out"
        )
    points = regions.geometry.representative_point()
    return points.x.to_numpy(), points.y.to_numpy()


def block_of(lon: NDArray[np.float64], lat: NDArray[np.float64], block_m: float) -> NDArray[np.int64]:
    """Return a number for the block of each point: rows of equal latitude, columns by the row's middle latitude.

    The grid starts at (0, 0) degrees, whatever the points are; equal numbers mean the same block.
    """
    row = np.floor(lat * _METRES_PER_DEGREE / block_m)
    middle = (row + 0.5) * block_m / _METRES_PER_DEGREE
    column = np.floor(lon * np.cos(np.radians(middle)) * _METRES_PER_DEGREE / block_m)
    _, numbers = np.unique(np.stack([row, column]), axis=1, return_inverse=True)
    return numbers.reshape(-1).astype(np.int64)


def to_sphere(lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, 3) positions on the sphere in metres; chords between near points are distances on the ground."""
    longitude, latitude = np.radians(lon), np.radians(lat)
    unit = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )
    return np.asarray(EARTH_RADIUS_M * unit)


def _deal(groups: NDArray[np.int64], duplicates: NDArray[np.int64], number: int | None, seed: int) -> Folds:
    """Deal whole groups to folds, largest first to the smallest fold; groups that share an image stay together."""
    merged = _merge(groups, duplicates)
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


def _merge(groups: NDArray[np.int64], duplicates: NDArray[np.int64]) -> NDArray[np.int64]:
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
