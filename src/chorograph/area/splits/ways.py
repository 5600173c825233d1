"""The ways to part labelled regions into folds that share no neighbourhood, and the leaky one to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.cluster.vq import kmeans2

from chorograph.area.split_names import SPLITS, AskedSplit
from chorograph.area.splits.folds import Folds, Split, deal
from chorograph.area.splits.matched import DistanceMatched
from chorograph.area.splits.sphere import block_of, inner_points, to_sphere
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray

    from chorograph.area.folder import Area


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
        return deal(block_of(lon, lat, self.block_m), duplicates, self.number, self.seed).away_from(
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
        return deal(cluster.astype(np.int64), duplicates, self.number, self.seed).away_from(lon, lat, self.buffer_m)


@dataclass(frozen=True)
class RandomFolds:
    """Regions dealt to folds at random: neighbours stand on both sides, and every report says so."""

    number: int = 5
    seed: int = 0
    name: str = "random"
    leaky: bool = True

    def folds(self, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64]) -> Folds:
        """Part the regions regardless of where they lie."""
        return deal(np.arange(len(regions)), duplicates, self.number, self.seed)


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
        dealt = deal(codes.astype(np.int64), duplicates, None, 0)
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
        table = area.split_of_regions(self.split)
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
    """Return the split that a configuration names, `given:NAME` for a published one; lengths in metres.

    Raises `UnknownNameError` for a split that nobody knows (`chorograph list splits`).
    """
    name, _, argument = text.partition(":")
    return SPLITS[name](AskedSplit(argument, block_m, buffer_m, folds, seed))


def make_spatial_block(asked: AskedSplit) -> Split:
    """Return spatial blocks."""
    return SpatialBlocks(asked.block_m, asked.buffer_m, asked.folds, asked.seed)


def make_cluster(asked: AskedSplit) -> Split:
    """Return clusters."""
    return Clusters(asked.buffer_m, asked.folds, asked.seed)


def make_distance_matched(asked: AskedSplit) -> Split:
    """Return folds at the distances of use."""
    return DistanceMatched(asked.folds, asked.block_m, asked.seed)


def make_leave_group_out(asked: AskedSplit) -> Split:
    """Return a fold a group."""
    return LeaveGroupOut(asked.buffer_m)


def make_given(asked: AskedSplit) -> Split:
    """Return the published split that the argument names."""
    return Given(asked.argument)


def make_random(asked: AskedSplit) -> Split:
    """Return random folds."""
    return RandomFolds(asked.folds, asked.seed)
