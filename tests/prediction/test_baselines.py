from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from chorograph.prediction.probes.baselines import SteadyForest


def test_a_forest_predicts_the_same_whichever_tree_is_ready_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same bits as scikit-learn in one thread, also where trees take their time out of order."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = np.exp(3 * X[:, 0]) + X[:, 1]
    settings: dict[str, Any] = {"n_estimators": 40, "min_samples_leaf": 2, "random_state": 3}
    alone = RandomForestRegressor(**settings, n_jobs=1).fit(X, y).predict(X)
    steady = SteadyForest(**settings, n_jobs=4)
    clone(steady).fit(X, y)
    steady.fit(X, y)
    tree_predict = DecisionTreeRegressor.predict

    def slowly(self: Any, *given: Any, **named: Any) -> Any:
        time.sleep(float(rng.uniform(0, 2e-3)))
        return tree_predict(self, *given, **named)

    monkeypatch.setattr(DecisionTreeRegressor, "predict", slowly)
    for _ in range(3):
        assert np.array_equal(steady.predict(X), alone)
    assert steady.n_jobs == 4
