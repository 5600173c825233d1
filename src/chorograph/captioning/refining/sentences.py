"""A paragraph into sentences, also where the space after a stop is missing (`visible.There`)."""

from __future__ import annotations

import re

#: What ends with a full stop and ends no sentence.
_SHORT = {
    *("e.g", "i.e", "etc", "vs", "approx", "st", "dr", "mr", "mrs", "ms", "no", "mt", "ave", "blvd", "inc", "ltd"),
    *("dept", "est", "fig", "u.s", "u.k", "d.c", "u.n", "a.m", "p.m", "sq", "ft"),
}
_STOP = re.compile(r"[.!?。！？]+[\"'”’)\]]*")
_LIST_MARK = re.compile(r"^\s*(?:[-*•#]+|\d{1,2}[.)])\s+")
_LAST_WORD = re.compile(r"([\w.]*\w)$")


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a paragraph, without the marks of lists; a text without a stop is one sentence.

    A stop ends a sentence where white space, or at once a capital letter, follows, but not in `e.g.`, `U.S.`, `No. 5`
    or `3.5`.
    """
    found = []
    for line in text.splitlines():
        found += _of_line(_LIST_MARK.sub("", line).replace("**", ""))
    return found


def _of_line(line: str) -> list[str]:
    parts, start = [], 0
    for stop in _STOP.finditer(line):
        if _ends(line, stop):
            parts.append(line[start : stop.end()])
            start = stop.end()
    return [part.strip() for part in [*parts, line[start:]] if part.strip(" .!?")]


def _ends(line: str, stop: re.Match[str]) -> bool:
    """Whether a stop ends a sentence."""
    after = line[stop.end() :]
    if not after or stop[0][0] in "。！？":
        return True
    if not (after[0].isspace() or after[0].isupper()):
        return False
    if stop[0] != ".":
        return True
    word = _LAST_WORD.search(line[: stop.start()])
    if word is None or word[1].lower() not in _SHORT:
        # `U.S` before its last stop: `U` is followed at once by a capital and a stop.
        return not (after[:2].rstrip() and re.match(r"[SKCN]\.", after) and word is not None and word[1] in ("U", "D"))
    follows = after.lstrip()
    return word[1].lower() != "no" and word[1].lower() == "etc" and follows[:1].isupper()
