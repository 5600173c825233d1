from __future__ import annotations

import numpy as np
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from chorograph.prediction.probes.processes.exact import GaussianProcess


def _data(seed: int = 0, number: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(number, 5))
    return X, np.sin(2 * X[:, 0]) + 0.5 * X[:, 1] + rng.normal(0, 0.2, number)


def test_equals_scikit_learn_at_the_same_hyperparameters() -> None:
    X, y = _data()
    ours = GaussianProcess().fit(X[:90], y[:90])
    (variance,), (length,) = ours.variances_.values(), ours.lengths_.values()
    kernel = ConstantKernel(variance) * RBF(length) + WhiteKernel(ours.noise_ + 1e-6)
    theirs = GaussianProcessRegressor(kernel, optimizer=None, alpha=0)
    rows = ours.terms_[0].reduce(X)
    theirs.fit(rows[:90], (y[:90] - ours.mean_) / ours.scale_)
    mean, std = theirs.predict(rows[90:], return_std=True)
    ours_mean, ours_std = ours.predict(X[90:], return_std=True)
    assert np.allclose(ours_mean, mean * ours.scale_ + ours.mean_, atol=1e-5)
    assert np.allclose(ours_std, std * ours.scale_, atol=1e-5)
    assert np.isclose(ours.log_likelihood_, theirs.log_marginal_likelihood_value_, atol=1e-4)


def test_a_group_that_does_not_help_does_no_harm() -> None:
    rng = np.random.default_rng(1)
    X, y = _data(1, 200)
    noisy = np.hstack([X, rng.normal(size=(200, 30))])
    alone = GaussianProcess({"image": slice(0, 5)}).fit(X[:150], y[:150])
    both = GaussianProcess({"image": slice(0, 5), "poi": slice(5, 35)}).fit(noisy[:150], y[:150])
    error_alone = np.mean((alone.predict(X[150:]) - y[150:]) ** 2)
    error_both = np.mean((both.predict(noisy[150:]) - y[150:]) ** 2)
    assert error_both < 1.15 * error_alone
    assert both.variances_["poi"] < 0.2 * both.variances_["image"]


def test_noise_alone_gives_the_mean() -> None:
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(150, 10)), rng.normal(size=150)
    fitted = GaussianProcess().fit(X[:100], y[:100])
    r2 = 1 - np.mean((fitted.predict(X[100:]) - y[100:]) ** 2) / y[100:].var()
    assert r2 < 0.1


def test_std_grows_away_from_the_data_and_clone_works() -> None:
    X, y = _data(3)
    fitted = clone(GaussianProcess({"location": slice(0, 5)})).fit(X, y)
    _, near = fitted.predict(X[:5], return_std=True)
    _, far = fitted.predict(X[:5] + 100.0, return_std=True)
    assert (far > near).all()


def test_many_targets_are_fitted_as_each_alone() -> None:
    rng = np.random.default_rng(8)
    X = rng.normal(size=(60, 5))
    Y = np.stack([np.sin(X[:, 0]), X[:, 3] + 0.3 * rng.normal(size=60), rng.normal(size=60)], axis=1)
    groups = {"image": slice(0, 3), "location": slice(3, 5)}
    new = rng.normal(size=(9, 5))
    folds = [(np.flatnonzero(np.arange(60) % 4 != k), np.flatnonzero(np.arange(60) % 4 == k)) for k in range(4)]
    together = GaussianProcess(groups).fit(X, Y)
    mean, std = together.predict(new, return_std=True)
    for column in range(3):
        alone = GaussianProcess(groups).fit(X, Y[:, column])
        own_mean, own_std = alone.predict(new, return_std=True)
        assert np.allclose(mean[:, column], own_mean, rtol=0, atol=1e-12)
        assert np.allclose(std[:, column], own_std, rtol=0, atol=1e-12)
        assert np.allclose(together.held_out(folds)[:, column], alone.held_out(folds), rtol=0, atol=1e-12)


def test_rows_are_left_out_without_fitting_again() -> None:
    rng = np.random.default_rng(9)
    X = rng.normal(size=(40, 3))
    y = X[:, 0] ** 2 + 0.2 * rng.normal(size=40)
    ours = GaussianProcess().fit(X, y)
    part = np.arange(40) % 3
    folds = [(np.flatnonzero(part != k), np.flatnonzero(part == k)) for k in range(3)]
    found = ours.held_out(folds)
    # scikit-learn's process with our hyperparameters, fitted on each rest.
    kernel = ConstantKernel(ours.variances_["features"]) * RBF(ours.lengths_["features"]) + WhiteKernel(
        ours.noise_ + 1e-6
    )
    rows = ours.terms_[0].reduce(X)
    for train, test in folds:
        theirs = GaussianProcessRegressor(kernel, optimizer=None).fit(rows[train], (y[train] - y.mean()) / y.std())
        assert np.allclose(found[test], theirs.predict(rows[test]) * y.std() + y.mean(), atol=1e-6)
