"""A knowledge graph as arrays: entities with kinds, relations, and facts as rows of numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.ground.arrays import Indices, Mask
from chorograph.ground.errors import AreaError

if TYPE_CHECKING:
    from chorograph.area.folder import Area

Names = NDArray[np.object_]

#: The kind of an entity that stands for a region of the area.
REGION = "region"


@dataclass(frozen=True)
class Graph:
    """Facts of n entities and k relations; a fact is a row (head, relation, tail) of numbers.

    Entities and relations are numbered by the order of their names, and facts are sorted, so that a graph does not
    depend on the order of the lines that it was read from. No fact appears twice. `region_ids` is None for entities
    that are no region.
    """

    entities: Names
    kinds: Names
    region_ids: Names
    relations: Names
    facts: Indices

    @classmethod
    def of(cls, triples: pd.DataFrame, entities: pd.DataFrame) -> Self:
        """Build a graph from the two tables of an area.

        Raises `AreaError` for an empty graph, and for a fact whose head or tail no row of `entities` names, with the
        fact's row.
        """
        if triples.empty:
            raise AreaError("the graph is empty: triples holds no fact; build one with `chorograph graph build`")
        known = entities.sort_values("entity", ignore_index=True)
        names = pd.Index(known["entity"])
        relations = pd.Index(sorted(triples["relation"].unique()))
        columns = [names.get_indexer(pd.Index(triples["head"])), relations.get_indexer(pd.Index(triples["relation"]))]
        columns.append(names.get_indexer(pd.Index(triples["tail"])))
        for column, rows in (("head", columns[0]), ("tail", columns[2])):
            if (dangling := rows < 0).any():
                row = int(np.flatnonzero(dangling)[0])
                raise AreaError(
                    f"triples, row {row + 1}: {column} {triples[column].iloc[row]!r} is not in entities "
                    f"({int(dangling.sum())} such rows)"
                )
        facts = np.unique(np.stack(columns, axis=1).astype(np.int64), axis=0)
        region_ids = known["region_id"].astype(object).where(known["region_id"].notna(), None)
        return cls(
            entities=names.to_numpy(object),
            kinds=known["kind"].to_numpy(object),
            region_ids=region_ids.to_numpy(object),
            relations=relations.to_numpy(object),
            facts=facts,
        )

    @classmethod
    def read(cls, area: Area) -> Self:
        """Read the graph of an area; `AreaError` where it has none, or a broken one."""
        if not (area.has("triples") and area.has("entities")):
            raise AreaError(f"{area.path} has no graph; build one with `chorograph graph build`")
        try:
            return cls.of(area.triples, area.entities)
        except AreaError as error:
            raise AreaError(f"{area.path}: {error}") from error

    @property
    def number_of_entities(self) -> int:
        """How many entities there are, those without any fact included."""
        return len(self.entities)

    @property
    def number_of_relations(self) -> int:
        """How many relations there are, inverses on the carrier not counted."""
        return len(self.relations)

    def keeping(self, rows: NDArray[np.bool_]) -> Self:
        """Return the graph with the chosen facts alone; its entities and relations keep their numbers."""
        return replace(self, facts=self.facts[rows])

    def canonical(self, partner: Indices) -> Self:
        """Return the graph without the second of each pair of inverse relations; its facts are told by the first.

        `partner` as `inverse_of` returns it. Relations keep their numbers, so that some have no fact.
        """
        head, relation, tail = self.facts.T
        other = partner[relation]
        second = (other >= 0) & (other < relation)
        turned = np.stack([tail[second], other[second], head[second]], axis=1)
        return replace(self, facts=np.unique(np.concatenate([self.facts[~second], turned]), axis=0))

    @property
    def are_regions(self) -> Mask:
        """Which entities are regions (n,)."""
        return np.array([value is not None for value in self.region_ids], dtype=bool)

    def rows_of(self, region_ids: pd.Series[str]) -> Indices:
        """Return the entity of each region, -1 for a region that the graph does not hold.

        Entities of kind `region` stand for regions where there are any: a point of interest may say its region too.
        Raises `AreaError` where two entities stand for one region.
        """
        held = self.are_regions
        if (named := held & (self.kinds == REGION)).any():
            held = named
        numbers = np.flatnonzero(held)
        names = pd.Index(self.region_ids[held])
        if (twice := names.duplicated()).any():
            raise AreaError(
                f"entities: {names[twice][0]!r} is the region of several entities; give those that are the regions "
                f"themselves the kind {REGION!r}"
            )
        found = names.get_indexer(pd.Index(region_ids))
        return np.where(found >= 0, numbers[found] if len(numbers) else -1, -1).astype(np.int64)

    def kinds_of_relations(self) -> pd.DataFrame:
        """Return how many facts of each relation connect which kinds: relation, head_kind, tail_kind, facts."""
        head, relation, tail = self.facts.T
        frame = pd.DataFrame(
            {"relation": self.relations[relation], "head_kind": self.kinds[head], "tail_kind": self.kinds[tail]}
        )
        return frame.value_counts(sort=False).rename("facts").reset_index()


def both_ways(facts: Indices, relations: int) -> Indices:
    """Return facts (n, 3), then their inverses (tail, relation + `relations`, head): twice as many rows.

    The inverse runs from tail to head; the published code of KnowCL writes (tail, inverse, tail), a self-loop that
    carries nothing back.
    """
    head, relation, tail = facts.T
    return np.concatenate([facts, np.stack([tail, relation + relations, head], axis=1)])
