"""Intervals from our own out-of-fold residuals: split, cross and quantile conformal, weighed under covariate shift.

MAPIE takes neither out-of-fold predictions nor weights of residuals; these few lines equal it where it applies
(tests/predict/test_conformal.py).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chorograph.ground.arrays import Mask, Vector

#: Given calibration rows and new rows, returns the weights of both.
Weigh = Callable[[Mask, Mask], tuple[Vector, Vector]]

METHODS = ("cross", "split", "quantile")

#: Components that the shift is looked for in, and how far weights may go from one another.
_SHIFT_COMPONENTS = 5
_MOST_WEIGHT = 20.0


def conformal_quantile(
    scores: Vector, level: float, weights: Vector | None = None, own: Vector | None = None
) -> Vector:
    """Return for each new row the bound that holds its score with probability `level`.

    Without weights the ceil((n + 1) level)-th smallest of n calibration scores (Vovk et al. 2005). `weights` (n,) of
    the calibration rows and `own` (m,) of the new ones are likelihood ratios of new over calibration covariates
    (Tibshirani et al. 2019, eq. 7). Infinite where the scores are too few for the level. One value where `own` is None.
    """
    weights = np.ones(len(scores)) if weights is None else weights
    own = np.ones(1) if own is None else own
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum(weights[order])
    total = weights.sum() + own
    # Rounding must not push a mass that equals the level over it.
    rank = np.searchsorted(mass, level * total - 1e-9 * total, side="left")
    return np.asarray(np.append(scores[order], np.inf)[rank])


def conformal_intervals(
    target: Vector,
    predicted: Vector,
    scale: Vector,
    fold: NDArray[np.int64],
    level: float,
    method: str = "cross",
    weigh: Weigh | None = None,
    basis: NDArray[np.object_] | None = None,
    groups: NDArray[np.int64] | None = None,
) -> tuple[Vector, Vector]:
    """Return (lower, upper) of every row: tested rows from other folds' residuals, all others from every fold's.

    `target` is NaN where there is no label; `fold` is -1 for rows that no fold tests. A tested row's own fold never
    decides its interval, so the share of truths inside is a fair measure of coverage. `scale` is how uncertain the
    probe says each prediction is, in the target's unit (ones where it does not say).

    `cross`: |residual| / scale of all other folds (normalised conformal prediction, Papadopoulos et al. 2008), with the
    scale half-way to one for all rows (`tempered`).
    `split`: of the next fold alone. `quantile`: the probe's own Gaussian quantiles, moved out or in by how far truths
    lay beyond them (conformalised quantile regression, Romano et al. 2019). `weigh` gives the weights of the residuals
    under covariate shift. `basis` names what each row was predicted from: a row's interval rests on residuals of rows
    of the same basis (Mondrian conformal prediction, Vovk et al. 2005, section 4.5), or on all where those are too few
    for the level; regions that lack imagery are predicted worse, and would widen the intervals of all others. `groups`
    numbers the blocks that rows lie in: a new region lies in a new block, so that blocks, not rows, are what the level
    is promised over (`level_for_blocks`).
    """
    lower, upper = np.full(len(target), np.nan), np.full(len(target), np.nan)
    known = (fold >= 0) & np.isfinite(target) & np.isfinite(predicted)
    folds = np.unique(fold[known])
    reach = norm.ppf(0.5 + level / 2) * scale if method == "quantile" else np.zeros(len(target))
    unit = np.ones(len(target)) if method == "quantile" else tempered(scale, known)
    score = (np.abs(target - predicted) - reach) / unit
    kinds = np.zeros(len(target)) if basis is None else basis
    for number, kind in product([*folds.tolist(), -1], np.unique(kinds)):
        rows = (fold == number) & np.isfinite(predicted) & (kinds == kind)
        if not rows.any():
            continue
        # A single given test fold has no other fold to learn from: it is calibrated on itself, and the caller says so.
        others = known & (fold != number) if len(folds) > 1 or number == -1 else known
        if method == "split" and len(folds) > 1:
            others = known & (fold == folds[(np.searchsorted(folds, number) + 1) % len(folds)])
        if np.isfinite(conformal_quantile(score[others & (kinds == kind)], level)).all():
            others = others & (kinds == kind)
        asked = level if groups is None else level_for_blocks(groups[others], level)
        if weigh is None:
            half = conformal_quantile(score[others], asked)
        else:
            half = conformal_quantile(score[others], asked, *weigh(others, rows))
        lower[rows] = predicted[rows] - reach[rows] - half * unit[rows]
        upper[rows] = predicted[rows] + reach[rows] + half * unit[rows]
    return lower, upper


def tempered(scale: Vector, known: Mask) -> Vector:
    """Return the scale of each row half-way, on a logarithmic axis, to the median of the rows with known residuals.

    A probe's own standard deviation tells where it knows less, and exaggerates: on King County, where blocks of labels
    were hidden as whole unlabelled ones lie, intervals in its proportion held 87 % of prices near labels and 92 % far
    from any, equal ones 93 % at twice the width near labels; half-way they held 92 to 93 % at every distance
    (docs/explanation/findings.md).
    """
    usual = float(np.median(scale[known])) if known.any() else 1.0
    return np.sqrt(scale * usual) if usual > 0 else scale


def level_for_blocks(groups: NDArray[np.int64], level: float) -> float:
    """Return the level to ask of residuals in these blocks so that a new block is covered at `level`.

    Residuals of a block resemble each other, so that n of them in K blocks are worth K draws, and the finite-sample
    correction of the conformal quantile is (K + 1) / K (Dunn, Wasserman and Ramdas 2022, Distribution-free prediction
    sets for two-layer hierarchical models). K is Kish's effective number, n² over the sum of squared sizes. Few blocks
    cannot promise a high level: no more than half the way from `level` to 1 is asked.
    """
    sizes = np.unique(groups, return_counts=True)[1].astype(np.float64)
    if not sizes.size:
        return level
    number = sizes.sum() ** 2 / (sizes**2).sum()
    return float(min(level * (number + 1) / number, (1 + level) / 2))


def shift_weights(features: NDArray[np.float64]) -> Weigh:
    """Return how residuals are weighed for new rows that lie elsewhere in the space of `features` (n, width).

    The likelihood ratio of new over calibration rows is the odds of a logistic regression that tells them apart, on the
    leading components; no label is seen. Ratios are clipped to 1/20 and 20; rows with a missing feature count as 1.
    """
    whole = np.isfinite(features).all(1)
    components = np.zeros((len(features), min(_SHIFT_COMPONENTS, features.shape[1], max(1, int(whole.sum()) - 1))))
    if whole.sum() > components.shape[1]:
        reducer = make_pipeline(StandardScaler(), PCA(components.shape[1], random_state=0))
        components[whole] = reducer.fit_transform(features[whole])

    def weigh(calibration: Mask, new: Mask) -> tuple[Vector, Vector]:
        a, b = calibration & whole, new & whole
        weights = np.ones(len(features))
        if a.sum() > 1 and b.sum() > 1:
            is_new = np.r_[np.zeros(a.sum()), np.ones(b.sum())]
            classifier = make_pipeline(StandardScaler(), LogisticRegression()).fit(
                np.vstack([components[a], components[b]]), is_new
            )
            ratio = np.exp(classifier.decision_function(components[whole])) * a.sum() / b.sum()
            weights[whole] = np.clip(ratio, 1 / _MOST_WEIGHT, _MOST_WEIGHT)
        return weights[calibration], weights[new]

    return weigh
