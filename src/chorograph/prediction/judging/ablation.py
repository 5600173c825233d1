"""What each modality adds: the same folds, probe and regions with every subset of the modalities."""

from __future__ import annotations

from itertools import combinations

import pandas as pd

from chorograph.area.splits import Folds
from chorograph.ground.arrays import Matrix
from chorograph.ground.stage import Progress, silent
from chorograph.prediction.crossfit import Fused, ProbeMaker, cross_fit
from chorograph.prediction.judging.scoring import Scoring


def ablate(
    fused: Fused, target: Matrix, folds: Folds, make_probe: ProbeMaker, scoring: Scoring, progress: Progress = silent
) -> pd.DataFrame:
    """Return R2 in the fitted unit, with its 95 % interval, of every non-empty subset of the modalities.

    All are scored on the rows of `scoring`, so that a subset is not flattered by the regions it lacks; best first.
    """
    names = list(fused.blocks)
    subsets = [chosen for size in range(1, len(names) + 1) for chosen in combinations(names, size)]
    rows = []
    for done, chosen in enumerate(subsets, start=1):
        run = cross_fit(Fused({name: fused.blocks[name] for name in chosen}), target, folds, make_probe)
        rows.append((" + ".join(chosen), *scoring.r2(run).as_list()))
        progress("ablation", done, len(subsets))
    frame = pd.DataFrame(rows, columns=["modalities", "r2", "lower", "upper"])
    return frame.sort_values("r2", ascending=False, ignore_index=True)
