"""The probes by name: what is fitted on the fused features of a region.

`ridge`, `gp`, `boosting` need scikit-learn alone; `mlp` and `knowcl-mlp` are the published heads and need torch. There
is no kernel ridge beside `gp`: the mean of a Gaussian process is kernel ridge regression, with the penalty and the
kernels' lengths chosen by the evidence of the training rows (Rasmussen and Williams 2006, section 6.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.ensemble import StackingRegressor
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from chorograph.ground.errors import InputError
from chorograph.prediction.crossfit import ProbeMaker
from chorograph.prediction.probes.boosting import ComponentBoosting
from chorograph.prediction.probes.fusion import late_fusion
from chorograph.prediction.probes.gaussian_process import GaussianProcess
from chorograph.prediction.probes.inner import InnerFolds
from chorograph.prediction.probes.kriging import Kriged
from chorograph.prediction.probes.mlp import KnowClMlp, UrbanClipMlp
from chorograph.prediction.probes.names import PROBES
from chorograph.prediction.probes.ridge import RidgePath

#: Above this many training regions an exact Gaussian process takes minutes a fold and gigabytes.
MOST_FOR_GP = 3000

Columns = Mapping[str, slice]


class Stack(StackingRegressor):  # type: ignore[misc]
    """scikit-learn's stacking, which also passes on how uncertain its Gaussian process is.

    Weights are not negative and come from inner out-of-fold predictions (Breiman 1996, Stacked regressions); without
    a bound on their sum they shrink towards the mean where no member predicts anything.
    """

    #: Tells `cross_fit` that `predict` knows how uncertain it is.
    gives_std = True

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """Return predictions (n,), and with `return_std` the standard deviation that the member `gp` gives."""
        mean = super().predict(X)
        return (mean, self.named_estimators_["gp"].predict(X, return_std=True)[1]) if return_std else mean


def make_ridge(columns: Columns, seed: int, block_m: float | None) -> Any:
    """Return ridge over a path of penalties."""
    return RidgePath(groups=columns)


def make_gp(columns: Columns, seed: int, block_m: float | None) -> Any:
    """Return a Gaussian process with a kernel for each modality."""
    return GaussianProcess(groups=columns)


def make_boosting(columns: Columns, seed: int, block_m: float | None) -> Any:
    """Return gradient boosting on components."""
    return ComponentBoosting(groups=columns, seed=seed)


def make_urbanclip_mlp(columns: Columns, seed: int, block_m: float | None) -> Any:
    """Return UrbanCLIP's head on standardised columns."""
    return make_pipeline(StandardScaler(), UrbanClipMlp(seed=seed))


def make_knowcl_mlp(columns: Columns, seed: int, block_m: float | None) -> Any:
    """Return KnowCL's head on standardised columns."""
    return make_pipeline(StandardScaler(), KnowClMlp(seed=seed))


def make_stack(columns: Columns, seed: int, block_m: float | None) -> Any:
    """Return a stack of ridge, gp and boosting, weighed on inner folds of the kind of the outer ones."""
    members = [(name, PROBES[name](columns, seed, block_m)) for name in ("ridge", "gp", "boosting")]
    inner = InnerFolds(columns.get("location"), block_m, seed=seed)
    return Stack(members, LinearRegression(positive=True), cv=inner)


def make_probe_maker(
    name: str, *, seed: int, kriging: bool = False, fusion: str = "concat", block_m: float | None = None
) -> ProbeMaker:
    """Return the maker of the probe `name`: one on all modalities or, by `fusion`, one on each; kriged on top or not.

    `block_m` is the side of the run's spatial blocks in metres, None for a split that is not spatial: what a stack,
    late fusion or kriging learns from inner folds must come from folds of the kind of the outer ones. Raises
    `UnknownNameError` for a probe nobody knows; the maker raises `InputError` where there are too many rows for an
    exact Gaussian process.
    """
    maker = PROBES[name]

    def make_one(columns: Columns, rows: int) -> Any:
        return maker(columns, seed, block_m)

    def make(columns: Columns, rows: int) -> Any:
        if rows > MOST_FOR_GP and (kriging or name in ("gp", "stack")):
            asked = "kriging" if kriging else f"--probe {name}"
            raise InputError(f"{rows} training regions are too many for {asked}; use --probe ridge or boosting alone")
        if fusion == "concat":
            probe = make_one(columns, rows)
        else:
            inner = InnerFolds(columns.get("location"), block_m, seed=seed)
            probe = late_fusion(make_one, columns, rows, inner, attend=fusion == "attention")
        return Kriged(probe, columns, block_m, seed=seed) if kriging else probe

    return make
