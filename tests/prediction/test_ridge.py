from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge, RidgeCV

from chorograph.prediction.probes.ridge import RidgePath


def _data(rows: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, width)) * rng.uniform(0.1, 10, width) + rng.normal(size=width)
    return X, X[:, 0] * 2 + rng.normal(size=rows)


@pytest.mark.parametrize(("rows", "width"), [(60, 5), (40, 200)])
def test_equals_scikit_learn(rows: int, width: int) -> None:
    X, y = _data(rows, width)
    penalties = tuple(10.0**p for p in range(-2, 5))
    ours = RidgePath(penalties).fit(X, y)
    Z = (X - X.mean(0)) / X.std(0)
    theirs = RidgeCV(penalties, scoring="neg_mean_squared_error").fit(Z, y)
    assert ours.penalty_ == theirs.alpha_
    assert np.allclose(ours.predict(X), theirs.predict(Z), atol=1e-6)


def test_leave_one_out_is_exact() -> None:
    X, y = _data(25, 4)
    ours = RidgePath((3.0,)).fit(X, y)
    Z = (X - X.mean(0)) / X.std(0)
    errors = [
        (y[i] - Ridge(3.0).fit(np.delete(Z, i, 0), np.delete(y, i)).predict(Z[i : i + 1])[0]) ** 2 for i in range(25)
    ]
    # Scaling stays that of all rows, as in generalised cross-validation.
    assert np.isclose(ours.loo_error_[0], np.mean(errors), rtol=1e-6)


def test_constant_columns_and_groups() -> None:
    X, y = _data(50, 6)
    X[:, 3] = 7.0
    ours = RidgePath(groups={"a": slice(0, 2), "b": slice(2, 6)}).fit(X, y)
    assert np.isfinite(ours.predict(X)).all()
    assert abs(ours.coef_[3]) < 1e-12
    assert clone(ours).groups == ours.groups
