"""Any scikit-learn splitter as a split of regions."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chorograph.area.splits import Folds, inner_points, to_sphere
from chorograph.ground.errors import InputError

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray

    from chorograph.area.folder import Area


@dataclass(frozen=True)
class ScikitSplit:
    """A scikit-learn splitter: given X, the regions' positions on the sphere in km (n, 3), and their `group`.

    Nothing is known of whether neighbours stand on both sides, so that is looked for as in every run, not promised.
    """

    splitter: Any
    leaky: bool = False

    @property
    def name(self) -> str:
        """The splitter as it describes itself."""
        return str(self.splitter)

    def folds(self, area: Area, regions: gpd.GeoDataFrame, duplicates: NDArray[np.int64]) -> Folds:
        """Part the regions as the splitter does; `InputError` where it tests a region twice, or none."""
        positions = np.zeros((len(regions), 3))
        if regions.geometry.notna().all():
            positions = to_sphere(*inner_points(regions)) / 1000
        groups = regions["group"].to_numpy(object) if regions["group"].notna().all() else None
        fold = np.full(len(regions), -1, dtype=np.int64)
        banned = []
        with warnings.catch_warnings():
            # Those that do not part by groups say so of every group they are given.
            warnings.filterwarnings("ignore", message="The groups parameter is ignored")
            parts = list(self.splitter.split(positions, None, groups))
        for number, (train, test) in enumerate(parts):
            if (fold[test] >= 0).any():
                raise InputError(f"{self.name} tests a region twice; predictions need one test of each at most")
            fold[test] = number
            kept_out = np.ones(len(regions), dtype=bool)
            kept_out[train] = False
            kept_out[test] = False
            banned.append(kept_out)
        if not banned:
            raise InputError(f"{self.name} tests no region")
        return Folds(fold, np.arange(len(regions)) if groups is None else _numbers(groups), tuple(banned))


def _numbers(groups: NDArray[np.object_]) -> NDArray[np.int64]:
    return np.unique(groups.astype(str), return_inverse=True)[1].reshape(-1).astype(np.int64)
