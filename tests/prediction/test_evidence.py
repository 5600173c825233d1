"""The evidence that kernels are found by, beside SciPy's normal density and its numerical gradients."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.spatial.distance import cdist
from scipy.stats import multivariate_normal, norm

from chorograph.prediction.probes.processes.evidence import JITTER, Posterior, best_evidence

_ROUGH = [True, False, False]


def _posterior(seed: int, number: int = 40, targets: int = 1) -> tuple[Posterior, list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(number, 6))
    distances = [cdist(rows[:, part], rows[:, part]) for part in (slice(0, 2), slice(2, 5), slice(5, 6))]
    z = np.sin(rows[:, [0] * targets]) + rng.normal(size=(number, targets))
    return Posterior(_ROUGH, distances, z), distances, z


def _dense(theta: np.ndarray, distances: list[np.ndarray], z: np.ndarray) -> float:
    """Return the log posterior by the density of the normal distribution itself."""
    variance, length, noise = np.exp(theta[:3]), np.exp(theta[3:6]), np.exp(theta[6])
    scaled = [d / el for d, el in zip(distances, length, strict=True)]
    kernels = [np.exp(-d) if rough else np.exp(-0.5 * d**2) for d, rough in zip(scaled, _ROUGH, strict=True)]
    covariance = sum(v * k for v, k in zip(variance, kernels, strict=True)) + (noise + JITTER) * np.eye(len(z))
    medians = [np.log(np.median(d[d > 0])) for d in distances]
    likelihood = np.mean([multivariate_normal(cov=covariance).logpdf(column) for column in z.T])
    return float(likelihood - variance.sum() + norm(medians).logpdf(theta[3:6]).sum())


@pytest.mark.parametrize("targets", [1, 3])
def test_differences_of_the_posterior_are_those_of_the_normal_density(targets: int) -> None:
    posterior, distances, z = _posterior(0, targets=targets)
    rng = np.random.default_rng(1)
    one, other = rng.normal(-0.5, 0.7, (2, 7))
    ours = posterior.negative_log(other)[0] - posterior.negative_log(one)[0]
    assert ours == pytest.approx(_dense(one, distances, z) - _dense(other, distances, z), abs=1e-8)


@pytest.mark.parametrize("targets", [1, 3])
def test_the_gradient_is_exact(targets: int) -> None:
    posterior, _, _ = _posterior(2, targets=targets)
    for seed in range(3):
        theta = np.random.default_rng(seed).normal(-0.5, 0.5, 7)
        error = check_grad(lambda t: posterior.negative_log(t)[0], lambda t: posterior.negative_log(t)[1], theta)
        assert error < 1e-3


def test_the_best_is_not_improved_by_a_step_in_any_direction() -> None:
    _, distances, z = _posterior(3, 80)
    variance, length, noise = best_evidence(_ROUGH, distances, z[:, 0])
    best = np.r_[variance, length, np.log(noise)]
    value = _dense(best, distances, z)
    for step in np.vstack([np.eye(7), -np.eye(7)]) * 0.3:
        assert _dense(np.clip(best + step, -9, 3), distances, z) < value + 1e-3
