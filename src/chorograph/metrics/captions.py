"""Scores of written captions against human ones, on tokens, without Java: BLEU, ROUGE-L, CIDEr-D, diversity, CLIPScore.

Captions come as tokens (`tokenize`). BLEU, ROUGE-L and CIDEr-D are those of the COCO caption evaluation (Chen et al.
2015) and equal its `pycocoevalcap`, given the same tokens. `references[i]` are the captions that image i may have;
an image without one is a `ValueError`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from math import log
from shutil import which
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from chorograph.ground.arrays import Vector
from chorograph.ground.errors import MissingExtraError

Tokens = Sequence[str]
Gram = tuple[str, ...]

#: n-grams of one to four tokens, as everywhere in the field.
ORDERS = (1, 2, 3, 4)

_TOKEN = re.compile(
    r"""
      https?://\S+
    | can(?=not\b) | (?:gon|wan)(?=na\b) | got(?=ta\b)  # two words written as one
    | \w+?(?=n't\b) | n't\b                             # do n't
    | '(?:s|m|d|re|ve|ll)\b                             # it 's
    | (?:mr|mrs|ms|dr|prof|st|ave|blvd|no|vs|etc|inc|ltd|co|corp|jr|sr|mt|ft)\.
    | (?:[^\W\d_]\.)+(?:[^\W\d_]\b)?                    # u.s., and a single letter with its full stop
    | [-+]?\d+(?:[.,:/]\d+)+                            # 1,000 and 10:30; the m of 1.5m stands alone
    | [#@][^\W\d]\w*
    | [dlo]'\w+                                         # o'clock
    | \w+(?:-\w+)+
    | \w+(?:[./&@_?]\w+)*                               # and/or; a full stop without a space joins, as there
    | \.\.\. | [?!]{2,} | [^\w\s]
    """,
    re.VERBOSE,
)
_QUOTES = str.maketrans("‘’“”", "''\"\"")
_DROPPED = frozenset("'\"`.?!,:;-–—…") | {"..."}
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}

# What BLEU of the COCO evaluation adds so that nothing is divided by zero.
_TINY, _SMALL = 1e-15, 1e-9
#: Weight of recall against precision in ROUGE-L, and the spread of CIDEr-D's penalty on length, in tokens.
_BETA, _SIGMA = 1.2, 6.0


def tokenize(caption: str) -> list[str]:
    """Return a caption's lower-cased tokens without punctuation, as the reference's Java `PTBTokenizer` gives them.

    That tokenizer (Stanford CoreNLP 3.4.1, and a list of punctuation marks that are dropped afterwards) has hundreds
    of rules; these are the ones that captions meet, its quirks among them: brackets stay, as `-lrb-`, and a full stop
    without a space after it joins two words. Equal on all distinct captions of RSICD and UrbanCLIP and on 99.9 % of
    RS5M's; different for `'tis`, `'90s`, `c++`, signs before a bare number and some names (`Huai'an`).
    """
    found = _TOKEN.findall(caption.lower().translate(_QUOTES))
    return [_BRACKETS.get(token, token) for token in found if token not in _DROPPED]


def bleu_counts(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Vector:
    """Return what BLEU is made of, a row an image: (n, 10).

    Columns: n-grams of the candidate that the references have too (each at most as often as one of them has it), by
    order; n-grams of the candidate, by order; its length; the closest length of a reference, the shorter on a tie.
    """
    _check(candidates, references)
    rows = []
    for candidate, group in zip(candidates, references, strict=True):
        ceiling: Counter[Gram] = Counter()
        for reference in group:
            ceiling |= _grams(reference)
        rows.append(_bleu_row(_grams(candidate), len(candidate), ceiling, {len(tokens) for tokens in group}))
    return np.array(rows, dtype=np.float64).reshape(-1, 2 * len(ORDERS) + 2)


def bleu(counts: Vector) -> Vector:
    """Return BLEU-1 to BLEU-4 (..., 4) of rows of `bleu_counts`, each its own corpus; their sum is the whole corpus.

    Papineni et al. 2002: the geometric mean of clipped precisions, times exp(1 - r/c) where the candidates (c tokens)
    are shorter than their references (r).
    """
    number = len(ORDERS)
    matched, offered, length, closest = np.split(counts, [number, 2 * number, 2 * number + 1], axis=-1)
    precision = np.cumprod((matched + _TINY) / (offered + _SMALL), axis=-1) ** (1 / np.array(ORDERS))
    ratio = (length + _TINY) / (closest + _SMALL)
    # An empty candidate has no precision either: exp(-huge) is the 0 that it deserves.
    return np.asarray(precision * np.exp(np.minimum(0.0, 1 - 1 / ratio)))


def rouge_l(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Vector:
    """Return ROUGE-L (Lin 2004) of each image (n,): F of the longest common subsequence, recall weighing 1.2² fold.

    Precision and recall are each the best over the references, not of one and the same, as in the COCO evaluation.
    """
    _check(candidates, references)
    scores = np.zeros(len(candidates))
    for row, (candidate, group) in enumerate(zip(candidates, references, strict=True)):
        common = [(_common(candidate, reference), len(reference)) for reference in group]
        longest = max(length for length, _ in common)
        if longest:
            precision = longest / len(candidate)
            recall = max(length / max(of, 1) for length, of in common)
            scores[row] = (1 + _BETA**2) * precision * recall / (recall + _BETA**2 * precision)
    return scores


def cider_d(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> Vector:
    """Return CIDEr-D (Vedantam et al. 2015) of each image (n,), 0 to 10; captions worth more for words few images have.

    Document frequencies come from these references: a score is comparable within one set of images only, and one
    image alone scores 0.
    """
    _check(candidates, references)
    counted = [[_grams(reference) for reference in group] for group in references]
    documents = Counter(gram for group in counted for gram in set().union(*group))
    rarest = log(max(len(references), 1))
    weight = {gram: rarest - log(number) for gram, number in documents.items()}

    def vector(counts: Mapping[Gram, int]) -> tuple[dict[Gram, float], Vector, int]:
        """Return tf-idf, its norm by order, and the number of pairs of tokens, which CIDEr-D takes for the length."""
        values = {gram: count * weight.get(gram, rarest) for gram, count in counts.items()}
        norm, pairs = np.zeros(len(ORDERS)), 0
        for gram, value in values.items():
            norm[len(gram) - 1] += value**2
            pairs += counts[gram] if len(gram) == 2 else 0
        return values, np.sqrt(norm), pairs

    scores = np.zeros(len(candidates))
    for row, (candidate, group) in enumerate(zip(candidates, counted, strict=True)):
        ours, our_norm, our_length = vector(_grams(candidate))
        for reference in group:
            theirs, their_norm, their_length = vector(reference)
            product = np.zeros(len(ORDERS))
            for gram in ours.keys() & theirs.keys():
                product[len(gram) - 1] += min(ours[gram], theirs[gram]) * theirs[gram]
            norm = our_norm * their_norm
            cosine = np.divide(product, norm, out=np.zeros(len(ORDERS)), where=norm > 0)
            penalty = np.exp(-((our_length - their_length) ** 2) / (2 * _SIGMA**2))
            scores[row] += 10 * cosine.mean() * penalty / len(group)
    return scores


def distinct(candidates: Sequence[Tokens], order: int) -> float:
    """Return distinct-n (Li et al. 2016): distinct n-grams of all captions by all their n-grams; NaN where none."""
    grams = [gram for tokens in candidates for gram in _of_order(tokens, order)]
    return len(set(grams)) / len(grams) if grams else float("nan")


def self_bleu(candidates: Sequence[Tokens]) -> Vector:
    """Return each caption's BLEU-4 against all the others (n,): how alike the captions of a set are.

    Zhu et al. 2018. 1 where another caption says the same. Linear in the captions: of every n-gram, the two captions
    that have it most often tell the most that any *other* caption has. Fewer than two captions are a `ValueError`.
    """
    if len(candidates) < 2:
        raise ValueError("self-BLEU compares captions with each other; give two at least")
    counted = [_grams(tokens) for tokens in candidates]
    first: dict[Gram, tuple[int, int]] = {}
    second: dict[Gram, int] = {}
    for row, counts in enumerate(counted):
        for gram, count in counts.items():
            most = first.get(gram, (0, -1))
            if count > most[0]:
                first[gram], second[gram] = (count, row), most[0]
            else:
                second[gram] = max(second[gram], count)
    lengths = Counter(map(len, candidates))
    rows = []
    for row, counts in enumerate(counted):
        ceiling = {gram: second[gram] if first[gram][1] == row else first[gram][0] for gram in counts}
        length = len(candidates[row])
        others = {other for other, number in lengths.items() if number > (other == length)}
        rows.append(_bleu_row(counts, length, ceiling, others))
    return np.asarray(bleu(np.array(rows, dtype=np.float64))[:, -1])


def clip_score(image_features: ArrayLike, text_features: ArrayLike) -> Vector:
    """Return CLIPScore (Hessel et al. 2021) of each image (n,): 2.5 max(cosine, 0) of its and its caption's features.

    Features (n, dim) of any length; published numbers use CLIP ViT-B/32 and `A photo depicts ` before each caption.
    """
    images, texts = np.asarray(image_features, dtype=np.float64), np.asarray(text_features, dtype=np.float64)
    if images.shape != texts.shape or images.ndim != 2:
        raise ValueError(f"features must be (n, dim) on both sides, not {images.shape} and {texts.shape}")
    norm = np.linalg.norm(images, axis=1) * np.linalg.norm(texts, axis=1)
    if not (norm > 0).all():
        raise ValueError(f"row {int(np.argmin(norm > 0))} has features without a direction")
    return np.asarray(2.5 * np.maximum((images * texts).sum(1) / norm, 0.0))


def meteor(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> float:
    """Return METEOR 1.5 (Denkowski, Lavie 2014) of the corpus, from the Java program inside `pycocoevalcap`.

    It rests on tables of paraphrases and synonyms that ship with that program, so it is to be had only where Java and
    the package are (`check_meteor`). Takes ten seconds and up to 2 GiB.
    """
    _check(candidates, references)
    check_meteor()
    from pycocoevalcap.meteor.meteor import Meteor

    given = {row: [" ".join(tokens) for tokens in group] for row, group in enumerate(references)}
    try:
        score, _ = Meteor().compute_score(given, {row: [" ".join(tokens)] for row, tokens in enumerate(candidates)})
    except (OSError, ValueError) as error:
        raise MissingExtraError(f"METEOR's Java program gave no score: {error}") from error
    return float(score)


def meteor_nltk(candidates: Sequence[str], references: Sequence[Sequence[str]], wordnet: Any = None) -> Vector:
    """Return METEOR (Banerjee, Lavie 2005) of each image (n,) by nltk, as Zhang et al. 2024 measure captions.

    Lower-cased words between spaces, one reference at a time, the mean over an image's references. `wordnet` tells what
    words mean the same; by default nltk's, which lies where nltk looks for its data (`check_meteor_nltk`).
    """
    _check([text.split() for text in candidates], [[text.split() for text in group] for group in references])
    if wordnet is None:
        check_meteor_nltk()
        wordnet = import_module("nltk.corpus").wordnet
    from nltk.translate.meteor_score import single_meteor_score

    def one(reference: str, candidate: str) -> float:
        score: float = single_meteor_score(reference.split(), candidate.split(), wordnet=wordnet)
        return score

    rows = zip(candidates, references, strict=True)
    return np.array([np.mean([one(reference, said) for reference in group]) for said, group in rows])


def check_meteor_nltk() -> None:
    """Raise `MissingExtraError`, saying what is missing, unless `meteor_nltk` can be had here; downloads nothing."""
    if find_spec("nltk") is None:
        raise MissingExtraError("METEOR as published needs: pip install nltk && python -m nltk.downloader wordnet")
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError as error:
        raise MissingExtraError("METEOR as published needs WordNet: python -m nltk.downloader wordnet") from error


def check_meteor() -> None:
    """Raise `MissingExtraError`, saying what is missing, unless `meteor` can be had here."""
    if not which("java"):
        raise MissingExtraError("METEOR needs Java, and there is no `java` on the PATH")
    if find_spec("pycocoevalcap") is None:
        raise MissingExtraError("METEOR needs Java and: pip install pycocoevalcap")


def _check(candidates: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> None:
    if len(candidates) != len(references):
        raise ValueError(f"{len(candidates)} candidates do not match the references of {len(references)} images")
    if bare := [row for row, group in enumerate(references) if not group]:
        raise ValueError(f"row {bare[0]} has no reference ({len(bare)} in all)")


def _grams(tokens: Tokens) -> Counter[Gram]:
    return Counter(gram for order in ORDERS for gram in _of_order(tokens, order))


def _of_order(tokens: Tokens, order: int) -> list[Gram]:
    return [tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1)]


def _bleu_row(counts: Counter[Gram], length: int, ceiling: Mapping[Gram, int], lengths: Collection[int]) -> list[int]:
    matched = [0] * len(ORDERS)
    for gram, count in counts.items():
        matched[len(gram) - 1] += min(count, ceiling.get(gram, 0))
    offered = [max(0, length - order + 1) for order in ORDERS]
    return [*matched, *offered, length, min(lengths, key=lambda other: (abs(other - length), other))]


def _common(a: Tokens, b: Tokens) -> int:
    """Return the length of the longest common subsequence, one bit a token of `a` (Hyyrö 2004)."""
    places: dict[str, int] = {}
    for place, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << place
    full = free = (1 << len(a)) - 1
    for token in b:
        used = free & places.get(token, 0)
        free = ((free + used) | (free - used)) & full
    return len(a) - free.bit_count()
