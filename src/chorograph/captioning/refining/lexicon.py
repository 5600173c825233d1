"""What captions call things: concepts, their words, and whether a sentence claims or denies them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

GROUPS = ("cover", "object", "poi")
#: What denies the thing that follows within three words.
_DENIAL = re.compile(r"\b(?:no|without(?: any)?|not|hardly any|free of|lack of|absence of|never)\s+(?:[\w-]+\s+){0,2}$")
_NUMBERS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100,
}  # fmt: skip
_COUNT = re.compile(rf"\b(\d{{1,6}}|{'|'.join(_NUMBERS)})\s+(?:[\w-]+\s+){{0,2}}$")


@dataclass(frozen=True)
class Mention:
    """A thing that a sentence names: its group and concept, whether it is denied, and how many, where that is said.

    `kind`: of housing, where one is said.
    """

    group: str
    concept: str
    denied: bool
    count: int | None
    kind: str | None = None


def mentions(sentence: str) -> list[Mention]:
    """Return the things that a sentence names, in order; the longest words win (`tennis court` is no `court`)."""
    text = sentence.lower()
    found = []
    for match in _pattern().finditer(text):
        before = text[: match.start()]
        number = _COUNT.search(before)
        word = _singular(match[0])
        count = _number(number[1]) if number else None
        found.append(Mention(*_concepts()[word], bool(_DENIAL.search(before)), count, _kinds().get(word)))
    return found


def claims(sentence: str, group: str) -> set[str]:
    """Return the concepts of a group that a sentence says are there."""
    return {one.concept for one in mentions(sentence) if one.group == group and not one.denied}


def seen_by(sentence: str, others: Iterable[str]) -> float | None:
    """Return the share of the things in a sentence that any of other sentences names; None where it names none.

    Kinds of housing are told apart; a general word, such as `house`, agrees with any kind.
    """
    own, theirs = _named([sentence]), _named(others)
    if not own:
        return None
    general = {concept for concept, kind in theirs if kind is None}
    concepts = {concept for concept, _ in theirs}
    seen = sum(one in theirs or one[0] in (general if one[1] else concepts) for one in own)
    return seen / len(own)


def _named(sentences: Iterable[str]) -> set[tuple[str, str | None]]:
    """Return the concepts that sentences say are there, with the kind of housing where one is said."""
    return {(one.concept, one.kind) for sentence in sentences for one in mentions(sentence) if not one.denied}


def concept_names(group: str) -> tuple[str, ...]:
    """Return the concepts of a group."""
    return tuple(_table()[group])


def _number(word: str) -> int:
    return int(word) if word.isdigit() else _NUMBERS[word]


@cache
def _table() -> Mapping[str, Mapping[str, list[str]]]:
    return tomllib.loads(files(__package__).joinpath("lexicon.toml").read_text(encoding="utf-8"))


@cache
def _concepts() -> dict[str, tuple[str, str]]:
    return {word: (group, concept) for group in GROUPS for concept, words in _table()[group].items() for word in words}


@cache
def _kinds() -> dict[str, str]:
    return {word: kind for kind, words in _table()["housing"].items() for word in words}


@cache
def _pattern() -> re.Pattern[str]:
    words = sorted(_concepts(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(_plural(word) for word in words)})(?![\w-])")


def _plural(word: str) -> str:
    """Return a pattern of a word or phrase in singular and plural; of `block of flats`, the first word changes."""
    head, joint, rest = _head(word)
    if head.endswith(("s", "sh", "ch", "x")):
        either = f"{re.escape(head)}(?:es)?"
    elif head.endswith("y") and head[-2:-1] not in "aeiou":
        either = f"{re.escape(head[:-1])}(?:y|ies)"
    else:
        either = f"{re.escape(head)}s?"
    return either + re.escape(joint + rest) if not rest.startswith("a garden") else either + r" with (?:a )?gardens?"


def _head(word: str) -> tuple[str, str, str]:
    for joint in (" of ", " with ", " on "):
        if joint in word:
            head, _, rest = word.partition(joint)
            return head, joint, rest
    return word, "", ""


@cache
def _singular(found: str) -> str:
    for word in sorted(_concepts(), key=len, reverse=True):
        if re.fullmatch(_plural(word), found):
            return word
    raise KeyError(found)
