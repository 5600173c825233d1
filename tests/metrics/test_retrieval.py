from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from chorograph.metrics import retrieval as module
from chorograph.metrics.regression import BlockBootstrap
from chorograph.metrics.retrieval import (
    Belonging,
    BothRanks,
    Ranks,
    belonging,
    best_ranks,
    recall_intervals,
    recalls,
)


def _floats(values: object) -> NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def _one_each(number: int) -> Belonging:
    return Belonging(number, number, np.arange(number), np.arange(number))


def _brute(images: NDArray[np.float32], texts: NDArray[np.float32], pairs: Belonging) -> tuple[list[int], list[int]]:
    """Ranks as the words say: one row, one column, one comparison at a time, in float64."""
    scores = images.astype(np.float64) @ texts.astype(np.float64).T
    owns = np.zeros(scores.shape, dtype=bool)
    owns[pairs.image, pairs.text] = True

    def ranks(table: NDArray[np.float64], relevant: NDArray[np.bool_]) -> list[int]:
        found = []
        for row, mine in zip(table, relevant, strict=True):
            best = max(score for score, own in zip(row, mine, strict=True) if own)
            found.append(1 + sum(score >= best for score, own in zip(row, mine, strict=True) if not own))
        return found

    return ranks(scores, owns), ranks(scores.T, owns.T)


def test_ranks_of_a_worked_example() -> None:
    """Worked by hand: the scores are the image features when every text is a unit vector."""
    scores = _floats([[0.9, 0.1, 0.2], [0.8, 0.3, 0.1], [0.2, 0.4, 0.5]])
    ranks = best_ranks(scores, np.eye(3, dtype=np.float32), _one_each(3))
    assert ranks.image_to_text.against.tolist() == [1, 2, 1]
    assert ranks.image_to_text.against.mean() == pytest.approx(1.3333, abs=1e-4)
    assert np.median(ranks.image_to_text.against) == 1
    assert ranks.image_to_text.within(1).mean() == pytest.approx(0.6667, abs=1e-4)
    assert ranks.text_to_image.against.tolist() == [1, 2, 1]


def test_a_worked_example_of_two_captions_an_image() -> None:
    """Worked by hand: two images with two texts each."""
    pairs = Belonging(2, 4, np.array([0, 0, 1, 1]), np.arange(4))
    texts = _floats([[0.9, 0.1], [0.2, 0.8], [0.1, 0.9], [0.6, 0.4]])
    ranks = best_ranks(np.eye(2, dtype=np.float32), texts, pairs)
    assert [ranks.image_to_text.within(cut).mean() for cut in (1, 2)] == [1.0, 1.0]
    assert [ranks.text_to_image.within(cut).mean() for cut in (1, 2)] == [0.5, 1.0]


@pytest.mark.parametrize(
    ("six", "mean"),
    [((17.92, 34.96, 46.02, 14.12, 41.46, 57.52), 35.33), ((12.17, 28.45, 38.61, 9.31, 26.51, 41.28), 26.06)],
)
def test_mean_recall_is_the_mean_of_the_six(six: tuple[float, ...], mean: float) -> None:
    """Recalls of GeoRSCLIP ViT-B/32 in RS5M's README: of 10,000, as many are found within 1, 5 and 10 as they say."""

    def ranks(shares: tuple[float, ...]) -> Ranks:
        found = np.full(10_000, 11)
        for cut, share in sorted(zip((1, 5, 10), shares, strict=True), reverse=True):
            found[: round(100 * share)] = cut
        return Ranks(found, np.zeros_like(found), np.ones_like(found))

    found = recalls(BothRanks(ranks(six[:3]), ranks(six[3:])))
    assert list(found.values())[:6] == pytest.approx([share / 100 for share in six])
    # The published six are rounded to 0.01, and so is their mean.
    assert 100 * found["mean_recall"] == pytest.approx(mean, abs=0.0051)


def test_ranks_equal_brute_force_in_a_thousand_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small integers make ties, duplicates and negative similarities; blocks are smaller than the tables."""
    monkeypatch.setattr(module, "_IMAGES", 3)
    monkeypatch.setattr(module, "_TEXTS", 4)
    monkeypatch.setattr(module, "_PAIRS", 5)
    ties = negatives = 0
    for case in range(1000):
        rng = np.random.default_rng(case)
        n, m, dim = rng.integers(1, 12), rng.integers(1, 16), rng.integers(1, 5)
        owns = rng.random((n, m)) < rng.choice([0.1, 0.5])
        owns[np.arange(n), rng.integers(m, size=n)] = True
        owns[rng.integers(n, size=m), np.arange(m)] = True
        pairs = Belonging(int(n), int(m), *np.nonzero(owns))
        if case % 2:
            images, texts = (_floats(rng.integers(-2, 3, (k, dim))) for k in (n, m))
        else:
            images, texts = (_floats(rng.standard_normal((k, dim)) - 1) for k in (n, m))
        ranks = best_ranks(images, texts, pairs)
        assert (ranks.image_to_text.against.tolist(), ranks.text_to_image.against.tolist()) == _brute(
            images, texts, pairs
        ), case
        scores = images @ texts.T
        ties += len(np.unique(scores)) < scores.size
        negatives += bool((scores.max(1) < 0).any())
    assert ties > 300
    assert negatives > 100


def test_ranks_are_those_of_scikit_learn_where_nothing_ties() -> None:
    """With one true text an image, the ranking loss is (rank - 1) / (texts - 1), its coverage error the rank."""
    from sklearn.metrics import coverage_error

    rng = np.random.default_rng(0)
    images, texts = (_floats(rng.standard_normal((40, 6))) for _ in range(2))
    ranks = best_ranks(images, texts, _one_each(40))
    assert ranks.image_to_text.against.mean() == pytest.approx(coverage_error(np.eye(40), images @ texts.T))
    assert ranks.text_to_image.against.mean() == pytest.approx(coverage_error(np.eye(40), texts @ images.T))


def test_equal_vectors_tie_however_the_product_rounds() -> None:
    """A caption of another image with the very same vector counts against both, at any place of any block."""
    rng = np.random.default_rng(1)
    distinct = _floats(rng.standard_normal((300, 512)))
    images = _floats(rng.standard_normal((300, 512)) + 3 * distinct)
    texts = np.concatenate([distinct, distinct])
    other = np.concatenate([np.arange(300), (np.arange(300) + 1) % 300])
    ranks = best_ranks(images, texts, Belonging(300, 600, other, np.arange(600)))
    alone = best_ranks(images, distinct, _one_each(300))
    assert (ranks.image_to_text.against >= 2).all()
    assert (ranks.text_to_image.against[:300] == alone.text_to_image.against).all()
    twins = np.concatenate([images, images])
    each = np.concatenate([np.arange(300), np.roll(np.arange(300), 1)])
    ranks = best_ranks(twins, distinct, Belonging(600, 300, np.arange(600), each))
    assert (ranks.text_to_image.against >= 2).all()


def test_ties_at_random_are_what_shuffled_sorting_comes_to() -> None:
    rng = np.random.default_rng(2)
    images, texts = (_floats(rng.integers(-1, 2, (k, 3))) for k in (7, 20))
    owner = np.r_[np.arange(7), rng.integers(7, size=13)]
    pairs = Belonging(7, 20, owner, np.arange(20))
    ranks, scores = best_ranks(images, texts, pairs).image_to_text, images @ texts.T
    assert ranks.tied.max() > 1
    assert ranks.own.max() > 1
    found = np.zeros((4, 7))
    for _ in range(4000):
        order = rng.permutation(20)
        ranked = order[np.argsort(-scores[:, order], axis=1, kind="stable")]
        mine = owner[ranked] == np.arange(7)[:, None]
        found += [mine[:, :cut].any(1) for cut in (1, 2, 5, 20)]
    expected = [ranks.within(cut, ties_at_random=True) for cut in (1, 2, 5, 20)]
    np.testing.assert_allclose(expected, found / 4000, atol=0.03)
    assert (expected[1] >= ranks.within(2)).all()


def test_equal_scores_for_all_earn_nothing() -> None:
    same = np.ones((12, 4), dtype=np.float32)
    found = recalls(best_ranks(same, same, _one_each(12)))
    assert set(found) == {f"{way}_recall@{cut}" for way in ("image_to_text", "text_to_image") for cut in (1, 5, 10)} | {
        "mean_recall"
    }
    assert found["mean_recall"] == 0
    perfect = np.eye(12, dtype=np.float32)
    assert recalls(best_ranks(perfect, perfect, _one_each(12)))["mean_recall"] == 1
    assert recalls(best_ranks(-same, same, _one_each(12)))["mean_recall"] == 0


def test_a_caption_that_two_images_share_stands_once() -> None:
    captions = [["a road", "a roof", "a road"], ["a road"]]
    texts, pairs = belonging(captions)
    assert texts == ["a road", "a roof"]
    assert list(zip(pairs.image.tolist(), pairs.text.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 0)]
    texts, pairs = belonging(captions, shared=False)
    assert texts == ["a road", "a roof", "a road", "a road"]
    assert pairs.image.tolist() == [0, 0, 0, 1]


def test_intervals_hold_the_value_and_shrink_with_the_images() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for number in (40, 640):
        images = _floats(rng.standard_normal((number, 8)))
        texts = images + _floats(rng.standard_normal((number, 8)))
        ranks = best_ranks(images, texts, _one_each(number))
        found = recall_intervals(ranks, _one_each(number), BlockBootstrap(replicates=400))
        assert {name: estimate.value for name, estimate in found.items()} == recalls(ranks)
        assert all(e.lower <= e.value <= e.upper for e in found.values())
        estimate = found["text_to_image_recall@10"]
        widths.append((estimate.upper - estimate.lower) / np.sqrt(estimate.value * (1 - estimate.value) / number))
    # 1.96 standard errors of a share to either side.
    assert widths == pytest.approx([3.92, 3.92], rel=0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 2, [0], [0]), "every text"),
        ((2, 1, [0], [0]), "every image"),
        ((1, 1, [0, 0], [0, 0]), "twice"),
        ((1, 1, [0], [1]), "not among"),
    ],
)
def test_pairs_that_do_not_cover_all_are_refused(
    arguments: tuple[int, int, list[int], list[int]], message: str
) -> None:
    images, texts, image, text = arguments
    with pytest.raises(ValueError, match=message):
        Belonging(images, texts, np.array(image), np.array(text))


def test_features_that_cannot_be_ranked_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        best_ranks(_floats([[np.nan]]), _floats([[1.0]]), _one_each(1))
    with pytest.raises(ValueError, match="match"):
        best_ranks(_floats([[1.0]]), _floats([[1.0], [2.0]]), _one_each(1))


def test_ranks_against_the_model_need_no_count_of_ties() -> None:
    rng = np.random.default_rng(5)
    images, texts = (rng.integers(-2, 3, size=(30, 3)).astype(np.float32) for _ in range(2))
    whole = best_ranks(images, texts, _one_each(30))
    quick = best_ranks(images, texts, _one_each(30), count_ties=False)
    assert recalls(quick) == recalls(whole)
    np.testing.assert_array_equal(quick.text_to_image.against, whole.text_to_image.against)
    with pytest.raises(ValueError, match="ties were not counted"):
        recalls(quick, ties_at_random=True)
