"""Decisions: recall of the neediest, against plain sets, and the cost curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from chorograph.metrics.decision import cost_curve, recall_at


@given(seed=st.integers(0, 10_000), number=st.integers(10, 80), share=st.sampled_from([0.1, 0.2, 0.5]))
def test_recall_equals_the_overlap_of_two_sets(seed: int, number: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    number = 10 * (number // 10)  # the share is a whole number of regions
    target, predicted = rng.normal(size=(2, number))
    top = round(share * number)
    overlap = set(np.argsort(-target)[:top]) & set(np.argsort(-predicted)[:top])
    assert recall_at(target, predicted, np.ones(number), share) == pytest.approx(len(overlap) / top)


def test_a_weight_counts_as_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    target, predicted = rng.normal(size=(2, 20))
    weight = rng.integers(0, 4, 20).astype(np.float64)
    rows = np.repeat(np.arange(20), weight.astype(int))
    repeated = recall_at(target[rows], predicted[rows], np.ones(len(rows)), 0.2)
    assert recall_at(target, predicted, weight, 0.2) == pytest.approx(float(repeated))


def test_the_cost_curve_of_a_perfect_a_random_and_a_reversed_order() -> None:
    target = np.arange(100.0)
    assert dict(cost_curve(target, target, 0.2))[0.2] == pytest.approx(1.0)
    assert dict(cost_curve(target, -target, 0.2))[0.8] == pytest.approx(0.0)
    random = np.array(cost_curve(np.random.default_rng(1).normal(size=20_000), np.arange(20_000.0), 0.2))
    assert np.allclose(random[:, 0], random[:, 1], atol=0.02)


def test_the_area_under_the_cost_curve_is_that_of_the_roc_but_for_the_needy_themselves() -> None:
    rng = np.random.default_rng(2)
    target = rng.normal(size=2000)
    predicted = target + rng.normal(size=2000)
    curve = np.array(cost_curve(target, predicted, 0.1, points=2001))
    needy = target >= np.sort(target)[-200]
    # Lift charts and ROC curves: area = (1 - share) x AUC + share / 2.
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(
        0.9 * roc_auc_score(needy, predicted) + 0.05, abs=1e-3
    )
