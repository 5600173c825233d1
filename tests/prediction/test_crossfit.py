from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import PredefinedSplit, cross_val_predict

from chorograph.area.splits import Folds
from chorograph.ground.errors import InputError
from chorograph.prediction.crossfit import Fused, cross_fit
from chorograph.prediction.probes.ridge import RidgePath


def _folds(fold: np.ndarray, banned: list[np.ndarray] | None = None) -> Folds:
    nothing = np.zeros(len(fold), dtype=bool)
    return Folds(fold, fold, tuple(banned or [nothing] * (int(fold.max()) + 1)))


def _linear(columns: Any, rows: int) -> LinearRegression:
    return LinearRegression()


@pytest.fixture
def data() -> tuple[Fused, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    image, place = rng.normal(size=(100, 4)), rng.normal(size=(100, 2))
    target = image[:, 0] - place[:, 1] + rng.normal(0, 0.1, 100)
    return Fused({"image": image, "location": place}), target, rng.integers(0, 5, 100)


def test_equals_scikit_learns_cross_validation(data: tuple[Fused, np.ndarray, np.ndarray]) -> None:
    fused, target, fold = data
    ours = cross_fit(fused, target, _folds(fold), _linear)
    X = np.hstack(list(fused.blocks.values()))
    theirs = cross_val_predict(LinearRegression(), X, target, cv=PredefinedSplit(fold))
    assert np.allclose(ours.predicted, theirs)
    assert set(ours.basis) == {"image+location"}


def test_no_label_reaches_its_own_prediction(data: tuple[Fused, np.ndarray, np.ndarray]) -> None:
    fused, target, fold = data
    before = cross_fit(fused, target, _folds(fold), _linear).predicted
    changed = target.copy()
    changed[fold == 3] += 1000.0
    after = cross_fit(fused, changed, _folds(fold), _linear).predicted
    assert np.array_equal(before[fold == 3], after[fold == 3])
    assert not np.allclose(before[fold != 3], after[fold != 3])


def test_banned_rows_do_not_train(data: tuple[Fused, np.ndarray, np.ndarray]) -> None:
    fused, target, fold = data
    banned = [np.zeros(100, dtype=bool) for _ in range(5)]
    banned[0][np.flatnonzero(fold == 1)[:5]] = True
    before = cross_fit(fused, target, _folds(fold, banned), _linear).predicted
    changed = np.where(banned[0], 1e6, target)
    after = cross_fit(fused, changed, _folds(fold, banned), _linear).predicted
    assert np.array_equal(before[fold == 0], after[fold == 0])


def test_unlabelled_rows_are_predicted_by_all_labels(data: tuple[Fused, np.ndarray, np.ndarray]) -> None:
    fused, target, fold = data
    target = target.copy()
    target[:10] = np.nan
    ours = cross_fit(fused, target, _folds(fold[10:]), _linear)
    X = np.hstack(list(fused.blocks.values()))
    assert (ours.fold[:10] == -1).all()
    assert np.allclose(ours.predicted[:10], LinearRegression().fit(X[10:], target[10:]).predict(X[:10]))


def test_a_region_without_images_is_predicted_from_what_it_has(data: tuple[Fused, np.ndarray, np.ndarray]) -> None:
    fused, target, fold = data
    image = fused.blocks["image"].copy()
    image[::7] = np.nan
    part = Fused({"image": image, "location": fused.blocks["location"]})
    ours = cross_fit(part, target, _folds(fold), _linear)
    assert set(ours.basis[::7]) == {"location"}
    assert np.isfinite(ours.predicted).all()
    nothing = Fused({"image": image})
    alone = cross_fit(nothing, target, _folds(fold), _linear)
    assert np.isnan(alone.predicted[::7]).all()
    assert set(alone.basis[::7]) == {""}


def test_too_few_training_regions_is_an_error(data: tuple[Fused, np.ndarray, np.ndarray]) -> None:
    fused, target, _ = data
    few = np.where(np.arange(100) < 6, target, np.nan)
    with pytest.raises(InputError, match="only 3 regions that may train"):
        cross_fit(fused, few, _folds(np.array([0, 0, 0, 1, 1, 1])), _linear)


@pytest.mark.parametrize("make", [lambda c, n: RidgePath(groups=c), lambda c, n: DummyRegressor()])
def test_permuted_labels_predict_nothing(make: Any) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(200, 20))
    target, fold = rng.permutation(X[:, 0]), np.repeat(np.arange(5), 40)
    predicted = cross_fit(Fused({"image": X}), target, _folds(fold), make).predicted
    assert 1 - np.mean((target - predicted) ** 2) / target.var() <= 0.02
