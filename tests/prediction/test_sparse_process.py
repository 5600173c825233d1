"""The process on inducing rows, against the exact one."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad

from chorograph.prediction.probes.processes.exact import GaussianProcess
from chorograph.prediction.probes.processes.sparse import SparseGaussianProcess, _best_variances

GROUPS = {"image": slice(0, 3), "location": slice(3, 5)}


def _city(number: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = np.column_stack([rng.normal(size=(number, 3)), rng.uniform(0, 20, (number, 2))])
    field = np.sin(X[:, 3] / 3) + np.cos(X[:, 4] / 4)
    Y = np.stack(
        [field + X[:, 0] + 0.3 * rng.normal(size=number), X[:, 1] ** 2 + 0.5 * rng.normal(size=number)], axis=1
    )
    return X, Y


def _r2(truth: np.ndarray, predicted: np.ndarray) -> float:
    return float(1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def test_with_every_row_inducing_it_is_the_exact_process() -> None:
    X, Y = _city(120)
    exact = GaussianProcess(GROUPS).fit(X[:100], Y[:100, 0])
    sparse = SparseGaussianProcess(GROUPS, inducing=100, sample=100).fit(X[:100], Y[:100, 0])
    mean, std = exact.predict(X[100:], return_std=True)
    our_mean, our_std = sparse.predict(X[100:], return_std=True)
    assert our_mean == pytest.approx(mean, abs=0.02)
    assert our_std == pytest.approx(std, rel=0.05)


def test_few_inducing_rows_lose_little() -> None:
    X, Y = _city(700)
    exact = GaussianProcess(GROUPS).fit(X[:300], Y[:300, 0])
    sparse = SparseGaussianProcess(GROUPS, inducing=100, sample=150).fit(X[:600], Y[:600])
    found = sparse.predict(X[600:])
    assert found.shape == (100, 2)
    assert _r2(Y[600:, 0], found[:, 0]) > _r2(Y[600:, 0], exact.predict(X[600:])) - 0.03
    assert _r2(Y[600:, 1], found[:, 1]) > 0.6


def test_intervals_of_its_own_deviation_hold_what_they_say() -> None:
    X, Y = _city(700, seed=3)
    sparse = SparseGaussianProcess(GROUPS, inducing=80, sample=150).fit(X[:400], Y[:400, 0])
    mean, std = sparse.predict(X[400:], return_std=True)
    assert 0.8 < np.mean(np.abs(Y[400:, 0] - mean) < 1.645 * std) < 0.97


def test_far_from_every_row_it_knows_nothing() -> None:
    X, Y = _city(200)
    sparse = SparseGaussianProcess(GROUPS, inducing=60, sample=100).fit(X, Y[:, 0])
    far = np.full((1, 5), 500.0)
    mean, std = sparse.predict(far, return_std=True)
    assert mean[0] == pytest.approx(Y[:, 0].mean(), abs=0.05)
    prior = np.sqrt(sparse.variances_[0].sum() + sparse.noise_[0]) * Y[:, 0].std()
    assert std[0] == pytest.approx(prior, rel=0.02)


def test_leaving_a_fold_out_is_a_fit_without_it() -> None:
    X, Y = _city(150)
    part = np.arange(150) % 3
    folds = [(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in range(3)]
    sparse = SparseGaussianProcess(GROUPS, inducing=50, sample=80).fit(X, Y)
    found = sparse.held_out(folds)
    features, z = sparse.features_.astype(float), sparse.z_
    for column in range(2):
        amplitude, noise = sparse._amplitude(column), sparse.noise_[column] + 1e-6
        for train, test in folds:
            scaled = features * amplitude
            weights = np.linalg.solve(
                scaled[train].T @ scaled[train] + noise * np.eye(scaled.shape[1]), scaled[train].T @ z[train, column]
            )
            expected = scaled[test] @ weights * sparse.scale_[column] + sparse.mean_[column]
            assert found[test, column] == pytest.approx(expected, abs=1e-3)


def test_the_gradient_of_the_variances() -> None:
    rng = np.random.default_rng(4)
    roots = [rng.normal(size=(30, 30)) for _ in range(2)]
    kernels = [root @ root.T / 30 for root in roots]
    z = rng.normal(size=30)
    seen: list = []

    def minimize(loss, start, **_):  # type: ignore[no-untyped-def]
        seen.append(loss)
        return type("Found", (), {"x": start})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("chorograph.prediction.probes.processes.sparse.minimize", minimize)
        _best_variances(kernels, z, np.zeros(3))
    assert check_grad(lambda t: seen[0](t)[0], lambda t: seen[0](t)[1], np.array([0.3, -0.5, -1.0])) < 1e-4
