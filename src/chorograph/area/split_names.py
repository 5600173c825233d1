"""The splits by name, without importing them: what settings, `chorograph list splits` and plug-ins share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chorograph.ground.registry import Registry

if TYPE_CHECKING:
    from chorograph.area.splits.folds import Split


@dataclass(frozen=True)
class AskedSplit:
    """What a run asks of a split by name: `argument` is what follows the colon; lengths in metres."""

    argument: str
    block_m: float
    buffer_m: float
    folds: int
    seed: int


MakeSplit = Callable[[AskedSplit], "Split"]
SPLITS: Registry[MakeSplit] = Registry("split")

_HERE = "chorograph.area.splits.ways"
SPLITS.add("spatial_block", f"{_HERE}:make_spatial_block", "whole square blocks of the map are held out")
SPLITS.add("cluster", f"{_HERE}:make_cluster", "compact clusters of regions are held out")
SPLITS.add(
    "distance_matched",
    f"{_HERE}:make_distance_matched",
    "regions are held out as far from labels as the unlabelled ones lie",
    paper="Linnenbrink et al. 2024, kNNDM CV",
)
SPLITS.add("leave_group_out", f"{_HERE}:make_leave_group_out", "whole groups (city, county) are held out")
SPLITS.add("given", f"{_HERE}:make_given", "given:NAME, a split that the area holds")
SPLITS.add(
    "random", f"{_HERE}:make_random", "regions at random, to compare with papers; leaky: neighbours on both sides"
)
