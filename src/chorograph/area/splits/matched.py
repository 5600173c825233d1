"""A split that tests at the distances of use: nearest-neighbour distance matching.

A fold that tests regions next to their training regions flatters a map whose unlabelled regions lie far from any label,
and one of large blocks is too hard on a map with a label in every street. This split looks for folds whose
test-to-train distances are distributed as the distances from the unlabelled regions to the nearest label (Mila et al.
2022, Nearest neighbour distance matching leave-one-out cross-validation; the k-fold form is Linnenbrink et al. 2024,
kNNDM: k-fold nearest-neighbour distance matching cross-validation for map accuracy estimation).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.cluster.vq import kmeans2
from scipy.spatial import KDTree
from scipy.stats import wasserstein_distance

from chorograph.area.splits.folds import Folds, merged_groups
from chorograph.area.splits.sphere import block_of, inner_points, to_sphere
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray

    from chorograph.area.folder import Area

#: How many numbers of clusters are tried, from the number of folds to the number of regions.
_CUTS = 60
#: No fold tests more than this part of the regions, or than this many times its even share where folds are few.
_LARGEST_FOLD, _LARGEST_SHARE = 0.5, 1.2
#: Above this many regions, clusters are joined from this many small ones: a tree takes memory by the square.
_MOST_LEAVES = 2000


@dataclass(frozen=True)
class Matching:
    """How well folds test at the distances of use, in metres.

    `use`: (m,) distances from the regions to predict to the nearest label. `tested`: (n,) distances from each tested
    region to the nearest region that its fold trains on. `w`: the area between their two distribution functions
    (Wasserstein distance of order one, Linnenbrink et al. 2024), in metres.
    """

    use: NDArray[np.float64]
    tested: NDArray[np.float64]

    @property
    def w(self) -> float:
        """The mean distance, in metres, by which the two distributions differ."""
        return float(wasserstein_distance(self.use, self.tested))


@dataclass(frozen=True)
class DistanceMatched:
    """Folds whose test-to-train distances match those from the unlabelled regions to the nearest label.

    Labelled regions are clustered (Ward); for each of a range of numbers of clusters these are dealt to `number` folds
    in turn along the main axis of the map, and the deal with the least `Matching.w` is kept, a deal of single regions
    at random among them: where labels and unlabelled regions are strewn among each other, neighbours on both sides are
    what use is like. `block_m`: side of the blocks that bootstraps resample, in metres.
    """

    number: int = 5
    block_m: float = 6000.0
    seed: int = 0
    name: str = "distance_matched"
    leaky: bool = False

    def folds(self, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64]) -> Folds:
        """Part the labelled `regions`, with the area's other regions as those to predict.

        Raises `InputError` where a region has no geometry or the area has no unlabelled region.
        """
        lon, lat = inner_points(regions)
        others = area.regions[~area.regions["region_id"].isin(regions["region_id"])]
        others = others[others.geometry.notna() & ~others.geometry.is_empty]
        if others.empty:
            raise InputError(f"every region has a label: {self.name} has no distances to match; use spatial_block")
        use = distances(to_sphere(*inner_points(others)), to_sphere(lon, lat))
        fold, groups = match_folds(to_sphere(lon, lat), use, self.number, duplicates, self.seed)
        blocks = merged_groups(block_of(lon, lat, self.block_m), duplicates)
        banned = tuple(np.zeros(len(regions), dtype=bool) for _ in range(self.number))
        return Folds(fold, blocks, banned, len(np.unique(groups)) - len(np.unique(merged_groups(groups, duplicates))))


def match_folds(
    positions: NDArray[np.float64],
    use: NDArray[np.float64],
    number: int,
    duplicates: NDArray[np.int64] | None = None,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the fold (n,) and the cluster (n,) of each labelled position (n, 3), in metres.

    `use` (m,) are the distances to match, in metres. Regions of an equal number >= 0 in `duplicates` share a fold.
    Raises `InputError` where there are fewer than two regions a fold.
    """
    if number < 2 or len(positions) < 2 * number:
        raise InputError(f"{len(positions)} labelled regions cannot fill {max(number, 2)} folds; ask for fewer folds")
    duplicates = np.full(len(positions), -1, dtype=np.int64) if duplicates is None else duplicates
    largest = max(_LARGEST_FOLD, _LARGEST_SHARE / number) * len(positions)
    best: tuple[float, NDArray[np.int64], NDArray[np.int64]] | None = None
    for clusters, fold in _deals(positions, duplicates, number, seed):
        sizes = np.bincount(fold, minlength=number)
        if sizes.max() > largest or sizes.min() == 0:
            continue
        w = Matching(use, distances_of_tests(positions, fold)).w
        if best is None or w < best[0]:
            best = (w, fold, clusters)
    if best is None:
        raise InputError("the labelled regions cannot be parted into balanced folds; ask for fewer folds")
    return best[1], best[2]


def distances(rows: NDArray[np.float64], training: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each of `rows` (n, 3) to the nearest of `training` (m, 3), in their unit."""
    return np.asarray(KDTree(training).query(rows)[0])


def distances_of_tests(positions: NDArray[np.float64], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how far each tested region lies from the nearest one that its fold trains on; -1 in `fold` is no test."""
    found = np.full(len(fold), np.nan)
    for number in np.unique(fold[fold >= 0]):
        tested = fold == number
        found[tested] = distances(positions[tested], positions[~tested])
    return found[fold >= 0]


def _deals(
    positions: NDArray[np.float64], duplicates: NDArray[np.int64], number: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (clusters, folds): every clustering dealt in turn, then single regions dealt at random."""
    for clusters in _clusterings(positions, number, seed):
        yield clusters, _deal_in_turn(positions, merged_groups(clusters, duplicates), number)
    alone = np.arange(len(positions))
    _, member = np.unique(merged_groups(alone, duplicates), return_inverse=True)
    yield alone, (np.random.default_rng(seed).permutation(int(member.max()) + 1) % number)[member]


def _clusterings(positions: NDArray[np.float64], number: int, seed: int) -> list[NDArray[np.int64]]:
    """Return clusterings of the positions from `number` clusters to one a region, in steps of equal ratio."""
    leaves = np.arange(len(positions))
    points = positions
    if len(positions) > _MOST_LEAVES:
        scaled = (positions - positions.mean(0)) / 1000
        with warnings.catch_warnings():
            # A cell that ends up empty is left out below.
            warnings.simplefilter("ignore", UserWarning)
            _, label = kmeans2(scaled, _MOST_LEAVES, minit="points", seed=np.random.default_rng(seed))
        _, leaves = np.unique(label, return_inverse=True)
        points = np.stack([np.bincount(leaves, axis) / np.bincount(leaves) for axis in positions.T], axis=1)
    sizes = np.unique(np.geomspace(number, len(points), _CUTS).round().astype(int))
    tree = cut_tree(linkage(points, "ward"), n_clusters=sizes)
    return [column[leaves].astype(np.int64) for column in tree.T]


def _deal_in_turn(positions: NDArray[np.float64], clusters: NDArray[np.int64], number: int) -> NDArray[np.int64]:
    """Deal clusters to folds one after the other along the main axis of their centres, as kNNDM does."""
    _, member = np.unique(clusters, return_inverse=True)
    counts = np.bincount(member)
    centres = np.stack([np.bincount(member, axis) / counts for axis in positions.T], axis=1)
    _, _, axes = np.linalg.svd(centres - centres.mean(0), full_matrices=False)
    turn = np.empty(len(counts), dtype=np.int64)
    turn[np.argsort((centres - centres.mean(0)) @ axes[0], kind="stable")] = np.arange(len(counts)) % number
    return turn[member]
