"""The probe that chooses: never below what it chooses among, and honest where there is nothing to find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import KNeighborsRegressor

from chorograph.area.splits import Folds
from chorograph.prediction.crossfit import Fused, cross_fit, cross_fit_many
from chorograph.prediction.probes.auto import AutoProbe, Candidate, convex_weights
from chorograph.prediction.probes.candidates import candidates, make_auto
from chorograph.prediction.probes.inner import InnerFolds

SIDE = 4.0  # kilometres a block


@pytest.fixture(autouse=True)
def _small_forests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorograph.prediction.probes.candidates.TREES", 15)


def _city(number: int = 120, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    location = np.column_stack([rng.uniform(0, 24, (number, 2)), np.zeros(number)])
    return {
        "image": rng.normal(size=(number, 12)),
        "location": location,
        "shape": rng.normal(size=(number, 3)),
        "poi": rng.normal(size=(number, 4)),
    }


def _folds(location: np.ndarray) -> Folds:
    blocks = np.unique(np.floor(location[:, :2] / SIDE), axis=0, return_inverse=True)[1].reshape(-1)
    return Folds(blocks % 5, blocks, tuple(np.zeros(len(location), dtype=bool) for _ in range(5)))


def _r2(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def _make(columns: Mapping[str, slice], rows: int) -> Any:
    return make_auto(columns, 0, SIDE * 1000)


def _truths(city: dict[str, np.ndarray], seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(4, len(city["image"])))
    place = np.sin(city["location"][:, 0] / 6) + np.cos(city["location"][:, 1] / 7)
    return {
        "place": place + 0.3 * noise[0],
        "image": city["image"][:, :3].sum(1) + noise[1],
        "shape": 2 * city["shape"][:, 0] + 0.5 * noise[2],
        "noise": noise[3],
    }


def test_at_or_above_every_candidate_wherever_the_truth_lies() -> None:
    city = _city()
    folds = _folds(city["location"])
    truths = _truths(city)
    runs = cross_fit_many(Fused(city), truths, lambda mask: folds, _make)
    for name in ("place", "image", "shape"):
        best = -np.inf
        for candidate in candidates(tuple(city), 0):
            blocks = {m: city[m] for m in candidate.modalities} or {"none": np.zeros((len(folds.fold), 1))}
            alone = cross_fit(
                Fused(blocks),
                truths[name],
                folds,
                lambda c, n, made=candidate: made.make(c if made.modalities else {}, n),
            )
            best = max(best, _r2(truths[name], alone.predicted))
        assert _r2(truths[name], runs[name].predicted) > best - 0.05


@pytest.mark.parametrize("seed", range(3))
def test_permuted_labels_are_not_predicted(seed: int) -> None:
    city = _city(90, seed)
    truth = np.random.default_rng(seed).permutation(_truths(city)["place"])
    run = cross_fit(Fused(city), truth, _folds(city["location"]), _make)
    assert -0.15 < _r2(truth, run.predicted) < 0.06


@pytest.mark.parametrize("number", [40, 400])
def test_few_regions_many_regions_mixed_units_and_no_imagery(number: int) -> None:
    """Shapes of cities that it will meet: few labels, no imagery, counts beside shares, columns of any size."""
    city = {name: block for name, block in _city(number).items() if name != "image"}
    city["poi"] = np.abs(city["poi"]) * [1e-3, 1.0, 1e4, 0.0]
    truth = 1e6 * (np.sin(city["location"][:, 0] / 6) + city["shape"][:, 0])
    run = cross_fit(Fused(city), truth, _folds(city["location"]), _make)
    nearest = cross_fit(
        Fused({"location": city["location"]}), truth, _folds(city["location"]), lambda c, n: KNeighborsRegressor(10)
    )
    assert np.isfinite(run.predicted).all()
    assert _r2(truth, run.predicted) > max(_r2(truth, nearest.predicted), 0.5)


def test_pure_noise_columns_do_no_harm() -> None:
    city = _city(90)
    truth = _truths(city)["place"]
    folds = _folds(city["location"])
    noise = {"graph": np.random.default_rng(5).normal(size=(90, 200))}
    without = _r2(truth, cross_fit(Fused(city), truth, folds, _make).predicted)
    beside = _r2(truth, cross_fit(Fused({**city, **noise}), truth, folds, _make).predicted)
    assert beside > without - 0.05
    only = cross_fit(Fused(noise), truth, folds, lambda columns, rows: make_auto(columns, 0, None))
    assert _r2(truth, only.predicted) < 0.06


def test_many_targets_are_weighed_as_each_alone() -> None:
    city = _city(80)
    folds, truths = _folds(city["location"]), _truths(city)
    together = cross_fit_many(Fused(city), truths, lambda mask: folds, _make)
    alone = cross_fit(Fused(city), truths["image"], folds, _make)
    assert np.allclose(together["image"].predicted, alone.predicted, rtol=0, atol=1e-9)
    assert np.allclose(together["image"].scale, alone.scale, rtol=0, atol=1e-9)


def test_the_choice_is_told() -> None:
    city = _city()
    truth = _truths(city)["shape"]
    names = tuple(city)
    fused = Fused(city)
    probe = _make(fused.columns(names), len(truth)).fit(fused.stacked(names, np.ones(len(truth), dtype=bool)), truth)
    (choice,) = probe.choices_
    assert sum(choice.values()) == pytest.approx(1.0)
    assert max(choice, key=lambda name: choice[name]) != "mean"
    assert sum(weight for name, weight in choice.items() if "shape" in name) > 0.8


def test_weights_are_those_of_least_squares_on_the_simplex() -> None:
    rng = np.random.default_rng(0)
    unseen = rng.normal(size=(80, 3))
    target = unseen @ [0.7, 0.3, 0.0] + 0.01 * rng.normal(size=80)
    assert convex_weights(unseen, target) == pytest.approx([0.7, 0.3, 0.0], abs=0.02)
    grid = [(a, b, 1 - a - b) for a in np.linspace(0, 1, 51) for b in np.linspace(0, 1 - a, 51)]
    target = rng.normal(size=80)
    best = min(grid, key=lambda w: ((unseen @ np.array(w) - target) ** 2).sum())
    assert convex_weights(unseen, target) == pytest.approx(best, abs=0.03)


def test_few_rows_keep_to_the_usual_weights_and_many_do_not() -> None:
    rng = np.random.default_rng(0)
    usual = np.array([0.5, 0.5, 0.0])
    for rows, least, most in ((12, 0.0, 0.6), (2000, 0.9, 1.0)):
        target = rng.normal(size=rows)
        unseen = np.column_stack([rng.normal(size=rows), np.zeros(rows), target + 0.1 * rng.normal(size=rows)])
        assert least <= convex_weights(unseen, target, usual)[2] <= most


def test_a_region_unlike_all_others_is_not_predicted_beyond_what_was_seen() -> None:
    rng = np.random.default_rng(6)
    X = rng.normal(size=(80, 3))
    y = X.sum(1) + 0.1 * rng.normal(size=80)
    made = [
        Candidate("line", ("a",), lambda c, n: LinearRegression()),
        Candidate("mean", (), lambda c, n: DummyRegressor()),
    ]
    probe = AutoProbe(made, {"a": slice(0, 3)}, InnerFolds()).fit(X, y)
    far, std = probe.predict(np.array([[1e4, 0, 0], [-1e4, 0, 0]]), return_std=True)
    assert y.max() < far[0] <= y.max() + y.std() + 1e-9
    assert y.min() > far[1] >= y.min() - y.std() - 1e-9
    assert np.isfinite(std).all()
    assert probe.predict(X) == pytest.approx(y, abs=1)


def test_a_dear_candidate_is_tried_only_where_its_scout_is_near() -> None:
    rng = np.random.default_rng(4)
    X = rng.normal(size=(60, 2))
    y = np.column_stack([X[:, 0], X[:, 1]]) + 0.1 * rng.normal(size=(60, 2))
    made = [
        Candidate("a", ("a",), lambda c, n: LinearRegression()),
        Candidate("b", ("b",), lambda c, n: LinearRegression()),
        Candidate("dear", ("b",), lambda c, n: KNeighborsRegressor(3), scout="b"),
    ]
    probe = AutoProbe(made, {"a": slice(0, 1), "b": slice(1, 2)}, InnerFolds()).fit(X, y)
    assert np.isinf(probe.errors_[0, 2])
    assert np.isfinite(probe.errors_[1, 2])
    assert probe.weights_[0, 2] == 0


def test_the_deviation_holds_what_members_disagree_on() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 2))
    y = X[:, 0] + rng.normal(size=60)
    made = [
        Candidate("line", ("a",), lambda c, n: LinearRegression()),
        Candidate("near", ("a",), lambda c, n: KNeighborsRegressor(5)),
        Candidate("mean", (), lambda c, n: DummyRegressor()),
        Candidate("absent", ("b",), lambda c, n: DummyRegressor()),
    ]
    probe = AutoProbe(made, {"a": slice(0, 2)}, InnerFolds()).fit(X, y)
    assert "absent" not in probe.choices_[0]
    new = np.array([[2.0, 0.0]])
    mean, std = probe.predict(new, return_std=True)
    each = np.zeros(3)
    for number, (member, _) in probe.members_.items():
        each[number] = float(np.ravel(member.predict(new if number < 2 else np.zeros((1, 1))))[0])
    weights = probe.weights_[0]
    assert set(np.flatnonzero(weights)) == set(probe.members_)
    expected = weights @ (each**2 + probe.errors_[0] ** 2) - (weights @ each) ** 2
    assert mean[0] == pytest.approx(weights @ each)
    assert std[0] == pytest.approx(np.sqrt(expected))
