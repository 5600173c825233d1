"""What is known of an area's images beside their captions: land cover, objects, points of interest, place names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chorograph.area.folder import Area

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
#: Kinds of entities that are no places.
_NO_PLACES = ("image", "class", "category", "poi")


@dataclass(frozen=True)
class Known:
    """What is known of an image; None where nobody knows, which contradicts nothing.

    `cover`: share of the ground by concept. `objects`: number by concept, 0 where it was looked for in vain; nothing is
    known of a concept that is not there. `poi`: number by kind in its region.
    """

    cover: Mapping[str, float] | None = None
    objects: Mapping[str, float] | None = None
    poi: Mapping[str, int] | None = None
    view: str = "satellite"


@dataclass(frozen=True)
class Knowledge:
    """What is known of images by id, and the names that are the area's own, as tuples of lower-case words."""

    images: Mapping[str, Known] = field(default_factory=dict)
    names: frozenset[tuple[str, ...]] = frozenset()

    def of(self, image_id: str) -> Known:
        """Return what is known of an image."""
        return self.images.get(image_id, Known())

    def is_own(self, name: Sequence[str]) -> bool:
        """Whether a name is one of the area's own, a part of one, or holds one."""
        words = tuple(word.lower() for word in name)
        return any(_within(words, own) or _within(own, words) for own in self.names)


def read_knowledge(area: Area) -> Knowledge:
    """Return what an area knows: `image_facts`, counts of points of interest, and the names of its places.

    Whoever counted objects counted those that stand in the table of any image: an image of which some are said has
    none of the others.
    """
    cover: dict[str, dict[str, float]] = {}
    objects: dict[str, dict[str, float]] = {}
    facts = area.read("image_facts")
    for image_id, kind, name, value in facts[["image_id", "kind", "name", "value"]].itertuples(index=False, name=None):
        into = {"cover": cover, "object": objects}.get(kind)
        if into is not None:
            into.setdefault(image_id, {})[name] = float(value)
    poi: dict[str, dict[str, int]] = {}
    counts = area.read("poi_counts")
    for region_id, kind, count in counts[["region_id", "poi", "count"]].itertuples(index=False, name=None):
        poi.setdefault(region_id, {})[kind.removeprefix("poi_")] = int(count)
    counted = {name: 0.0 for held in objects.values() for name in held}
    objects = {image_id: {**counted, **held} for image_id, held in objects.items()}
    images = area.images.drop_duplicates("image_id")
    rows = images[["image_id", "region_id", "view"]].itertuples(index=False, name=None)
    known = {
        image_id: Known(cover.get(image_id), objects.get(image_id), poi.get(region_id), view)
        for image_id, region_id, view in rows
    }
    return Knowledge(known, frozenset(_names(area)))


def _names(area: Area) -> set[tuple[str, ...]]:
    said = [area.title, area.name, *[source.name for source in area.sources]]
    if area.has_regions:
        said += [*area.regions["name"].dropna(), *area.regions["group"].dropna()]
    entities = area.entities
    places = entities.loc[~entities["kind"].isin(_NO_PLACES), "entity"]
    said += [str(entity).rpartition(":")[2] for entity in places]
    return {words for text in said if (words := tuple(word.lower() for word in _WORD.findall(str(text))))}


def _within(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1))
