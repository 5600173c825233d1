from __future__ import annotations

import numpy as np
import pytest

from chorograph.metrics.links import KnownTails, filtered_ranks, link_scores


def slow_rank(scores: np.ndarray, tail: int, others: set[int]) -> float:
    left = [s for number, s in enumerate(scores) if number == tail or number not in others]
    own = scores[tail]
    return 1 + sum(s > own for s in left) + 0.5 * (sum(s == own for s in left) - 1)


@pytest.mark.parametrize("levels", [3, 1000])
def test_ranks_equal_a_loop(levels: int) -> None:
    rng = np.random.default_rng(0)
    facts = np.unique(np.stack([rng.integers(0, 12, 80), rng.integers(0, 3, 80), rng.integers(0, 12, 80)], 1), axis=0)
    known = KnownTails.of(facts, 3)
    scores = rng.integers(0, levels, (len(facts), 12)).astype(np.float32)
    ranks = filtered_ranks(scores, facts[:, 2], known.at(facts[:, 0], facts[:, 1]))
    for row, (head, relation, tail) in enumerate(facts.tolist()):
        others = {t for h, r, t in facts.tolist() if (h, r) == (head, relation) and t != tail}
        assert ranks[row] == slow_rank(scores[row], tail, others)


def test_ranks_equal_pykeens() -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("pykeen.evaluation.ranks")
    rng = np.random.default_rng(1)
    facts = np.unique(np.stack([rng.integers(0, 20, 60), np.zeros(60, int), rng.integers(0, 20, 60)], 1), axis=0)
    scores = rng.integers(0, 5, (len(facts), 20)).astype(np.float32)
    rows, columns = KnownTails.of(facts, 1).at(facts[:, 0], facts[:, 1])
    ours = filtered_ranks(scores, facts[:, 2], (rows, columns))
    # PyKEEN drops the other known tails as NaN, and keeps the true one apart.
    left = torch.from_numpy(scores.copy())
    true = left[torch.arange(len(facts)), torch.from_numpy(facts[:, 2])][:, None]
    left[torch.from_numpy(rows), torch.from_numpy(columns)] = torch.nan
    left[torch.arange(len(facts)), torch.from_numpy(facts[:, 2])] = true[:, 0]
    assert np.allclose(ours, theirs.Ranks.from_scores(true, left).realistic.numpy())


def test_a_model_that_tells_nothing_earns_chance() -> None:
    ranks = filtered_ranks(np.zeros((2, 11), np.float32), np.array([0, 10]), (np.empty(0, int), np.empty(0, int)))
    assert ranks.tolist() == [6.0, 6.0]
    with pytest.raises(ValueError, match="finite"):
        filtered_ranks(np.full((1, 3), np.nan, np.float32), np.array([0]), (np.empty(0, int), np.empty(0, int)))


def test_scores() -> None:
    found = link_scores([1, 2, 4, 20])
    assert found["mrr"] == pytest.approx((1 + 0.5 + 0.25 + 0.05) / 4)
    assert (found["hits@1"], found["hits@3"], found["hits@10"], found["mean_rank"]) == (0.25, 0.5, 0.75, 6.75)
