"""Names of places in a sentence, and how many of them are not the area's own (RSHallu, arXiv 2602.10799)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from chorograph.captioning.refining.known import Knowledge

_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*|[.,;:!?]")
_JOINTS = frozenset(("of", "the", "de", "du", "la", "del", "von", "al"))
#: Words that are written with a capital and name no place.
_COMMON = {
    *("I", "AI", "GPS", "UTM", "TV", "LED", "SUV", "SUVs", "CCTV", "RGB", "English", "Google", "Earth", "Sentinel"),
    *("North", "South", "East", "West", "Northern", "Southern", "Eastern", "Western", "Victorian", "Gothic", "Olympic"),
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November"),
    *("December", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "Christmas", "Landsat"),
}
#: Words that begin a sentence and no name.
_OPENINGS = {
    *("The", "A", "An", "In", "On", "At", "There", "This", "These", "It", "Its", "Some", "Many", "Several", "Two"),
    *("Three", "Four", "Most", "Seen", "From", "Near", "Around", "Above", "Below", "Along", "Next", "Few", "Old"),
    *("Overall", "Also", "And", "But", "With", "To", "All", "Each", "Both", "Another", "Other", "Here", "One", "No"),
}


def place_names(sentence: str, gazetteer: Collection[str] = ()) -> list[tuple[str, ...]]:
    """Return the names in a sentence: words with a capital, several in a row as one.

    The first word of a sentence has a capital anyway: alone, it counts where `gazetteer` (lower case) has it.
    """
    tokens = _TOKEN.findall(sentence)
    found: list[tuple[str, ...]] = []
    run: list[str] = []
    begins = 0
    for number, token in enumerate([*tokens, "."]):
        capital = token[0].isupper() and token not in _COMMON and not (number == 0 and token in _OPENINGS)
        if capital:
            if not run:
                begins = number
            run.append(token)
        elif run and token in _JOINTS and number + 1 < len(tokens) and tokens[number + 1][0].isupper():
            run.append(token)
        elif run:
            first_alone = begins == 0 and len(run) == 1
            if not first_alone or run[0].lower() in gazetteer:
                found.append(tuple(run))
            run = []
    return found


def foreign_names(sentence: str, knowledge: Knowledge, gazetteer: Collection[str] = ()) -> list[tuple[str, ...]]:
    """Return the names in a sentence that are not the area's own."""
    return [name for name in place_names(sentence, gazetteer) if not knowledge.is_own(name)]


def false_discovery_rate(
    sentences: Iterable[str], knowledge: Knowledge, gazetteer: Collection[str] = ()
) -> tuple[int, int]:
    """Return how many names in sentences are not the area's own, and how many names there are."""
    found = [name for sentence in sentences for name in place_names(sentence, gazetteer)]
    return sum(not knowledge.is_own(name) for name in found), len(found)
