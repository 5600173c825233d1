"""What a model must beat to have learnt anything: means, places, outlines and counts of points of interest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from chorograph.prediction.probes.ridge import RidgePath


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


class SteadyForest(RandomForestRegressor):  # type: ignore[misc]
    """A random forest whose predictions are the same to the last bit, however busy the machine is.

    scikit-learn adds its trees up in the order in which threads finish, and sums of floats depend on their order. Here
    trees grow in `n_jobs` threads, each from its own seed, and are added up one after the other.
    """

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the mean of the trees for X (n, d)."""
        threads = self.get_params()["n_jobs"]
        self.set_params(n_jobs=1)
        try:
            predicted: NDArray[np.float64] = super().predict(X)
        finally:
            self.set_params(n_jobs=threads)
        return predicted


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
    Baseline("region shape", "ridge on log area and perimeter", ("shape",), lambda n, seed: RidgePath()),
    Baseline(
        "location + shape",
        "a random forest of 300 trees on coordinates, log area and perimeter",
        ("location", "shape"),
        lambda n, seed: _unit_free(SteadyForest(300, min_samples_leaf=2, n_jobs=2, random_state=seed)),
        together=False,
    ),
    Baseline("POI counts", "ridge on log counts of points of interest", ("poi",), lambda n, seed: RidgePath()),
)
