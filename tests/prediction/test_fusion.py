from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import StackingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline

from chorograph.prediction.probes import fusion
from chorograph.prediction.probes.fusion import LateFusion
from chorograph.prediction.probes.inner import InnerFolds
from chorograph.prediction.probes.registry import make_probe_maker

COLUMNS = {"image": slice(0, 6), "poi": slice(6, 9)}


def _data(number: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """`image` tells the label of one half of the regions and `poi` that of the other; a column says which half."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(number, 9))
    half = rng.random(number) < 0.5
    X[:, 5] = np.where(half, 1.0, -1.0)
    return X, np.where(half, 2 * X[:, 0], 2 * X[:, 6]) + rng.normal(0, 0.2, number)


def _late(attend: bool) -> LateFusion:
    return LateFusion({name: Ridge() for name in COLUMNS}, COLUMNS, InnerFolds(), attend)


def test_late_fusion_is_stacking_by_scikit_learn() -> None:
    X, y = _data()
    members = [
        (name, make_pipeline(ColumnTransformer([("columns", "passthrough", part)]), Ridge()))
        for name, part in COLUMNS.items()
    ]
    reference = StackingRegressor(members, LinearRegression(positive=True), cv=InnerFolds())
    np.testing.assert_allclose(_late(False).fit(X, y).predict(X), reference.fit(X, y).predict(X))


def test_attention_gives_each_region_the_modality_that_knows_it() -> None:
    X, y = _data()
    new, truth = _data(seed=1)
    late, attending = _late(False).fit(X, y), _late(True).fit(X, y)
    weight = attending.attention(new)
    np.testing.assert_allclose(weight.sum(1), 1.0)
    assert weight[new[:, 5] > 0, 0].mean() > weight[new[:, 5] < 0, 0].mean() + 0.3

    def error(model: LateFusion) -> float:
        return float(((model.predict(new) - truth) ** 2).mean())

    assert error(attending) < 0.9 * error(late)


def test_the_slope_of_the_gate_is_the_finite_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}
    monkeypatch.setattr(fusion, "minimize", lambda loss, start, **_: seen.setdefault("loss", loss) and _Found(start))
    rng = np.random.default_rng(0)
    fusion._gate(rng.normal(size=(30, 3)), rng.normal(size=(30, 2)), rng.normal(size=30))
    loss = seen["loss"]
    assert check_grad(lambda c: loss(c)[0], lambda c: loss(c)[1], rng.normal(size=6)) < 1e-5


class _Found:
    def __init__(self, x: np.ndarray) -> None:
        self.x = x


@pytest.mark.parametrize("fusion_name", ["late", "attention"])
def test_noise_is_not_believed_and_a_clone_is_the_same(fusion_name: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 9)), rng.normal(size=200)
    probe = make_probe_maker("ridge", seed=0, fusion=fusion_name)(COLUMNS, 200)
    predicted = clone(probe).fit(X[:100], y[:100]).predict(X[100:])
    assert predicted.std() < 0.5
    np.testing.assert_array_equal(predicted, probe.fit(X[:100], y[:100]).predict(X[100:]))


def test_one_modality_is_its_probe() -> None:
    alone = make_probe_maker("ridge", seed=0, fusion="late")({"image": slice(0, 6)}, 100)
    assert type(alone).__name__ == "RidgePath"
