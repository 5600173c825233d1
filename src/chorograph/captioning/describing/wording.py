"""A language model's wording of facts, held to its evidence: what it cannot show is dropped, and counted."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chorograph.captioning.describing.facts import Fact
from chorograph.captioning.endpoint import EndpointCaptioner, Trouble, parse_place
from chorograph.captioning.prompts import Prompt
from chorograph.captioning.refining.lexicon import mentions
from chorograph.captioning.refining.names import place_names
from chorograph.captioning.request import Request
from chorograph.captioning.settings import CaptionSettings

if TYPE_CHECKING:
    from chorograph.area.folder import Area

_NUMBER = re.compile(r"(?<![\w.])[-−]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "hundred": 100,
    "thousand": 1000, "million": 1e6, "half": 0.5, "twice": 2, "double": 2, "dozen": 12, "dozens": 12,
}  # fmt: skip
_WORD = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b", re.IGNORECASE)
_SYSTEM = (
    "You write for city planners. You put facts that you are given into plain sentences, and add nothing: no number, "
    "no name and no judgement that the facts do not hold."
)
_ASK = """
Write three to six sentences about this region from the facts below, in plain English.
Copy numbers as they are. Leave out what you do not need.
Give each sentence with the ids of the facts that it rests on.
Facts:
{facts}
"""
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "description",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {
                "sentences": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "sentence": {"type": "string"},
                            "evidence": {"type": "array", "items": {"type": "string"}},
                        },
                        "required": ["sentence", "evidence"],
                        "additionalProperties": False,
                    },
                }
            },
            "required": ["sentences"],
            "additionalProperties": False,
        },
    },
}


@dataclass(frozen=True)
class Worded:
    """A sentence of a model, and the ids that it names as its evidence."""

    sentence: str
    evidence: tuple[str, ...]


def request_of(region_id: str, facts: Sequence[Fact], area: Area) -> Request:
    """Return what a model is asked about a region: its facts with their ids."""
    listed = "\n".join(f"[{' '.join(fact.evidence)}] {fact.sentence}" for fact in facts)
    digest = hashlib.sha256(listed.encode()).hexdigest()
    return Request(region_id, area.path, f"region:{region_id}:{digest}", _ASK.format(facts=listed).strip(), _SYSTEM)


class EndpointWriter(EndpointCaptioner):
    """Asks a language model at an address for its wording; attempts, budget and cache are those of captions."""

    schema = SCHEMA

    def messages(self, request: Request) -> list[dict[str, Any]]:
        """Return what is sent: words alone."""
        return [{"role": "system", "content": request.system}, {"role": "user", "content": request.prompt}]

    def read(self, said: str, structured: bool, tokens: int | None, cut: bool) -> str:
        """Return the sentences as JSON; `Trouble` where they are not of the schema."""
        text = said.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
        try:
            found = json.loads(text)["sentences"]
            pairs = [[str(item["sentence"]), [str(one) for one in item["evidence"]]] for item in found]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Trouble("malformed JSON", not cut, tokens) from error
        return json.dumps(pairs)


def writer_of(name: str, settings: CaptionSettings) -> EndpointWriter:
    """Return the writer of `openai:MODEL@URL`."""
    model, url = parse_place(name.removeprefix("openai:"))
    return EndpointWriter(model, url, settings, Prompt("describe", "", max_tokens=600))


def parse(answer: str) -> list[Worded]:
    """Return the sentences that an answer holds."""
    return [Worded(" ".join(sentence.split()), tuple(" ".join(ids).split())) for sentence, ids in json.loads(answer)]


def held(worded: Sequence[Worded], facts: Sequence[Fact], dropped: Counter[str]) -> list[Worded]:
    """Return the sentences that their evidence bears; the others are counted by reason."""
    by_id = {one: fact for fact in facts for one in fact.evidence}
    kept = []
    for one in worded:
        reason = objection(one, by_id)
        if reason is None:
            kept.append(one)
        else:
            dropped[reason] += 1
    return kept


def objection(worded: Worded, by_id: Mapping[str, Fact]) -> str | None:
    """Return why a sentence may not stand: evidence, numbers, names and things must all be those of its facts."""
    if not worded.evidence:
        return "no evidence"
    if any(one not in by_id for one in worded.evidence):
        return "evidence that does not exist"
    facts = [by_id[one] for one in worded.evidence]
    said = " ".join(fact.sentence for fact in facts)
    allowed = [number for fact in facts for number in fact.numbers]
    if any(not among(text, allowed) for text in numbers_in(worded.sentence, said)):
        return "a number that is in no table"
    words = said.lower()
    own = {part for name in place_names(said) for part in name} | set(re.findall(r"\w+", said))
    if any(part not in own and part.lower() not in words for name in place_names(worded.sentence) for part in name):
        return "a name that its evidence does not hold"
    there = {(one.concept, one.denied) for one in mentions(said)}
    if any((one.concept, one.denied) not in there for one in mentions(worded.sentence)):
        return "a thing that its evidence does not hold"
    return None


def numbers_in(text: str, verbatim: str = "") -> list[str]:
    """Return the numbers of a text, digits and words; a word or id with digits that `verbatim` holds is no number."""
    kept = text
    for token in set(re.findall(r"\b\w*[A-Za-z_]\w*\d\w*\b", text)):
        if token in verbatim:
            kept = kept.replace(token, " ")
    found = [match[0] for match in _NUMBER.finditer(kept)]
    loose = re.findall(r"\b[A-Za-z]+\d\w*", kept)
    return [*found, *loose, *(match[0].lower() for match in _WORD.finditer(kept))]


def among(text: str, allowed: Sequence[float]) -> bool:
    """Whether a number as written is one of some numbers, to the digits that are written."""
    if text in _WORDS:
        return any(abs(number - _WORDS[text]) < 1e-9 for number in allowed)
    plain = text.replace(",", "").replace("−", "-")
    try:
        value = float(plain)
    except ValueError:
        return False
    return any(abs(number - value) <= _half_unit(plain, value) for number in allowed)


def _half_unit(plain: str, value: float) -> float:
    """Return half of the last digit that counts, of those written: 38,200 stands for 38,150 to 38,250."""
    mantissa, _, exponent = plain.lower().partition("e")
    whole, _, decimals = mantissa.lstrip("-").partition(".")
    power = int(exponent or 0) - len(decimals)
    if not decimals and not exponent:
        digits = whole.lstrip("0")
        power = max(0, len(digits) - len(digits.rstrip("0"))) if len(digits) > 3 else 0
        power = min(power, max(0, len(digits) - 3))
    return 0.5 * 10.0**power * (1 + 1e-9)
