from __future__ import annotations

import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_predict

from chorograph.prediction.probes.inner import InnerFolds
from chorograph.prediction.probes.kriging import Kriged
from chorograph.prediction.probes.ridge import RidgePath

COLUMNS = {"image": slice(0, 4), "location": slice(4, 7)}


def _field(number: int = 260, seed: int = 0, noise: float = 0.2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Four image columns of which one counts, and a draw of an exponential field of range 4 km, in 20 x 20 km."""
    rng = np.random.default_rng(seed)
    place = np.c_[rng.uniform(0, 20, (number, 2)), np.zeros(number)]
    distance = np.linalg.norm(place[:, None] - place[None], axis=2)
    field = np.linalg.cholesky(np.exp(-distance / 4) + 1e-9 * np.eye(number)) @ rng.normal(size=number)
    image = rng.normal(size=(number, 4))
    return np.hstack([image, place]), image[:, 0] + field + rng.normal(0, noise, number), field


def test_equals_scikit_learn_at_the_same_sill_range_and_nugget() -> None:
    X, y, _ = _field(150)
    fit, new = slice(0, 110), slice(110, 150)
    ours = Kriged(LinearRegression(), COLUMNS, block_m=5000).fit(X[fit], y[fit])
    residual = y[fit] - cross_val_predict(LinearRegression(), X[fit], y[fit], cv=InnerFolds(slice(4, 7), 5000))
    assert np.allclose(ours.residual_, residual)
    field = ours.field_
    variance, length = field.process_.variances_["location"], field.process_.lengths_["location"]
    kernel = ConstantKernel(variance) * Matern(length, nu=0.5) + WhiteKernel(field.process_.noise_ + 1e-6)
    theirs = GaussianProcessRegressor(kernel, optimizer=None, alpha=0)
    theirs.fit(X[fit, 4:], (residual - residual.mean()) / residual.std())
    mean, std = theirs.predict(X[new, 4:], return_std=True)
    base = LinearRegression().fit(X[fit], y[fit]).predict(X[new])
    our_mean, our_std = ours.predict(X[new], return_std=True)
    assert np.allclose(our_mean, base + mean * residual.std() + residual.mean(), atol=1e-6)
    assert np.allclose(our_std, std * residual.std(), atol=1e-6)


def test_the_marginal_likelihood_is_nearly_the_best_that_scikit_learn_finds() -> None:
    X, y, _ = _field(200)
    ours = Kriged(DummyRegressor(), COLUMNS).fit(X, y).field_.process_
    kernel = ConstantKernel(1.0, (1e-3, 1e2)) * Matern(3.0, (0.1, 100.0), nu=0.5) + WhiteKernel(0.3, (1e-3, 3.0))
    theirs = GaussianProcessRegressor(kernel, alpha=0, n_restarts_optimizer=2, random_state=0)
    residual = y - cross_val_predict(DummyRegressor(), X, y, cv=InnerFolds())
    theirs.fit(X[:, 4:], (residual - residual.mean()) / residual.std())
    # Ours has weak priors on top: it may stay a little below, never above.
    assert -1.0 < ours.log_likelihood_ - theirs.log_marginal_likelihood_value_ <= 1e-3


def test_imagery_and_neighbourhood_both_count() -> None:
    X, y, field = _field()
    fit, new = slice(0, 200), slice(200, 260)
    base = RidgePath().fit(X[fit, :4], y[fit]).predict(X[new, :4])
    kriged = Kriged(RidgePath(), COLUMNS, block_m=5000).fit(X[fit], y[fit])
    predicted, std = kriged.predict(X[new], return_std=True)
    assert np.mean((predicted - y[new]) ** 2) < 0.5 * np.mean((base - y[new]) ** 2)
    assert np.corrcoef(predicted - base, field[new])[0, 1] > 0.7
    inside = np.abs(predicted - y[new]) < 1.645 * std
    assert 0.78 <= inside.mean() <= 1.0
    # Far from every label the neighbourhood says nothing, and the spread says so.
    far = X[new].copy()
    far[:, 4] += 1000.0
    assert (kriged.predict(far, return_std=True)[1] > std).all()


def test_residuals_are_never_in_sample() -> None:
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(60, 103)), rng.normal(size=60)
    columns = {"image": slice(0, 100), "location": slice(100, 103)}
    kriged = Kriged(LinearRegression(), columns).fit(X, y)
    assert np.abs(y - kriged.base_.predict(X)).max() < 1e-6
    assert kriged.residual_.std() > 0.5 * y.std()


def test_without_location_the_probe_stands_alone() -> None:
    X, y, _ = _field(80)
    kriged = Kriged(RidgePath(), {"image": slice(0, 4)}).fit(X[:, :4], y)
    mean, std = kriged.predict(X[:, :4], return_std=True)
    assert np.allclose(mean, RidgePath().fit(X[:, :4], y).predict(X[:, :4]))
    assert np.allclose(std, np.sqrt(np.mean(kriged.residual_**2)))
