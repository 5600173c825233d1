"""Rules for captions: length, language, repetition, boilerplate; and a score of how much a caption says."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

from chorograph.curation.rows import Context, Drop, Row
from chorograph.ground.errors import InputError

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
#: Words that make up about half of any running text of their language: enough to tell apart what is common on the web.
_COMMON = {
    "en": "the of and a to in is on at from with for by an this that it are as near over view has or its be was which",
    "de": "der die das und in von mit auf den im ein eine ist zu dem für des am aus bei nach über nicht sich",
    "fr": "le la les de des et à en un une du dans est sur pour par avec au aux ce cette qui vue",
    "es": "el la los las de del y en un una con por para es al desde que se sobre su vista lo",
    "it": "il lo la i gli le di del della e in un una con per è al dal che si su da nel",
    "pt": "o a os as de do da e em um uma com por para é ao no na que se dos das sobre",
    "nl": "de het een en van in op met voor is te aan bij uit naar dat die niet over",
}
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
#: What pages say around pictures, not about them.
BOILERPLATE = (
    r"all rights reserved", r"click (here|to|for|on)", r"(free|buy|royalty[- ]free|download)\b.*\b(stock|vector|now)\b",
    r"\bstock (photo|image|footage|illustration|vector|video)s?\b", r"\bshutterstock\b|\bgetty images\b|\balamy\b",
    r"\b(add to (cart|basket)|free shipping|in stock|out of stock)\b", r"\bsubscribe\b|\bsign (in|up)\b|\blog ?in\b",
    r"\bcookies?\b.*\b(policy|accept)\b", r"\bimage (may contain|not (available|found)|placeholder)\b|\bno image\b",
    r"^(img|dsc|dscn|image|photo|picture|screenshot|screen shot)[ _-]?\d*(\.\w{3,4})?$", r"https?://|www\.",
    r"^\S+\.(jpe?g|png|gif|webp|tiff?)$", r"\b(thumbnail|wallpaper|powerpoint template|clip ?art)s?\b",
)  # fmt: skip
_BOILERPLATE = re.compile("|".join(f"(?:{pattern})" for pattern in BOILERPLATE), re.IGNORECASE)


def words(caption: str) -> list[str]:
    """Return a caption's words in lower case."""
    return _WORD.findall(caption.lower())


def repetition(caption: str) -> float:
    """Return the share of a caption's words that only repeat: 0 where no pair of words comes twice, near 1 for a loop.

    The larger of two shares, of repeated pairs of neighbouring words and of the commonest word beyond a fifth of all.
    """
    found = words(caption)
    if len(found) < 4:
        return 0.0 if len(set(found)) == len(found) else 1 - len(set(found)) / len(found)
    pairs = list(pairwise(found))
    repeated = 1 - len(set(pairs)) / len(pairs)
    common = Counter(found).most_common(1)[0][1] / len(found)
    return max(repeated, (common - 0.2) / 0.8)


def language(caption: str) -> str:
    """Guess a caption's language: by script where it is not Latin, else by its commonest words; "?" where unsure.

    Captions are short, so a Latin caption without a tell-tale word stays "?" and is given the benefit of the doubt.
    """
    letters = [character for character in caption if character.isalpha()]
    if not letters:
        return "none"
    foreign = Counter(_script(character) for character in letters if not character.isascii())
    foreign.pop("LATIN", None)
    if foreign and foreign.total() > 0.3 * len(letters):
        return foreign.most_common(1)[0][0].lower()
    found = set(words(caption))
    hits = {name: len(found & common) for name, common in _WORDS.items()}
    best = max(hits, key=lambda name: hits[name])
    runner_up = max(count for name, count in hits.items() if name != best)
    return best if hits[best] > runner_up else "?"


def boilerplate(caption: str) -> bool:
    """Whether a caption is what pages say around pictures: shop, stock, cookie and file-name talk."""
    return _BOILERPLATE.search(caption.strip()) is not None


def caption_fault(caption: str | None, rules: CaptionRules) -> Drop | None:
    """Return the first rule that a caption breaks, or None."""
    if caption is None:
        return Drop("no caption")
    number = len(words(caption))
    if number < rules.min_words:
        return Drop("too short", number)
    if number > rules.max_words:
        return Drop("too long", number)
    repeated = repetition(caption)
    if repeated > rules.max_repetition:
        return Drop("repetitive", round(repeated, 4))
    if rules.languages:
        spoken = language(caption)
        if spoken not in rules.languages and spoken != "?":
            return Drop(f"language {spoken}")
    if rules.boilerplate and boilerplate(caption):
        return Drop("boilerplate")
    return None


def caption_score(caption: str) -> float:
    """Return from 0 to 1 how much a caption says without repeating itself: higher is better.

    The share of words that do not repeat, times a length term that is full from 8 to 60 words, halved for boilerplate.
    """
    number = len(words(caption))
    length = min(1.0, number / 8) * min(1.0, 60 / max(number, 1))
    return (1 - repetition(caption)) * length * (0.5 if boilerplate(caption) else 1.0)


@dataclass(frozen=True)
class CaptionRules:
    """Keep captions of a sensible length, language and shape. An empty list of languages keeps all."""

    name: ClassVar[str] = "captions"

    min_words: int = 3
    max_words: int = 256
    max_repetition: float = 0.6
    languages: tuple[str, ...] = ()
    boilerplate: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.min_words <= self.max_words:
            raise InputError("captions: min_words is at most max_words")

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Judge captions one by one."""
        return [caption_fault(row["caption"], self) for row in rows]

    def describe(self) -> str:
        """Say what it does."""
        parts = [f"{self.min_words} to {self.max_words} words", f"repetition at most {self.max_repetition}"]
        parts += [f"language {' or '.join(self.languages)}"] if self.languages else []
        parts += ["no boilerplate"] if self.boilerplate else []
        return "caption of " + ", ".join(parts)


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    return unicodedata.name(character, "UNKNOWN").split(" ")[0].split("-")[0]
