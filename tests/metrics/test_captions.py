from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorograph.ground.errors import MissingExtraError
from chorograph.metrics.captions import (
    bleu,
    bleu_counts,
    cider_d,
    clip_score,
    distinct,
    meteor,
    meteor_nltk,
    rouge_l,
    self_bleu,
    tokenize,
)

TOKENS = st.lists(st.sampled_from(["a", "roof", "road", "green", "pond"]), max_size=9)
REFERENCES = st.lists(TOKENS.filter(bool), min_size=1, max_size=4)
CORPUS = st.lists(st.tuples(TOKENS, REFERENCES), min_size=1, max_size=6)

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="no Java on the PATH")


def words(*captions: str) -> list[list[str]]:
    return [caption.split() for caption in captions]


def as_reference(corpus: list[tuple[list[str], list[list[str]]]]) -> tuple[dict[int, list[str]], dict[int, list[str]]]:
    given_ = {row: [" ".join(tokens) for tokens in group] for row, (_, group) in enumerate(corpus)}
    return given_, {row: [" ".join(candidate)] for row, (candidate, _) in enumerate(corpus)}


# Worked by hand.


def test_bleu_counts_a_word_as_often_as_a_reference_has_it() -> None:
    # Papineni et al. 2002, example 2: two of seven.
    counts = bleu_counts(words("the the the the the the the"), [words("the cat is on the mat", "there is a cat on it")])
    assert counts[0].tolist() == [2, 0, 0, 0, 7, 6, 5, 4, 7, 6]
    assert bleu(counts)[0, 0] == pytest.approx(2 / 7)


def test_bleu_punishes_what_is_too_short() -> None:
    counts = bleu_counts(words("a b"), [words("a b c d")])
    assert bleu(counts)[0, :2] == pytest.approx([np.exp(-1), np.exp(-1)])
    assert bleu(counts)[0, 2:] == pytest.approx([0, 0], abs=5e-3)


def test_bleu_of_a_corpus_is_not_the_mean_of_its_captions() -> None:
    counts = bleu_counts(words("a b c d", "x"), [words("a b c d"), words("y")])
    assert bleu(counts.sum(0))[0] == pytest.approx(4 / 5)
    assert bleu(counts)[:, 0].mean() == pytest.approx(1 / 2)


def test_rouge_l() -> None:
    # Lin 2004, section 3: the longest common subsequence of the second is two of four words.
    candidates = words("police kill the gunman", "the gunman kill police")
    assert rouge_l(candidates, [words("police killed the gunman")] * 2) == pytest.approx([0.75, 0.5])
    # Precision 1/1 from one reference, recall 1/2 from the other: F weighs recall 1.44 fold.
    assert rouge_l(words("a"), [words("a b c d", "a b")]) == pytest.approx([2.44 * 0.5 / (0.5 + 1.44)])


def test_cider_d() -> None:
    # Two images: a word of one of them weighs ln 2. Same words and pairs: cosine 1 for two of four orders.
    references = [words("a b"), words("c d")]
    assert cider_d(words("a b", "c d"), references) == pytest.approx([5, 5])
    # One of two words, none of the pairs; a word that no reference has weighs ln 2 too: cosine 1/2 for one order.
    assert cider_d(words("a x", "c d"), references)[0] == pytest.approx(1.25)
    # Two tokens longer: the penalty on length.
    longer = 10 / 4 * (2 / np.sqrt(2 * 4) + 1 / np.sqrt(1 * 3)) * np.exp(-4 / 72)
    assert cider_d(words("a b x y", "c d"), references)[0] == pytest.approx(longer)


def test_distinct_and_self_bleu() -> None:
    captions = words("a red roof", "a red roof", "a blue pond")
    assert distinct(captions, 1) == pytest.approx(5 / 9)
    assert distinct(captions, 2) == pytest.approx(4 / 6)
    assert np.isnan(distinct(words("a"), 2))
    assert self_bleu(words("a b c d e", "a b c d e", "v w x y z")) == pytest.approx([1, 1, 0], abs=1e-3)


def test_clip_score() -> None:
    images, texts = [[2.0, 0.0], [1.0, 0.0], [3.0, 4.0]], [[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]]
    assert clip_score(images, texts) == pytest.approx([2.5, 0.0, 1.5])


def test_tokens() -> None:
    said = " ".join(tokenize("A car isn't there; it's the dog's (near a well-known St. Louis)."))
    assert said == "a car is n't there it 's the dog 's -lrb- near a well-known st. louis -rrb-"
    numbers = " ".join(tokenize("gray,white and/or 50% of $5 at 10:30 … 1.87m. next.There"))
    assert numbers == "gray white and/or 50 % of $ 5 at 10:30 1.87 m. next.there"
    assert tokenize(" . ") == []


# Against what we did not write.


@settings(deadline=None)
@given(corpus=CORPUS)
def test_equal_to_pycocoevalcap(corpus: list[tuple[list[str], list[list[str]]]]) -> None:
    pytest.importorskip("pycocoevalcap", reason="the reference of the caption metrics is not installed")
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.rouge.rouge import Rouge

    candidates, references = [list(side) for side in zip(*corpus, strict=True)]
    given_, results = as_reference(corpus)
    counts = bleu_counts(candidates, references)
    total, each = Bleu(4).compute_score(given_, results, verbose=0)
    assert bleu(counts.sum(0)) == pytest.approx(np.array(total))
    assert bleu(counts) == pytest.approx(np.array(each).T)
    assert rouge_l(candidates, references) == pytest.approx(Rouge().compute_score(given_, results)[1])
    assert cider_d(candidates, references) == pytest.approx(Cider().compute_score(given_, results)[1])


@needs_java
def test_tokens_equal_the_java_tokenizer() -> None:
    module = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer", reason="the reference is not installed")
    captions = [
        "Many buildings and some green trees are in a dense residential area .",
        "it's a two-way road (with cars), isn't it?! The U.S. flag; no. 5, 1,000 m at 8 o'clock...",
        "“Quoted” text — 50% of $3.50, and/or 12km; they'll cannot wanna “go” etc. e.g. #1 road/rail",
        "tennis courts next to each other.There are 1990s white,gray roofs at 2.27m.",
    ]
    expected = module.PTBTokenizer().tokenize({row: [{"caption": text}] for row, text in enumerate(captions)})
    assert [" ".join(tokenize(text)) for text in captions] == [expected[row][0] for row in range(len(captions))]


@needs_java
@pytest.mark.real
def test_tokens_of_published_captions_equal_the_java_tokenizer(real_data: Callable[[str], Path]) -> None:
    module = pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer", reason="the reference is not installed")
    rsicd = json.loads((real_data("rsicd") / "captions.json").read_text())
    captions = {" ".join(text.split()) for item in rsicd for text in item["captions"]}
    for path in sorted(real_data("urbanclip").glob("*_captions.json.gz")):
        (pairs,) = json.loads(gzip.decompress(path.read_bytes()))
        captions |= {" ".join(pair["caption"].split()) for pair in pairs}
    lines = sorted(captions - {""})
    expected = module.PTBTokenizer().tokenize({row: [{"caption": text}] for row, text in enumerate(lines)})
    assert len(lines) > 30_000
    assert [text for row, text in enumerate(lines) if " ".join(tokenize(text)) != expected[row][0]] == []


@needs_java
@pytest.mark.slow
def test_meteor_is_the_java_program() -> None:
    pytest.importorskip("pycocoevalcap", reason="METEOR's Java program is not installed")
    references = [words("two planes beside a road"), words("a green park")]
    candidates = words("two planes near a road", "a green park")
    from pycocoevalcap.meteor.meteor import Meteor

    corpus = list(zip(candidates, references, strict=True))
    score = meteor(candidates, references)
    assert 0.2 < score < 0.9
    assert score == Meteor().compute_score(*as_reference(corpus))[0]


def test_meteor_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match="Java"):
        meteor(words("a"), [words("a")])


class NoSynonyms:
    """A WordNet in which a word means the same as itself alone."""

    def synsets(self, word: str) -> list[str]:
        return []


def test_meteor_of_nltk_is_the_example_of_its_documentation() -> None:
    """0.6944 stands in the docstring of nltk's function; the same sentence has 1 less a penalty for its one chunk."""
    pytest.importorskip("nltk", reason="nltk is not installed")
    said = "It is a guide to action which ensures that the military always obeys the commands of the party"
    wanted = "It is a guide to action that ensures that the military will forever heed Party commands"
    scores = meteor_nltk([said, said], [[wanted], [wanted, said]], NoSynonyms())
    assert scores[0] == pytest.approx(0.6944, abs=5e-5)
    same = 1 - 0.5 * (1 / len(said.split())) ** 3
    assert scores[1] == pytest.approx((scores[0] + same) / 2)


def test_meteor_of_nltk_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nltk = pytest.importorskip("nltk", reason="nltk is not installed")
    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    with pytest.raises(MissingExtraError, match="WordNet"):
        meteor_nltk(["a"], [["a"]])


# Properties.


@given(corpus=CORPUS)
def test_bounds(corpus: list[tuple[list[str], list[list[str]]]]) -> None:
    candidates, references = [list(side) for side in zip(*corpus, strict=True)]
    for scores, most in (
        (bleu(bleu_counts(candidates, references)), 1),
        (rouge_l(candidates, references), 1),
        (cider_d(candidates, references), 10),
    ):
        assert np.isfinite(scores).all()
        assert (scores >= 0).all()
        assert (scores <= most + 1e-9).all()


@given(corpus=CORPUS, chosen=st.integers(0, 3))
def test_nothing_beats_saying_the_same(corpus: list[tuple[list[str], list[list[str]]]], chosen: int) -> None:
    candidates = [candidate for candidate, _ in corpus]
    references = [[group[chosen % len(group)]] for _, group in corpus]
    same = [group[0] for group in references]
    for score in (rouge_l, cider_d, lambda c, r: bleu(bleu_counts(c, r))[:, 0]):
        assert (score(same, references) >= score(candidates, references) - 1e-9).all()
    assert rouge_l(same, references) == pytest.approx(np.ones(len(same)))


@given(captions=st.lists(TOKENS, min_size=2, max_size=6))
def test_self_bleu_is_bleu_against_all_others(captions: list[list[str]]) -> None:
    slow = [
        bleu(bleu_counts([tokens], [captions[:row] + captions[row + 1 :]]))[0, 3] for row, tokens in enumerate(captions)
    ]
    assert self_bleu(captions) == pytest.approx(slow)


@given(text=st.text(max_size=60))
def test_any_text_has_clean_tokens(text: str) -> None:
    tokens = tokenize(text)
    assert all(token and not any(letter.isspace() for letter in token) for token in tokens)
    assert tokenize(text.upper().lower()) == tokenize(text.upper())


# What is refused.


def test_wrong_input_is_refused() -> None:
    with pytest.raises(ValueError, match="row 1 has no reference"):
        bleu_counts(words("a", "b"), [words("a"), []])
    with pytest.raises(ValueError, match="do not match"):
        cider_d(words("a"), [])
    with pytest.raises(ValueError, match="two at least"):
        self_bleu(words("a"))
    with pytest.raises(ValueError, match="row 1"):
        clip_score([[1.0, 0], [0, 0]], [[1.0, 0], [1, 0]])
    with pytest.raises(ValueError, match="both sides"):
        clip_score([[1.0, 0]], [[1.0]])


def test_an_empty_candidate_scores_nothing() -> None:
    references = [words("a b"), words("c d")]
    assert bleu(bleu_counts([[], ["c"]], references))[0] == pytest.approx(np.zeros(4))
    assert rouge_l([[], ["c"]], references)[0] == 0
    assert cider_d([[], ["c"]], references)[0] == 0


def test_no_captions_at_all_is_an_empty_answer() -> None:
    assert bleu_counts([], []).shape == (0, 10)
    assert rouge_l([], []).size == cider_d([], []).size == 0


def test_the_order_of_references_does_not_matter() -> None:
    references = words("a red roof here", "the roof is red", "a roof")
    mixed = random.Random(0).sample(references, 3)
    for score in (rouge_l, cider_d, lambda c, r: bleu(bleu_counts(c, r))):
        assert score(words("a red roof"), [references]) == pytest.approx(score(words("a red roof"), [mixed]))
