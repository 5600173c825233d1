"""Checking a graph: dangling entities, relations between the wrong kinds, regions that no fact names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from chorograph.area.tables import row_list
from chorograph.graph.facts import REGION
from chorograph.graph.schema import RELATIONS

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: Kinds that a relation without a declaration connects in fewer than this share of its facts are taken for a mistake.
_RARE = 0.01


def check_graph(area: Area, declared: Mapping[str, tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return (problems, notes) of an area's graph, a sentence each; a problem names the table and the first rows.

    `declared`: the kinds of head and tail that a relation must connect. A relation that is not declared should connect
    one pair of kinds: where a pair is rare beside another, its facts are a problem. Notes are for the reader to weigh:
    regions without any fact, self-loops, entities that no fact names.
    """
    if not area.has("triples") or not area.has("entities") or (triples := area.triples).empty:
        return [f"{area.path} has no graph, or an empty one; build one with `chorograph graph build`"], []
    entities = area.entities
    problems: list[str] = []
    if (twice := entities["entity"].duplicated()).any():
        problems.append(f"entities: {entities.loc[twice, 'entity'].iloc[0]!r} appears twice ({row_list(twice)})")
    kind_of = entities.drop_duplicates("entity").set_index("entity")["kind"]
    kinds = {column: triples[column].map(kind_of) for column in ("head", "tail")}
    for column, found in kinds.items():
        if (dangling := found.isna()).any():
            first = triples.loc[dangling, column].iloc[0]
            problems.append(f"triples: {column} {first!r} is not in entities ({row_list(dangling)})")
    problems += _wrong_kinds(triples["relation"], kinds["head"], kinds["tail"], declared)
    known = set(area.regions["region_id"])
    named = entities["region_id"].notna()
    if (unknown := named & ~entities["region_id"].isin(known)).any():
        first = entities.loc[unknown, "region_id"].iloc[0]
        problems.append(f"entities: region {first!r} is not in regions ({row_list(unknown)})")
    if (odd := named & (entities["kind"] != REGION) & (entities["kind"] != _kind_of_regions(entities))).any():
        problems.append(f"entities: a {entities.loc[odd, 'kind'].iloc[0]} stands for a region ({row_list(odd)})")
    return problems, _notes(area, triples, entities)


def declared_kinds(area: Area) -> dict[str, tuple[str, str]]:
    """Return the kinds that relations must connect: as area.toml declares, else as KnowCL's relations do.

    KnowCL's are taken only where the area's entities are of KnowCL's kinds.
    """
    if said := area.facts.get("relations"):
        return {str(name): (str(head), str(tail)) for name, (head, tail) in said.items()}
    kinds = {kind for pair in RELATIONS.values() for kind in pair}
    return RELATIONS if set(area.entities["kind"]) <= kinds else {}


def _wrong_kinds(
    relation: pd.Series[str],
    head: pd.Series[str],
    tail: pd.Series[str],
    declared: Mapping[str, tuple[str, str]],
) -> list[str]:
    problems = []
    frame = pd.DataFrame({"relation": relation, "head": head, "tail": tail}).reset_index(drop=True)
    for name, rows in frame.dropna().groupby("relation"):
        pairs = rows.value_counts(["head", "tail"])
        right = [declared[str(name)]] if str(name) in declared else pairs.index[pairs >= _RARE * len(rows)].tolist()
        wrong = ~pd.MultiIndex.from_frame(rows[["head", "tail"]]).isin(right)
        if wrong.any():
            bad = frame.index.isin(rows.index[wrong])
            first = rows.iloc[int(np.flatnonzero(wrong)[0])]
            wanted = " or ".join(f"{a} to {b}" for a, b in right)
            problems.append(
                f"triples: {name} connects {wanted}, not {first['head']} to {first['tail']} ({row_list(bad)})"
            )
    return problems


def _kind_of_regions(entities: pd.DataFrame) -> str:
    """Return what this graph calls a region (`tract`, for example): the most frequent kind among them."""
    kinds = entities.loc[entities["region_id"].notna(), "kind"]
    return str(kinds.mode().iloc[0]) if len(kinds) else REGION


def _notes(area: Area, triples: pd.DataFrame, entities: pd.DataFrame) -> list[str]:
    notes = []
    used = set(triples["head"]) | set(triples["tail"])
    region_of = entities.dropna(subset=["region_id"])
    held = set(region_of.loc[region_of["entity"].isin(used), "region_id"])
    absent = [region for region in area.regions["region_id"] if region not in held]
    if absent:
        notes.append(f"{len(absent)} of {len(area.regions)} regions have no fact, for example {absent[0]!r}")
    idle = ~entities["entity"].isin(used)
    if (other := idle & entities["region_id"].isna()).any():
        notes.append(f"{int(other.sum())} entities have no fact, for example {entities.loc[other, 'entity'].iloc[0]!r}")
    if (loops := triples["head"] == triples["tail"]).any():
        notes.append(f"{int(loops.sum())} facts lead from an entity to itself ({row_list(loops)})")
    return notes
