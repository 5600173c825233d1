"""The evidence of an additive Gaussian process, and the variances, lengths and noise at which it is greatest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg.lapack import dpotrf, dpotri, dpotrs
from scipy.optimize import minimize

from chorograph.ground.arrays import Matrix, Vector

#: Bounds of log variance and log noise, in units of the target's variance.
LOG_VARIANCE, LOG_NOISE = (-9.0, 3.0), (-6.0, 1.0)
#: Added to the diagonal of every covariance, so that rounding leaves it positive.
JITTER = 1e-6
#: How far a log length may go from the median distance between training rows.
_LOG_LENGTH_REACH = 4.0
#: The evidence is found to this part of itself: ten times closer moved no R2 by 0.001, and took twice the steps.
_CLOSE_ENOUGH = 1e-6


def best_evidence(rough: Sequence[bool], distances: Sequence[Matrix], z: Matrix) -> tuple[Vector, Vector, float]:
    """Return log variances, log lengths and the noise variance that maximise the posterior of z, standardised.

    `distances`: (n, n) between training rows, one a group; `rough` says which groups have the exponential kernel, the
    others have the squared exponential one. z is (n,), or (n, k) for what maximises the mean over k targets.
    """
    posterior = Posterior(rough, distances, z)
    centres = posterior.centres
    start = np.concatenate([np.full(len(centres), -np.log(2 * len(centres))), centres, [np.log(0.3)]])
    reach = [(centre - _LOG_LENGTH_REACH, centre + _LOG_LENGTH_REACH) for centre in centres]
    bounds = [LOG_VARIANCE] * len(centres) + reach + [LOG_NOISE]
    options = {"maxiter": 200, "ftol": _CLOSE_ENOUGH}
    found = minimize(posterior.negative_log, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return found.x[: len(centres)], found.x[len(centres) : -1], float(np.exp(found.x[-1]))


class Posterior:
    """The log posterior of variances, lengths and noise, given targets (Rasmussen and Williams 2006, eq. 5.8 and 5.9).

    Priors: a standard normal on each log length about `centres`, the log of the median distance, and an exponential on
    each variance. A covariance is symmetric, so that only the pairs of rows below its diagonal are worked on.
    """

    def __init__(self, rough: Sequence[bool], distances: Sequence[Matrix], z: Matrix) -> None:
        self._z = np.asfortranarray(z.reshape(len(z), -1))
        self._rows, self._columns = np.tril_indices(len(z), -1)
        self._flat = self._columns * len(z) + self._rows  # LAPACK's matrices lie column by column
        pairs = [np.asarray(distance)[self._rows, self._columns] for distance in distances]
        self.centres = np.array([_log_median(part) for part in pairs])
        # The kernel is exp(-pairs / length ** power).
        self._power = np.where(rough, 1.0, 2.0)
        self._pairs = [part if r else 0.5 * part**2 for part, r in zip(pairs, rough, strict=True)]
        self._kernels = np.empty((len(pairs), len(self._flat)))
        self._work = np.empty(len(self._flat))

    def negative_log(self, theta: Vector) -> tuple[float, Vector]:
        """Return the negative log posterior (up to a constant) at log variances, log lengths and log noise."""
        number, groups = len(self._z), len(self._pairs)
        variance, length, noise = np.exp(theta[:groups]), theta[groups:-1], float(np.exp(theta[-1]))
        inverse_length = np.exp(-self._power * length)
        for pairs, rate, kernel in zip(self._pairs, inverse_length, self._kernels, strict=True):
            np.multiply(pairs, -rate, out=kernel)
            np.exp(kernel, out=kernel)
        covariance = np.zeros(number * number)
        covariance[self._flat] = variance @ self._kernels
        covariance[:: number + 1] = variance.sum() + noise + JITTER
        factor, failed = dpotrf(covariance.reshape(number, number).T, lower=1, clean=0, overwrite_a=1)
        if failed:
            return 1e10, np.zeros_like(theta)
        solved, _ = dpotrs(factor, self._z, lower=1)
        targets = self._z.shape[1]
        value = 0.5 * np.vdot(self._z, solved) / targets + np.log(np.diag(factor)).sum()
        value += variance.sum() + 0.5 * ((length - self.centres) ** 2).sum()
        inverse, _ = dpotri(factor, lower=1, overwrite_c=1)
        outer = (solved @ solved.T).ravel()[self._flat] / targets - inverse.T.ravel()[self._flat]
        trace = float((solved**2).sum() / targets - np.trace(inverse))
        by_variance = variance * (1 - self._kernels @ outer - 0.5 * trace)
        by_length = length - self.centres
        for group, (pairs, kernel) in enumerate(zip(self._pairs, self._kernels, strict=True)):
            slope = np.vdot(np.multiply(outer, kernel, out=self._work), pairs) * inverse_length[group]
            by_length[group] -= variance[group] * self._power[group] * slope
        return float(value), np.concatenate([by_variance, by_length, [-0.5 * noise * trace]])


def _log_median(distance: Vector) -> float:
    apart = distance[distance > 0]
    return float(np.log(np.median(apart))) if apart.size else 0.0
