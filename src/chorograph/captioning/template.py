"""Captions from facts: points of interest, the knowledge graph and classes, put into sentences.

Never from indicators: a caption that told the label would make every later score worthless.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chorograph.captioning.prompts import Prompt
from chorograph.captioning.request import Answer, Captioner, Record, Request
from chorograph.captioning.settings import CaptionSettings

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: How many kinds of points of interest a sentence names.
_MOST_NAMED = 4

_OPENINGS = {
    "satellite": ("a satellite image of", "an aerial view of", "seen from above,", "an overhead image of"),
    "street": ("a street view of", "a photo taken on a street of", "seen from the street,"),
}
_RELATIONS = {
    "borderBy": "bordering {n}",
    "nearBy": "near {n}",
    "commuteTo": "with commuters to {n}",
    "flowTransition": "with trips to {n}",
    "similarFunction": "similar in use to {n}",
}


@dataclass
class Facts:
    """What is known of a region or image: counts of points of interest, links to other regions, and classes."""

    poi: Counter[str] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)
    classes: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.poi or self.links or self.classes)


class TemplateCaptioner:
    """Puts the facts of an area into sentences."""

    origin, identity, looks = "template", "template", False

    def __init__(self, area: Area) -> None:
        images = area.images[["image_id", "region_id", "view"]].itertuples(index=False, name=None)
        self._images = {image_id: (region_id, view) for image_id, region_id, view in images}
        self._regions, self._classes = region_facts(area), image_classes(area)

    def write(self, requests: Sequence[Request], record: Record) -> None:
        """Answer every request whose image facts are known of."""
        for request in requests:
            record.answered(request, self._answer(request))

    def _answer(self, request: Request) -> Answer:
        region_id, view = self._images[request.image_id]
        base = self._regions.get(region_id, Facts()) if isinstance(region_id, str) else Facts()
        facts = Facts(base.poi, base.links, self._classes.get(request.image_id, []))
        if not facts:
            return Answer(reason="image that no fact is known of")
        # The image's own generator: adding an image does not change the words about another.
        rng = np.random.default_rng([request.seed, request.rank, *request.image_id.encode()])
        return Answer(sentence(facts, view, rng))


def template_captioner(argument: str, settings: CaptionSettings, prompt: Prompt, area: Area) -> Captioner:
    """Return the captioner of an area's facts."""
    return TemplateCaptioner(area)


def sentence(facts: Facts, view: str, rng: np.random.Generator) -> str:
    """Put facts into one sentence; the generator chooses among equal wordings and which facts are named."""
    subject = f"{_article(facts.classes[0])} {' and '.join(facts.classes)}" if facts.classes else _density(facts.poi)
    parts = [f"{rng.choice(_OPENINGS[view])} {subject}"]
    if facts.poi:
        named = _draw(facts.poi, rng)
        parts.append("with points of interest: " + _join([f"{_quantity(facts.poi[kind])} {kind}" for kind in named]))
    if facts.links:
        relation = str(rng.choice(sorted(facts.links)))
        count = facts.links[relation]
        phrase = _RELATIONS.get(relation, f"{_words(relation)} {{n}}")
        parts.append(phrase.format(n=f"{_quantity(count)} other region{'s' if count > 1 else ''}"))
    return ", ".join(parts)


def region_facts(area: Area) -> dict[str, Facts]:
    """Return the facts of every region: counts of its points of interest, and its links to other regions."""
    facts: dict[str, Facts] = defaultdict(Facts)
    counts = area.read("poi_counts")
    for region_id, poi, count in counts[counts["count"] > 0][["region_id", "poi", "count"]].itertuples(index=False):
        facts[region_id].poi[_words(poi.removeprefix("poi_"))] += int(count)
    region_of = _region_of(area.entities)
    for head, relation, tail in area.triples.itertuples(index=False, name=None):
        if head in region_of and tail in region_of:
            facts[region_of[head]].links[relation] += 1
    return dict(facts)


def image_classes(area: Area) -> dict[str, list[str]]:
    """Return the classes of images, from facts (image:ID, any relation, class:NAME)."""
    kinds = dict(area.entities[["entity", "kind"]].itertuples(index=False, name=None))
    classes: dict[str, list[str]] = defaultdict(list)
    for head, _, tail in area.triples.itertuples(index=False, name=None):
        if kinds.get(head) == "image" and kinds.get(tail) == "class":
            classes[head.removeprefix("image:")].append(_words(tail.removeprefix("class:")))
    return dict(classes)


def _region_of(entities: pd.DataFrame) -> Mapping[str, str]:
    known = entities[entities["region_id"].notna() & ~entities["kind"].isin(["poi", "image"])]
    return dict(known[["entity", "region_id"]].itertuples(index=False, name=None))


def _draw(poi: Counter[str], rng: np.random.Generator) -> Sequence[str]:
    """Draw kinds without replacement, the frequent ones likelier, and name them from the most frequent down."""
    kinds = sorted(poi)
    weight = np.log1p([poi[kind] for kind in kinds])
    drawn = rng.choice(len(kinds), size=min(_MOST_NAMED, len(kinds)), replace=False, p=weight / weight.sum())
    return sorted((kinds[i] for i in drawn), key=lambda kind: (-poi[kind], kind))


def _density(poi: Counter[str]) -> str:
    total = sum(poi.values())
    if total == 0:
        return "a neighbourhood"
    return "a quiet neighbourhood" if total < 30 else "a neighbourhood" if total < 150 else "a busy neighbourhood"


def _quantity(count: int) -> str:
    for limit, word in ((1, "one"), (2, "two"), (5, "a few"), (15, "several"), (50, "many")):
        if count <= limit:
            return word
    return "very many"


def _join(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _article(word: str) -> str:
    return "an" if word[:1].lower() in "aeiou" else "a"


def _words(name: str) -> str:
    """Turn `publicTransport`, `public_transport` or `public-transport` into `public transport`."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|[_\-]+", " ", name).lower().strip()
