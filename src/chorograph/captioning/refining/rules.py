"""The rules of refinement. Each is a pure function of a few lines: None keeps a sentence, a text says why it goes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from chorograph.captioning.refining.known import Knowledge, Known
from chorograph.captioning.refining.lexicon import claims, mentions, seen_by
from chorograph.captioning.refining.names import foreign_names

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_REFUSAL = re.compile(
    r"\bi(?:'m| am) (?:sorry|unable|not able)|\bi apologi[sz]e|\bas an? (?:ai|language model|artificial)\b"
    r"|\bi (?:cannot|can't|can not|don't have the ability|do not have (?:access|the ability))"
    r"|\b(?:unable|not possible) to (?:view|see|describe|determine|process|provide)"
    r"|\bcannot (?:assist|help|provide|comply)|\bno image (?:was|has been|is) (?:provided|attached|visible)"
    r"|\bplease (?:provide|upload|share)\b"
)
_META = re.compile(
    r"\bhere(?:'s| is| are) (?:a|the|my|some)\b.{0,30}\b(?:description|caption|summary|overview)"
    r"|\b(?:this|the) (?:description|caption|response|answer|paragraph)\b|^\W*(?:caption|description|answer|note)\s*:"
    r"|\bi hope\b|\blet me know\b|\bfeel free\b|\bif you (?:need|have|want)\b"
    r"|\b(?:the|this) (?:image|photo|picture) (?:is|was|appears to be|seems to be) (?:a )?"
    r"(?:very )?(?:clear|blurry|high[- ]quality|high[- ]resolution|captured|taken|black and white|in color|well[- ])"
    r"|\b(?:provid|offer|giv|show)(?:es|ing|e) (?:us |the viewer )?(?:a|an) (?:\w+[ -]){0,2}"
    r"(?:glimpse|perspective|overview|sense|insight|impression|feel)\b"
    r"|\b(?:sense of|overall) (?:\w+ )?(?:scene|atmosphere|ambian?ce|impression|image|mood|depth|beauty)"
    r"|\b(?:add|creat|contribut)\w* (?:\w+ ){0,4}(?:atmosphere|ambian?ce|charm|beauty|appeal|interest|mood|scene)\b"
    r"|\bviewer(?:s|'s)?\b"
)


@dataclass(frozen=True)
class Limits:
    """The numbers that the rules hold sentences to."""

    least_words: int = 3
    most_words: int = 60
    #: The least share of different words in a sentence of eight words or more.
    least_distinct: float = 0.45
    #: The most images that may bear the same sentence: this many, or this share of all, whichever is more.
    most_images: int = 5
    most_share: float = 0.005
    #: A cover of a smaller share than this is not there.
    least_cover: float = 0.01
    #: The least share of a sentence's things that the other captioner must see.
    least_agreement: float = 0.5
    #: A region with fewer points of interest is too little known to contradict.
    least_poi: int = 20
    clip_score: float | None = None
    perception: float | None = None


@dataclass(frozen=True)
class Sentence:
    """A sentence of a caption. `before`: the sentences of this image that were kept so far."""

    text: str
    image_id: str
    caption_id: str = ""
    before: tuple[str, ...] = ()


@dataclass(frozen=True)
class Surroundings:
    """What a rule may look at beside the sentence.

    `images_of`: the number of images that bear a sentence (see `plain_words`). `others`: by image, what the other
    captioner says. `scores`: CLIPScore by (image_id, sentence). `low`: what people
    rated low, by (image_id, caption_id).
    """

    limits: Limits = field(default_factory=Limits)
    knowledge: Knowledge = field(default_factory=Knowledge)
    gazetteer: Collection[str] = ()
    images: int = 0
    images_of: Mapping[str, int] = field(default_factory=dict)
    others: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    scores: Mapping[tuple[str, str], float] = field(default_factory=dict)
    low: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def known(self, sentence: Sentence) -> Known:
        """Return what is known of the sentence's image."""
        return self.knowledge.of(sentence.image_id)


#: None, or the reason why a sentence goes.
Rule = Callable[[Sentence, Surroundings], str | None]


def words_of(text: str) -> list[str]:
    """Return the words of a text, lower case."""
    return _WORD.findall(text.lower())


def plain_words(text: str) -> str:
    """Return what two sentences share that say the same."""
    return " ".join(words_of(text))


def refusal(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop what a model says instead of describing."""
    return "refuses to describe" if _REFUSAL.search(sentence.text.lower()) else None


def meta_talk(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop talk about the image or the answer, and praise of the scene."""
    return "talks about the image, not the place" if _META.search(sentence.text.lower()) else None


def length(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop scraps, and sentences without an end."""
    number = len(words_of(sentence.text))
    if number < around.limits.least_words:
        return f"fewer than {around.limits.least_words} words"
    return f"more than {around.limits.most_words} words" if number > around.limits.most_words else None


def repetition(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop a sentence that repeats itself, or an earlier one of its image."""
    words = words_of(sentence.text)
    if len(words) >= 8 and len(set(words)) / len(words) < around.limits.least_distinct:
        return "repeats itself"
    threes = Counter(zip(words, words[1:], words[2:], strict=False))
    if max(threes.values(), default=0) >= 3 or any(one == other for one, other in pairwise(words)):
        return "repeats itself"
    said = {plain_words(text) for text in sentence.before}
    return "was said of this image already" if " ".join(words) in said else None


def sameness(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop what is said of too many images: it tells none from another."""
    most = max(around.limits.most_images, around.limits.most_share * around.images)
    return "is said of too many images" if around.images_of.get(plain_words(sentence.text), 0) > most else None


def cover(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop what claims a land cover that a map does not have there."""
    known = around.known(sentence).cover
    if known is None:
        return None
    wrong = [name for name in claims(sentence.text, "cover") if known.get(name, 0.0) < around.limits.least_cover]
    return f"says {min(wrong)}, and the map has none there" if wrong else None


def things(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop what names a thing that is known not to be there, or denies or miscounts one that is."""
    known = around.known(sentence).objects
    if known is None:
        return None
    for one in mentions(sentence.text):
        if one.group != "object" or one.concept not in known:
            continue
        there = known[one.concept]
        if one.denied and there > 0:
            return f"denies {one.concept}, and there is"
        if not one.denied and there <= 0:
            return f"says {one.concept}, and there is none"
        if not one.denied and one.count is not None and not _near(one.count, there):
            return f"miscounts {one.concept}"
    return None


def poi(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop what names a kind of place that the directory counts none of in the region."""
    known = around.known(sentence).poi
    if known is None or sum(known.values()) < around.limits.least_poi:
        return None
    wrong = [kind for kind in claims(sentence.text, "poi") if not known.get(kind)]
    return f"says {min(wrong)}, and the directory has none there" if wrong else None


def place_name(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop what names a place that is not the area's own."""
    foreign = foreign_names(sentence.text, around.knowledge, around.gazetteer)
    return f"names {' '.join(foreign[0])}, which is no place of the area" if foreign else None


def agreement(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop a sentence of whose things the other captioner names too few."""
    other = around.others.get(sentence.image_id)
    seen = seen_by(sentence.text, other) if other else None
    if seen is None or (seen > 0 and seen >= around.limits.least_agreement):
        return None
    return "the other captioner sees " + ("too little of it" if seen else "none of it")


def clip_score(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop what an encoder finds too far from the image."""
    score, least = around.scores.get((sentence.image_id, sentence.text)), around.limits.clip_score
    return f"CLIPScore below {least:.3g}" if score is not None and least is not None and score < least else None


def perception(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop what a street view's perception score is too low for (see `perception_score`)."""
    known, least = around.known(sentence), around.limits.perception
    score = around.scores.get((sentence.image_id, sentence.text))
    if known.view != "street" or least is None or score is None:
        return None
    value = perception_score(score, sentence.text, known.objects)
    return f"perception score below {least:.3g}" if value < least else None


def rating(sentence: Sentence, around: Surroundings) -> str | None:
    """Drop the sentences of a caption that people rated low."""
    question = around.low.get((sentence.image_id, sentence.caption_id))
    return None if question is None else f"rated low: {question}"


def perception_score(score: float, text: str, objects: Mapping[str, float] | None) -> float:
    """Return 0 to 1: how well a text fits a street view as a whole and in its things.

    UrbanVLP (AAAI 2025) names such a score and publishes no formula. Ours is the mean of CLIPScore (over its 2.5) and
    of the share of the things the text names that are known to be there; without such knowledge, the former alone.
    """
    whole = min(max(score / 2.5, 0.0), 1.0)
    named = claims(text, "object")
    if objects is None or not named:
        return whole
    return (whole + sum(objects.get(name, 0.0) > 0 for name in named) / len(named)) / 2


def _near(said: int, there: float) -> bool:
    """Whether a number said of things is about what there is: within a half, or two."""
    return abs(said - there) <= max(2.0, 0.5 * there)


#: In the order in which they are asked; the first that objects names the reason.
RULES: dict[str, Rule] = {
    "refusal": refusal,
    "meta_talk": meta_talk,
    "length": length,
    "repetition": repetition,
    "sameness": sameness,
    "place_name": place_name,
    "cover": cover,
    "things": things,
    "poi": poi,
    "agreement": agreement,
    "clip_score": clip_score,
    "perception": perception,
    "rating": rating,
}
