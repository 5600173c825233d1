from __future__ import annotations

import numpy as np
import pytest

from chorograph.metrics.classification import classification, top_class
from chorograph.metrics.regression import BlockBootstrap

_FEW = BlockBootstrap(replicates=300)


@pytest.mark.parametrize("seed", range(5))
def test_scores_equal_scikit_learn(seed: int) -> None:
    from sklearn.metrics import accuracy_score, balanced_accuracy_score, recall_score

    rng = np.random.default_rng(seed)
    target, predicted = rng.integers(4, size=90), rng.integers(4, size=90)
    found = classification(target, predicted, list("abcd"), _FEW)
    assert found.accuracy.value == pytest.approx(accuracy_score(target, predicted))
    assert found.balanced_accuracy.value == pytest.approx(balanced_accuracy_score(target, predicted))
    each = [estimate.value for estimate in found.per_class.values()]
    assert each == pytest.approx(recall_score(target, predicted, average=None))


def test_the_interval_of_accuracy_is_the_binomial_one() -> None:
    target = np.zeros(400, dtype=np.int64)
    found = classification(target, (np.arange(400) < 100).astype(np.int64), ["a", "b"], BlockBootstrap(2000))
    error = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert found.accuracy.value == 0.75
    assert [found.accuracy.lower, found.accuracy.upper] == pytest.approx([0.75 - error, 0.75 + error], abs=0.006)
    assert list(found.per_class) == ["a"]


def test_a_class_of_one_image_has_a_score_and_no_nan() -> None:
    target = np.array([0] * 20 + [1])
    found = classification(target, np.zeros(21, dtype=np.int64), ["a", "b"], _FEW)
    assert found.balanced_accuracy.value == 0.5
    assert [found.per_class["b"].value, found.per_class["b"].lower, found.per_class["b"].upper] == [0, 0, 0]


def test_a_tie_counts_against_the_model() -> None:
    scores = np.array([[0.5, 0.5, 0.1], [0.9, 0.2, 0.1], [-0.3, -0.3, -0.3], [0.1, 0.2, 0.3]], dtype=np.float32)
    assert top_class(scores, np.array([0, 0, 2, 0])).tolist() == [1, 0, 0, 2]


def test_top_class_is_the_largest_where_nothing_ties() -> None:
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((50, 7)).astype(np.float32)
    assert (top_class(scores, rng.integers(7, size=50)) == scores.argmax(1)).all()


def test_nothing_cannot_be_scored() -> None:
    none = np.zeros(0, dtype=np.int64)
    with pytest.raises(ValueError, match="0 targets"):
        classification(none, none, ["a"], _FEW)
