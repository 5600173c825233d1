"""Frozen features judged by what a simple classifier makes of them: a linear probe and nearest neighbours."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from chorograph.evaluation.examples.encoding import Encoded
from chorograph.evaluation.examples.layouts import Example
from chorograph.evaluation.examples.seen import NEAR_BITS, nearest
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger
from chorograph.metrics.classification import classification
from chorograph.metrics.regression import BlockBootstrap, Estimate

#: Inverse penalties of the path; features are standardised, so one path suits every encoder.
PATH = tuple(10.0**power for power in range(-5, 2))
_FOLDS, _NEIGHBOURS, _ITERATIONS = 3, 5, 1000


def part(
    examples: Sequence[Example], role: str, test_share: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Return the rows to train on, the rows to test on, and how they were parted.

    By role where the data has roles (training on all of train, and on val where it is not what is tested); else a
    stratified draw of `test_share`.
    """
    rows = np.arange(len(examples))
    roles = np.array([example.role or "none" for example in examples])
    if (roles != "none").any():
        train, test = rows[np.isin(roles, list({"train", "val"} - {role}))], rows[roles == role]
        if len(train) == 0 or len(test) == 0:
            raise InputError(f"{len(train)} images to train on and {len(test)} of role {role}; the probe needs both")
        return train, test, f"role {role}, trained on the others"
    kinds = [example.kind for example in examples]
    if min(Counter(kinds).values()) < 2 or not 0 < test_share < 1:
        raise InputError("a probe needs 2 images of every class, and a test share between 0 and 1")
    try:
        train, test = train_test_split(rows, test_size=test_share, random_state=seed, stratify=kinds)
    except ValueError as error:
        raise InputError(f"the images cannot be parted: {error}") from error
    return np.sort(train), np.sort(test), f"stratified draw of {test_share:g} of the images, seed {seed}"


def evaluate_probe(
    train: Encoded, test: Encoded, classes: Sequence[str], ledger: Ledger, *, seed: int = 0
) -> dict[str, dict[str, Estimate]]:
    """Fit both classifiers on encoded training images; returns their rows of scores on encoded tested ones.

    Training images that are, or look like, a tested one are left out and counted. The penalty of the linear probe is
    chosen by folds of the training images alone.
    """
    copies = np.isin(train.sha256, test.sha256) | (nearest(train.hashes, test.hashes) <= NEAR_BITS)
    ledger.drop("training image that is or looks like a tested one", int(copies.sum()))
    train = train.take(np.flatnonzero(~copies).tolist())
    row = {name: number for number, name in enumerate(classes)}
    known, target = (
        np.array([row[str(e.kind)] for e in encoded.examples], dtype=np.int64) for encoded in (train, test)
    )
    if np.bincount(known).max(initial=0) < _FOLDS or len(np.unique(known)) < 2:
        left = f" ({copies.sum()} more are, or look like, tested ones)" if copies.any() else ""
        raise InputError(
            f"{len(known)} training images{left} are too few for a probe; it needs 2 classes of {_FOLDS} images"
        )
    probes = {
        "linear probe": _linear(train.vectors, known, seed, ledger),
        f"{_NEIGHBOURS} nearest neighbours": make_pipeline(
            StandardScaler(), KNeighborsClassifier(min(_NEIGHBOURS, len(known)), metric="cosine")
        ).fit(train.vectors, known),
    }
    ledger.count("images trained on", len(known))
    ledger.count("images tested", len(target))
    return {
        name: classification(target, probe.predict(test.vectors), classes, BlockBootstrap(seed=seed)).scores()
        for name, probe in probes.items()
    }


def _linear(vectors: NDArray[np.float32], known: NDArray[np.int64], seed: int, ledger: Ledger) -> Pipeline:
    """Return the linear probe of the best penalty of the path, refitted on all."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=_ITERATIONS))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed)
    search = GridSearchCV(probe, {"logisticregression__C": PATH}, cv=folds, error_score="raise")
    with warnings.catch_warnings():
        # The weakest penalties need not converge; whether the chosen one did is asked below.
        warnings.simplefilter("ignore", ConvergenceWarning)
        fitted: Pipeline = search.fit(vectors, known).best_estimator_
    chosen = float(search.best_params_["logisticregression__C"])
    if fitted[-1].n_iter_.max() >= _ITERATIONS:
        ledger.warnings.append(f"the linear probe had not converged after {_ITERATIONS} steps")
    if chosen in (PATH[0], PATH[-1]):
        ledger.warnings.append(f"the best penalty of the linear probe is at the end of its path ({chosen:g})")
    ledger.facts["inverse penalty"] = chosen
    return fitted
