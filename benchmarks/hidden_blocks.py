"""What is really found where whole blocks have no labels? R2 and coverage on blocks that were hidden from a fit.

    python benchmarks/hidden_blocks.py AREA [--deals 24] [--vectors colour+rcf:1024+efficientnet-lite0] [--probe auto]

AREA is the folder that recipes/king-county.yaml makes, with its vectors. In each deal about 23 % of the labelled
regions with imagery are hidden in whole squares of 6 km, of twenty draws those whose distances to the nearest label are
most like those of the unlabelled regions; the rest is fitted and cross-fitted in blocks as `chorograph predict` does.
Prints a row an indicator: R2 in blocks and on hidden regions, and what the intervals held of hidden regions: the mean
over deals, the least, and by quarters of distance to the nearest label.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.area.splits import SpatialBlocks, block_of, inner_points, to_sphere
from chorograph.area.splits.matched import distances
from chorograph.ground.stage import Ledger
from chorograph.prediction.crossfit import cross_fit
from chorograph.prediction.features import STANDARD, read_features
from chorograph.prediction.judging.intervals import conformal_intervals
from chorograph.prediction.labels import Question, read_labels
from chorograph.prediction.probes.registry import make_probe_maker

QUESTIONS = (
    Question("sale_price_median_usd", "log"),
    Question("bachelor_or_higher", per="population"),
    Question("average_household_size"),
    Question("poverty_male_percent"),
)
SIDE_M, SHARE, DRAWS, LEVEL = 6000.0, 0.23, 20, 0.9
Rows = NDArray[np.int64]


def hidden_rows(positions: NDArray[np.float64], use: NDArray[np.float64], seed: int) -> tuple[Rows, Rows]:
    """Return which of the labelled positions (n, 3), in metres, are kept and which are hidden in one deal."""
    rng = np.random.default_rng(seed)
    _, _, axes = np.linalg.svd(positions - positions.mean(0), full_matrices=False)
    flat, best = (positions - positions.mean(0)) @ axes[:2].T, (np.inf, np.zeros(len(positions), dtype=bool))
    probabilities = np.linspace(0.01, 0.99, 99)
    for _ in range(DRAWS):
        squares = np.floor((flat + rng.uniform(0, SIDE_M, 2)) / SIDE_M)
        block = np.unique(squares, axis=0, return_inverse=True)[1].reshape(-1)
        hidden = np.zeros(len(flat), dtype=bool)
        for number in rng.permutation(block.max() + 1):
            if hidden.sum() + (block == number).sum() <= 1.1 * SHARE * len(flat):
                hidden |= block == number
            if hidden.sum() >= 0.9 * SHARE * len(flat):
                break
        away = distances(positions[hidden], positions[~hidden])
        apart = np.abs(np.quantile(away, probabilities) - np.quantile(use, probabilities)).mean()
        if apart < best[0]:
            best = (float(apart), hidden)
    return np.flatnonzero(~best[1]), np.flatnonzero(best[1])


def r2(truth: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Return 1 - SSE / SST."""
    return float(1 - ((truth - predicted) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("area", type=Path)
    parser.add_argument("--vectors", default="colour+rcf:1024+efficientnet-lite0")
    parser.add_argument("--probe", default="auto")
    parser.add_argument("--deals", type=int, default=24)
    asked = parser.parse_args()
    area = Area.open(asked.area)
    features = read_features(area, Embeddings.read(area.embeddings_path(asked.vectors)))
    fused = features.fused("choosable" if asked.probe == "auto" else ",".join(STANDARD))
    lon, lat = inner_points(area.regions)
    positions, whole = to_sphere(lon, lat), fused.present.all(1)
    make_probe = make_probe_maker(asked.probe, seed=0, block_m=SIDE_M)
    for question in QUESTIONS:
        truth = read_labels(area, question, Ledger()).fitted
        known = np.flatnonzero(np.isfinite(truth) & whole)
        use = distances(positions[whole & ~np.isfinite(truth)], positions[known])
        scores, inside, away = [], [], []
        for seed in range(asked.deals):
            kept, hidden = (known[rows] for rows in hidden_rows(positions[known], use, seed))
            target = np.full(len(truth), np.nan)
            target[kept] = truth[kept]
            regions, labelled = area.regions, np.isfinite(target)
            folds = SpatialBlocks(SIDE_M).folds(area, regions[labelled], np.full(len(kept), -1))
            run = cross_fit(fused, target, folds, make_probe)
            groups = np.where(labelled, block_of(lon, lat, SIDE_M), -1)
            lower, upper = conformal_intervals(
                target, run.predicted, run.scale, run.fold, LEVEL, basis=run.basis, groups=groups
            )
            scores.append((r2(truth[kept], run.predicted[kept]), r2(truth[hidden], run.predicted[hidden])))
            inside.append((truth[hidden] >= lower[hidden]) & (truth[hidden] <= upper[hidden]))
            away.append(distances(positions[hidden], positions[kept]))
        blocks, unseen = np.mean(scores, axis=0)
        shares = [float(each.mean()) for each in inside]
        far = np.concatenate(away)
        quarter = np.searchsorted(np.quantile(far, [0.25, 0.5, 0.75]), far)
        by_quarter = [f"{np.concatenate(inside)[quarter == number].mean():.3f}" for number in range(4)]
        print(
            f"{question.indicator}: R2 {blocks:.3f} in blocks, {unseen:.3f} hidden; held {np.mean(shares):.3f}, least "
            f"{min(shares):.3f}, by quarters of distance {' '.join(by_quarter)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
