"""The dissimilarity index and its threshold, against the published formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, pdist

from chorograph.area.splits import Folds
from chorograph.prediction.crossfit import Fused
from chorograph.prediction.distance.applicability import area_of_applicability, importance


def _folds(number: int, folds: int = 4) -> Folds:
    fold = np.arange(number) % folds
    return Folds(fold, np.arange(number), tuple(np.zeros(number, dtype=bool) for _ in range(folds)))


def test_one_modality_is_the_published_index() -> None:
    rng = np.random.default_rng(0)
    block = rng.normal(size=(60, 3)) * [1.0, 5.0, 0.1] + 2
    target = np.r_[rng.normal(size=40), np.full(20, np.nan)]
    found = area_of_applicability(Fused({"poi": block}), target, _folds(40))
    # Meyer and Pebesma 2021: scale by the training rows, nearest distance over the mean one (eq. 2 and 3).
    scaled = (block - block[:40].mean(0)) / block[:40].std(0)
    mean = pdist(scaled[:40]).mean()
    assert found.dissimilarity[40:] == pytest.approx(cdist(scaled[40:], scaled[:40]).min(1) / mean)
    other = np.arange(40)[:, None] % 4 != np.arange(40) % 4
    own = np.where(other, cdist(scaled[:40], scaled[:40]), np.inf).min(1) / mean
    assert found.dissimilarity[:40] == pytest.approx(own)
    q1, q3 = np.percentile(own, [25, 75])
    assert found.threshold == pytest.approx(own[own <= q3 + 1.5 * (q3 - q1)].max())


def test_what_does_not_tell_the_target_hardly_weighs() -> None:
    rng = np.random.default_rng(1)
    telling, noise = rng.normal(size=(120, 2)), rng.normal(size=(120, 2))
    target = telling @ [1.0, -2.0]
    weights = importance({"telling": telling, "noise": noise}, target[:, None])
    assert weights["telling"] > 5 * weights["noise"]
    # A region that is odd in noise alone stays supported, one odd in what tells does not.
    odd = {"telling": np.vstack([telling, [[0, 0], [9, 9]]]), "noise": np.vstack([noise, [[2.5, 2.5], [0, 0]]])}
    found = area_of_applicability(Fused(odd), np.r_[target, np.nan, np.nan], _folds(120))
    assert found.supported[-2]
    assert not found.supported[-1]
    assert sum(found.weights.values()) == pytest.approx(1.0)


def test_a_missing_modality_is_left_out_of_the_comparison() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(50, 2)), rng.normal(size=(50, 60))
    b[45] = np.nan
    target = np.r_[a[:40, 0], np.full(10, np.nan)]
    found = area_of_applicability(Fused({"a": a, "b": b}), target, _folds(40))
    assert np.isfinite(found.dissimilarity).all()
    a[46] = b[46] = np.nan
    nothing = area_of_applicability(Fused({"a": a, "b": b}), target, _folds(40))
    assert np.isinf(nothing.dissimilarity[46])
    assert not nothing.supported[46]


def test_many_targets_share_one_answer() -> None:
    rng = np.random.default_rng(3)
    block, targets = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    both = importance({"a": block}, targets)["a"]
    each = [importance({"a": block}, targets[:, [column]])["a"] for column in range(2)]
    assert both == pytest.approx(np.mean(each))


def test_constant_targets_weigh_all_alike() -> None:
    rng = np.random.default_rng(4)
    blocks = {"a": rng.normal(size=(30, 2)), "b": rng.normal(size=(30, 2))}
    assert area_of_applicability(Fused(blocks), np.ones(30), _folds(30)).weights == {"a": 0.5, "b": 0.5}
