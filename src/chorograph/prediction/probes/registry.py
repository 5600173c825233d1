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
from chorograph.prediction.probes.candidates import MOST_IN_AUTO
from chorograph.prediction.probes.fusion import late_fusion
from chorograph.prediction.probes.inner import InnerFolds
from chorograph.prediction.probes.kriging import Kriged
from chorograph.prediction.probes.mlp import KnowClMlp, UrbanClipMlp
from chorograph.prediction.probes.names import PROBES
from chorograph.prediction.probes.processes.scaling import MOST_FOR_EXACT, ScalingProcess
from chorograph.prediction.probes.ridge import RidgePath

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
    """Return a Gaussian process with a kernel for each modality; on inducing rows where there are too many."""
    return ScalingProcess(groups=columns, seed=seed)


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
    `UnknownNameError` for a probe nobody knows, and `InputError` for `auto` fused or kriged: it weighs for itself.
    """
    maker = PROBES[name]
    if name == "auto" and (kriging or fusion != "concat"):
        raise InputError(
            "--probe auto weighs modalities and place for itself; with --fusion or --kriging name another, such as "
            "--probe gp"
        )

    def make_one(columns: Columns, rows: int) -> Any:
        return maker(columns, seed, block_m)

    def make(columns: Columns, rows: int) -> Any:
        if fusion == "concat":
            probe = make_one(columns, rows)
        else:
            inner = InnerFolds(columns.get("location"), block_m, seed=seed)
            probe = late_fusion(make_one, columns, rows, inner, attend=fusion == "attention")
        return Kriged(probe, columns, block_m, seed=seed) if kriging else probe

    return make


def said_of_size(name: str, rows: int) -> str | None:
    """Return what a reader must know of a fit on this many training regions, None where it is exact."""
    most = {"gp": MOST_FOR_EXACT, "stack": MOST_FOR_EXACT, "auto": MOST_IN_AUTO}.get(name)
    if most is None or rows <= most:
        return None
    return (
        f"{rows} labelled regions: above {most}, Gaussian processes of --probe {name} rest on inducing rows instead of "
        "all (docs/explanation/findings.md tells what that loses)"
    )
