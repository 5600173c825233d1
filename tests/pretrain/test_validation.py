from __future__ import annotations

import numpy as np
import pytest

from chorograph.pretrain.validation import best_ranks, recall, relevance, retrieval


def test_ranks_of_a_worked_example() -> None:
    """FACTS 9.1.7."""
    scores = np.array([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.2, 0.4, 0.5]], dtype=np.float32)
    ranks = best_ranks(scores, np.eye(3, dtype=bool))
    assert ranks.tolist() == [1, 2, 1]
    assert ranks.mean() == pytest.approx(1.3333, abs=1e-4)
    assert np.median(ranks) == 1
    assert recall(ranks)[1] == pytest.approx(0.6667, abs=1e-4)
    assert best_ranks(scores.T, np.eye(3, dtype=bool)).tolist() == [1, 2, 1]


def test_the_best_of_several_captions_counts_and_its_siblings_do_not_stand_in_the_way() -> None:
    scores = np.array([[0.5, 0.9, 0.8]], dtype=np.float32)
    assert best_ranks(scores, np.array([[True, False, True]])).tolist() == [2]
    assert best_ranks(scores, np.array([[True, True, False]])).tolist() == [1]


def test_equal_scores_for_all_earn_nothing() -> None:
    same = np.ones((12, 4), dtype=np.float32)
    found = retrieval(same, same, np.eye(12, dtype=bool))
    assert set(found) == {f"{way}_recall@{cut}" for way in ("image_to_text", "text_to_image") for cut in (1, 5, 10)} | {
        "mean_recall"
    }
    assert found["mean_recall"] == 0
    perfect = np.eye(12, dtype=np.float32)
    assert retrieval(perfect, perfect, np.eye(12, dtype=bool))["mean_recall"] == 1


def test_a_caption_that_two_images_share_stands_once() -> None:
    texts, relevant = relevance([["a road", "a roof"], ["a road"]])
    assert texts == ["a road", "a roof"]
    assert relevant.tolist() == [[True, True], [True, False]]


def test_an_image_without_captions_is_refused() -> None:
    with pytest.raises(ValueError, match="relevant"):
        best_ranks(np.ones((1, 2), dtype=np.float32), np.zeros((1, 2), dtype=bool))
