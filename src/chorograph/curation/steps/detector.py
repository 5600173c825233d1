"""A detector of a topic: a linear head on any encoder, fitted on images that show it and images that do not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path, check_regular, naming_damage, read_json, write_json

_HEAD = "detector.json"
_PARTS = ("mean", "scale", "weights", "bias")
#: Inverse penalties that are tried; the validation share chooses.
_PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


@dataclass(frozen=True)
class Detector:
    """A logistic head: standardise, weigh, add. `model` and `fingerprint` say whose vectors it takes."""

    model: str
    fingerprint: str
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weights: NDArray[np.float64]
    bias: float

    def probability(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the probability of the topic for (n, dim) vectors."""
        logit = ((vectors - self.mean) / self.scale) @ self.weights + self.bias
        return np.asarray(0.5 * (1 + np.tanh(logit / 2)), dtype=np.float64)


def fit_detector(
    positive: NDArray[np.float32], negative: NDArray[np.float32], model: str, fingerprint: str, seed: int = 0
) -> tuple[Detector, dict[str, Any]]:
    """Fit a head on vectors, 7 : 1 : 2 as published; returns it and its accuracy on the parts it was not fitted on.

    The penalty is the one that does best on the validation share; the test share is looked at once. Raises
    `InputError` where a class has fewer than ten images.
    """
    from sklearn.linear_model import LogisticRegression

    for name, vectors in (("positive", positive), ("negative", negative)):
        if len(vectors) < 10:
            raise InputError(f"a detector needs ten or more {name} images, not {len(vectors)}")
    vectors = np.concatenate([positive, negative]).astype(np.float64)
    truth = np.repeat([1, 0], [len(positive), len(negative)])
    parts = _shares(truth, np.random.default_rng(seed))
    train, validation, test = parts
    mean, scale = vectors[train].mean(axis=0), np.maximum(vectors[train].std(axis=0), 1e-6)
    standard = (vectors - mean) / scale

    def fit(penalty: float) -> LogisticRegression:
        return LogisticRegression(C=penalty, max_iter=2000).fit(standard[train], truth[train])

    tried = [(penalty, fit(penalty)) for penalty in _PENALTIES]
    penalty, best = max(tried, key=lambda pair: (pair[1].score(standard[validation], truth[validation]), -pair[0]))
    head = Detector(model, fingerprint, mean, scale, best.coef_[0].astype(np.float64), float(best.intercept_[0]))
    guess = head.probability(vectors[test].astype(np.float32)) >= 0.5
    right = guess == truth[test].astype(bool)
    return head, {
        "images": {"positive": len(positive), "negative": len(negative)},
        "shares": {"train": len(train), "validation": len(validation), "test": len(test)},
        "inverse_penalty": penalty,
        "validation_accuracy": float(best.score(standard[validation], truth[validation])),
        "test_accuracy": float(right.mean()),
        "test_wrong": {
            "positive called negative": int((~guess & (truth[test] == 1)).sum()),
            "negative called positive": int((guess & (truth[test] == 0)).sum()),
        },
    }


def write_detector(folder: Path, head: Detector, report: dict[str, Any]) -> Path:
    """Write a head as `detector.json` and `detector.npz`; returns the folder."""
    with atomic_path(folder / "detector.npz") as temporary:
        np.savez(temporary, mean=head.mean, scale=head.scale, weights=head.weights, bias=np.array(head.bias))
    write_json(folder / _HEAD, {"model": head.model, "fingerprint": head.fingerprint, **report})
    return folder


def read_detector(folder: Path) -> Detector:
    """Read a head; `InputError` where the folder holds none."""
    about = read_json(folder / _HEAD, {"model": str, "fingerprint": str})
    check_regular(folder / "detector.npz")
    with naming_damage(folder / "detector.npz", "a detector", "make one with `curate fit-detector`"):
        with np.load(folder / "detector.npz", allow_pickle=False) as arrays:
            mean, scale, weights, bias = (arrays[name].astype(np.float64) for name in _PARTS)
        if mean.ndim != 1 or not mean.shape == scale.shape == weights.shape or not (scale > 0).all():
            raise ValueError("its numbers do not belong together")
        if not all(np.isfinite(part).all() for part in (mean, scale, weights, bias)):
            raise ValueError("it holds numbers that are not finite")
        return Detector(about["model"], about["fingerprint"], mean, scale, weights, float(bias))


def _shares(truth: NDArray[np.int64], generator: np.random.Generator) -> list[NDArray[np.int64]]:
    """Return positions of train, validation and test, 7 : 1 : 2 within each class."""
    parts: list[list[NDArray[np.int64]]] = [[], [], []]
    for value in (1, 0):
        shuffled = generator.permutation(np.flatnonzero(truth == value))
        first, second = round(0.7 * len(shuffled)), round(0.8 * len(shuffled))
        for part, chosen in zip(parts, np.split(shuffled, [first, second]), strict=True):
            part.append(chosen)
    return [np.concatenate(part) for part in parts]
