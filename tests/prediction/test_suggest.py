"""Where to look next: variances against scikit-learn's Gaussian process, and the greedy choice against all choices."""

from __future__ import annotations

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF

from chorograph.prediction.judging.suggest import suggest
from chorograph.prediction.probes.processes.exact import GaussianProcess


def test_variance_that_a_survey_removes_equals_a_refit() -> None:
    rng = np.random.default_rng(0)
    labelled, new = rng.uniform(0, 4, (12, 1)), rng.uniform(0, 8, (9, 1))
    noise = 0.1
    reference = GaussianProcessRegressor(RBF(1.0), alpha=noise, optimizer=None).fit(labelled, np.zeros(12))
    covariance = reference.predict(new, return_cov=True)[1]
    rows, gone = suggest(covariance, noise, 3)
    after = GaussianProcessRegressor(RBF(1.0), alpha=noise, optimizer=None).fit(
        np.vstack([labelled, new[rows]]), np.zeros(15)
    )
    left = np.trace(after.predict(new, return_cov=True)[1]) / np.trace(covariance)
    assert np.isclose(1 - gone[-1], left)
    assert gone == sorted(gone)


def test_the_first_choice_is_the_best_of_all() -> None:
    rng = np.random.default_rng(1)
    root = rng.normal(size=(8, 8))
    covariance = root @ root.T
    rows, gone = suggest(covariance, 0.5, 1)
    left = [np.trace(covariance - np.outer(c, c) / (c[i] + 0.5)) for i, c in enumerate(covariance)]
    assert rows[0] == int(np.argmin(left))
    assert np.isclose(1 - gone[0], min(left) / np.trace(covariance))


def test_more_is_not_suggested_than_there_is() -> None:
    assert len(suggest(np.eye(3), 0.1, 10)[0]) == 3


def test_the_posterior_of_our_process_shrinks_at_labels() -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(40, 3))
    y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=40)
    process = GaussianProcess().fit(X, y)
    far = X + 20.0
    covariance, noise = process.posterior(np.vstack([X, far]))
    std = process.predict(np.vstack([X, far]), return_std=True)[1]
    assert np.allclose(np.sqrt(np.diag(covariance) + noise), std, rtol=1e-3)
    assert np.diag(covariance)[:40].max() < np.diag(covariance)[40:].min()
