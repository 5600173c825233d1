"""What the tables say of a region, in sentences that stand on their own; each carries the ids of its evidence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from chorograph.area.descriptions import read_descriptions
from chorograph.area.named_files import named_file
from chorograph.captioning.refining.lexicon import mentions
from chorograph.ground.errors import InputError
from chorograph.ground.files import check_regular, naming_damage

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: The most that a sentence names.
_NAMED = 4
#: A thing is said where captions of as many images, and of as large a share of them, say it.
_LEAST_IMAGES, _LEAST_SHARE = 2, 0.5
#: Relations of the graph in words.
_RELATIONS = {"borderBy": "It borders", "nearBy": "Near it lie", "commuteTo": "People commute from it to"}


@dataclass(frozen=True)
class Fact:
    """A sentence, the ids of its evidence, and every number that it may hold."""

    sentence: str
    evidence: tuple[str, ...]
    numbers: tuple[float, ...] = ()


def evidence_id(*parts: str) -> str:
    """Return the id of a piece of evidence: `indicators:income`, `captions:17_4_9#0`; no part holds white space."""
    return ":".join(quote(part, safe="#_-.~") for part in parts)


def say(value: float) -> str:
    """Return a number to read: three digits that count, thousands with commas."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        digits = max(0, len(str(int(abs(value)))) - 4)
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 else f"{value:.1e}"


class Facts:
    """The tables of an area, ready to be asked about a region. `run`: predictions that are filed in the area."""

    def __init__(self, area: Area, run: str | None = None, most_indicators: int = 6) -> None:
        self.area, self.run, self.most_indicators = area, run, most_indicators

    def of(self, region_id: str) -> list[Fact]:
        """Return what the tables say of a region, the most important first."""
        return [
            *self._place(region_id), *self._indicators(region_id), *self._poi(region_id), *self._links(region_id),
            *self._captions(region_id),
        ]  # fmt: skip

    def name(self, region_id: str) -> str:
        """Return a region's name, or its id."""
        return self._names.get(region_id, region_id)

    def _place(self, region_id: str) -> Iterator[Fact]:
        group = self._groups.get(region_id)
        named = f" ({region_id})" if self.name(region_id) != region_id else ""
        where = f" lies in {group}, " if isinstance(group, str) else " is "
        number = len(self._names)
        yield Fact(
            f"{self.name(region_id)}{named}{where}one of {number:,} regions of {self.area.title}.",
            (evidence_id("regions", region_id), evidence_id("regions")),
            (float(number),),
        )

    def _indicators(self, region_id: str) -> Iterator[Fact]:
        for indicator, (title, unit) in list(self._titles.items())[: self.most_indicators]:
            known = self._values.get(indicator, {})
            guessed = self._predictions.get(indicator, {})
            if region_id in known:
                yield self._observed(indicator, title, unit, region_id, known)
            elif region_id in guessed:
                value, lower, upper, level = guessed[region_id]
                interval = ""
                numbers = [value]
                if np.isfinite([lower, upper, level]).all():
                    interval = f"; with {say(100 * level)} % certainty it lies between {say(lower)} and {say(upper)}"
                    numbers += [lower, upper, 100 * level]
                yield Fact(
                    f"Its {title}, which nobody has measured here, is estimated at {say(value)} {unit}{interval}.",
                    (evidence_id("predictions", str(self.run), indicator),),
                    tuple(numbers),
                )

    def _observed(self, indicator: str, title: str, unit: str, region_id: str, known: Mapping[str, float]) -> Fact:
        value = known[region_id]
        rank, number = 1 + sum(other > value for other in known.values()), len(known)
        evidence = [evidence_id("indicators", indicator), evidence_id("rank", indicator)]
        sentence = f"Its {title} is {say(value)} {unit}, number {rank:,} of {number:,} from the top"
        numbers = [value, float(rank), float(number)]
        beside = {other: known[other] for other in self._neighbours(region_id) if other in known}
        if beside:
            top = max(beside, key=lambda other: (beside[other], other))
            sentence += f"; the highest of its neighbours is {self.name(top)} with {say(beside[top])}"
            evidence.append(evidence_id("neighbour", indicator, top))
            numbers.append(beside[top])
        return Fact(sentence + ".", tuple(evidence), tuple(numbers))

    def _poi(self, region_id: str) -> Iterator[Fact]:
        counts = self._poi_counts.get(region_id, {})
        there = sorted(((kind, count) for kind, count in counts.items() if count), key=lambda one: (-one[1], one[0]))
        if not there:
            return
        named = [f"{_words(kind)} ({count:,})" for kind, count in there[:_NAMED]]
        total = sum(count for _, count in there)
        yield Fact(
            f"A directory counts {total:,} points of interest here; most are: {_join(named)}.",
            (evidence_id("poi_counts"), *(evidence_id("poi_counts", kind) for kind, _ in there[:_NAMED])),
            (float(total), *(float(count) for _, count in there[:_NAMED])),
        )

    def _links(self, region_id: str) -> Iterator[Fact]:
        for relation, others in sorted(self._graph.get(region_id, {}).items()):
            if relation not in _RELATIONS:
                continue
            named = [self.name(other) for other in others[:_NAMED]]
            rest = len(others) - len(named)
            what = "region" if len(others) == 1 else "regions"
            more = f" and {rest:,} more" if rest else ""
            numbers = [float(len(others)), *([float(rest)] if rest else [])]
            listed = ", ".join(named) + more if rest else _join(named)
            yield Fact(
                f"{_RELATIONS[relation]} {len(others):,} {what}: {listed}.",
                (evidence_id("triples", relation),),
                tuple(numbers),
            )

    def _captions(self, region_id: str) -> Iterator[Fact]:
        """Yield what the captions of several images agree on; what a single one says is not repeated."""
        images = self._images.get(region_id, [])
        said: dict[str, dict[str, str]] = defaultdict(dict)
        denied: dict[str, set[str]] = defaultdict(set)
        for image_id in images:
            for caption_id, concepts, against in self._concepts.get(image_id, []):
                for concept in concepts:
                    said[concept].setdefault(image_id, caption_id)
                for concept in against:
                    denied[concept].add(image_id)
        captioned = sum(image_id in self._concepts for image_id in images)
        agreed = [
            (concept, by)
            for concept, by in said.items()
            if len(by) >= max(_LEAST_IMAGES, _LEAST_SHARE * captioned) and not denied[concept]
        ]
        if not agreed:
            return
        agreed.sort(key=lambda one: (-len(one[1]), one[0]))
        told = [f"{concept} ({len(by):,} of {captioned:,})" for concept, by in agreed[:_NAMED]]
        evidence = sorted({evidence_id("captions", of) for _, by in agreed[:_NAMED] for of in by.values()})
        numbers = [float(captioned), *(float(len(by)) for _, by in agreed[:_NAMED])]
        yield Fact(f"The captions of its images agree on: {_join(told)}.", tuple(evidence), tuple(numbers))

    def _neighbours(self, region_id: str) -> Sequence[str]:
        return self._graph.get(region_id, {}).get("borderBy", [])

    @cached_property
    def _names(self) -> dict[str, str]:
        rows = self.area.regions[["region_id", "name"]].itertuples(index=False, name=None)
        return {region_id: name if isinstance(name, str) and name else region_id for region_id, name in rows}

    @cached_property
    def _groups(self) -> dict[str, Any]:
        return dict(self.area.regions[["region_id", "group"]].itertuples(index=False, name=None))

    @cached_property
    def _titles(self) -> dict[str, tuple[str, str]]:
        """The title and unit of each indicator, the described ones first."""
        said = read_descriptions(self.area)
        units = dict(self.area.indicators[["indicator", "unit"]].itertuples(index=False, name=None))
        order = [*(name for name in said if name in units), *(name for name in units if name not in said)]
        return {name: ((said[name].title if name in said else None) or _words(name), units[name]) for name in order}

    @cached_property
    def _values(self) -> dict[str, dict[str, float]]:
        """The latest value of each indicator by region."""
        latest = self.area.indicators.dropna(subset=["value"]).sort_values("year", na_position="first")
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for region_id, indicator, value in latest[["region_id", "indicator", "value"]].itertuples(index=False):
            found[indicator][region_id] = float(value)
        return found

    @cached_property
    def _predictions(self) -> dict[str, dict[str, tuple[float, float, float, float]]]:
        found: dict[str, dict[str, tuple[float, float, float, float]]] = defaultdict(dict)
        if self.run is None:
            return found
        frame = read_predictions(self.area, self.run).dropna(subset=["predicted"])
        for region_id, indicator, *values in frame.itertuples(index=False):
            found[indicator][region_id] = (float(values[0]), float(values[1]), float(values[2]), float(values[3]))
        return found

    @cached_property
    def _poi_counts(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = defaultdict(dict)
        rows = self.area.read("poi_counts")[["region_id", "poi", "count"]].itertuples(index=False, name=None)
        for region_id, poi, count in rows:
            found[region_id][poi] = int(count)
        return found

    @cached_property
    def _graph(self) -> dict[str, dict[str, list[str]]]:
        """The regions that each region is linked to, by relation, in the order of their ids."""
        entities = self.area.entities
        regions = entities[entities["region_id"].isin(list(self._names)) & ~entities["kind"].isin(["poi", "image"])]
        region_of = dict(regions[["entity", "region_id"]].itertuples(index=False, name=None))
        found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
        for head, relation, tail in self.area.triples[["head", "relation", "tail"]].itertuples(index=False, name=None):
            if head in region_of and tail in region_of and region_of[head] != region_of[tail]:
                found[region_of[head]][relation].add(region_of[tail])
        return {region: {name: sorted(to) for name, to in links.items()} for region, links in found.items()}

    @cached_property
    def _images(self) -> dict[str, list[str]]:
        images = self.area.images.drop_duplicates("image_id").dropna(subset=["region_id"])
        return {str(region): ids.tolist() for region, ids in images.groupby("region_id")["image_id"]}

    @cached_property
    def _concepts(self) -> dict[str, list[tuple[str, set[str], set[str]]]]:
        """What each caption of an image says is there, and what it says is not."""
        found: dict[str, list[tuple[str, set[str], set[str]]]] = defaultdict(list)
        rows = self.area.captions[["caption_id", "image_id", "caption"]].itertuples(index=False, name=None)
        for caption_id, image_id, caption in rows:
            told = mentions(caption)
            there = {one.concept for one in told if not one.denied}
            found[image_id].append((caption_id, there, {one.concept for one in told if one.denied}))
        return found


def read_predictions(area: Area, run: str) -> pd.DataFrame:
    """Return predictions that `predict --save` filed in an area; `InputError` naming those that there are."""
    path = named_file(area.path / "predictions", run)
    if not path.is_file():
        raise InputError(f"{area.path} holds no predictions {run!r}; it holds: {', '.join(runs_of(area)) or 'none'}")
    numbers = ("predicted", "lower", "upper", "level")
    check_regular(path)
    with naming_damage(path, "predictions", "run `chorograph predict --save` again"):
        frame = pd.read_parquet(path, columns=["region_id", "indicator", *numbers])
        return frame.astype(dict.fromkeys(numbers, "float64"))


def runs_of(area: Area) -> list[str]:
    """Return the names of the predictions that are filed in an area."""
    return sorted(path.stem for path in (area.path / "predictions").glob("*.parquet"))


def _words(name: str) -> str:
    return name.removeprefix("poi_").replace("_", " ")


def _join(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
