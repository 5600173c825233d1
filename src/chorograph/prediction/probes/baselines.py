"""What a model must beat to have learnt anything: means, places, outlines and counts of points of interest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from chorograph.prediction.probes.ridge import RidgePath

#: Trees of the forest. With 300 it cost more than all else of a profile; what a third of them changes is told in
#: docs/explanation/findings.md. One thread adds them up in one order, so that runs agree to the last bit.
TREES = 100
#: Rows that a tree is grown on at most: of 20,000 regions a forest on all would cost more than the model.
ROWS_OF_A_TREE = 2000


@dataclass(frozen=True)
class Baseline:
    """A baseline: its name, what it means, the modalities it reads, and the estimator for n training rows and a seed.

    `together`: whether the estimator takes many targets at once and fits each as if it were alone. A forest does not:
    its trees part the regions by all targets.
    """

    name: str
    meaning: str
    modalities: tuple[str, ...]
    estimator: Callable[[int, int], Any]
    together: bool = True


def _forest(rows: int, seed: int) -> RandomForestRegressor:
    most = ROWS_OF_A_TREE if rows > ROWS_OF_A_TREE else None
    return RandomForestRegressor(TREES, min_samples_leaf=2, max_samples=most, n_jobs=1, random_state=seed)


def _unit_free(estimator: Any) -> Any:
    """Fit on standardised labels: a tree stops splitting where the variance is below 2e-16, in whichever unit."""
    return TransformedTargetRegressor(estimator, transformer=StandardScaler())


BASELINES = (
    Baseline("mean", "the mean of the training regions", (), lambda n, seed: DummyRegressor()),
    Baseline(
        "location",
        "the mean of the 10 nearest training regions",
        ("location",),
        lambda n, seed: KNeighborsRegressor(n_neighbors=min(10, n)),
    ),
    Baseline(
        "region shape",
        "ridge on log area and perimeter",
        ("shape",),
        lambda n, seed: RidgePath(),
    ),
    Baseline(
        "location + shape",
        f"a random forest of {TREES} trees on coordinates, log area and perimeter; "
        f"each tree sees {ROWS_OF_A_TREE:,} regions at most",
        ("location", "shape"),
        lambda n, seed: _unit_free(_forest(n, seed)),
        together=False,
    ),
    Baseline("POI counts", "ridge on log counts of points of interest", ("poi",), lambda n, seed: RidgePath()),
    Baseline(
        "graph counts",
        "ridge on log counts of facts by relation and direction",
        ("graph-degrees",),
        lambda n, seed: RidgePath(),
    ),
)
