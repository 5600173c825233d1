"""The probes by name, without importing them: what settings, `chorograph list probes` and plug-ins share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from chorograph.ground.registry import Registry

#: Takes which columns each modality has, a seed, and the side of the run's blocks in metres (None: not spatial);
#: returns an unfitted scikit-learn regressor.
MakeProbe = Callable[[Mapping[str, slice], int, float | None], Any]
PROBES: Registry[MakeProbe] = Registry("probe")

_HERE = "chorograph.prediction.probes.registry"
PROBES.add(
    "auto",
    "chorograph.prediction.probes.candidates:make_auto",
    "baselines and Gaussian processes on sets of modalities, weighed inside the training folds",
    paper="van der Laan et al. 2007, Super learner",
)
PROBES.add("gp", f"{_HERE}:make_gp", "Gaussian process, a kernel a modality, weighed by the evidence; knows its doubt")
PROBES.add("ridge", f"{_HERE}:make_ridge", "ridge regression, penalty by leave-one-out")
PROBES.add("boosting", f"{_HERE}:make_boosting", "gradient boosting on the leading components of each modality")
PROBES.add("stack", f"{_HERE}:make_stack", "ridge, gp and boosting, weighed by inner out-of-fold predictions")
PROBES.add("mlp", f"{_HERE}:make_urbanclip_mlp", "UrbanCLIP's head; needs torch", paper="Yan et al. 2024, UrbanCLIP")
PROBES.add("knowcl-mlp", f"{_HERE}:make_knowcl_mlp", "KnowCL's head; needs torch", paper="Liu et al. 2023, KnowCL")
