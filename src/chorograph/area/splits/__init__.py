"""Splits of regions into folds that share no neighbourhood, and what they exclude from training.

Blocks lie on a fixed global grid, so adding a far region moves nobody else's block (with `verde`, blocks follow the
data's extent). Distances are metres on the sphere.
"""

from chorograph.area.split_names import SPLITS
from chorograph.area.splits.folds import LEAKY, Folds, Split, duplicate_groups
from chorograph.area.splits.matched import DistanceMatched
from chorograph.area.splits.sphere import EARTH_RADIUS_M, block_of, inner_points, to_sphere
from chorograph.area.splits.ways import Clusters, Given, LeaveGroupOut, RandomFolds, SpatialBlocks, parse_split

__all__ = [
    "EARTH_RADIUS_M",
    "LEAKY",
    "SPLITS",
    "Clusters",
    "DistanceMatched",
    "Folds",
    "Given",
    "LeaveGroupOut",
    "RandomFolds",
    "SpatialBlocks",
    "Split",
    "block_of",
    "duplicate_groups",
    "inner_points",
    "parse_split",
    "to_sphere",
]
