"""LLM_UrbanKG's published layout (Ning and Liu 2024): typed facts, and indicators of anonymous regions in three parts.

`triples.tsv` or `triples.tsv.gz` (head, relation, tail), `relations.tsv` (relation, head_kind, name, tail_kind) and
`indicators.json` (train_data, valid_data, test_data: region: pop, eco, comments, rating). There is no geometry and no
imagery. The published zeros of eco, comments and rating mean missing; they are, here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source
from chorograph.graph.reading import as_text, read_facts
from chorograph.ground.csv_rows import read_cells
from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json
from chorograph.ground.stage import Ledger, Progress, silent

_SOURCE = Source("LLM_UrbanKG", licence="unstated", attribution="Ning and Liu 2024, UUKG and LLM agents for urban KG")
_ROLES = {"train_data": "train", "valid_data": "val", "test_data": "test"}
#: published name: (indicator, unit, whether 0 means missing)
_INDICATORS = {
    "pop": ("population", "people", False),
    "eco": ("economic_activity", "firms", True),
    "comments": ("comments", "comments", True),
    "rating": ("rating", "points", True),
}
_REGION = "Region"


def import_urbankg(
    source: Path, out: Path, ledger: Ledger, *, skip_bad: bool = False, progress: Progress = silent
) -> None:
    """Build an area of regions without geometry, their facts, indicators, and the split `published`."""
    path = next((source / name for name in ("triples.tsv", "triples.tsv.gz") if (source / name).is_file()), None)
    if path is None:
        raise InputError(f"{source} holds no triples.tsv or triples.tsv.gz")
    declared = _relations(source / "relations.tsv")
    facts = read_facts(path)
    _check_kinds(facts, declared, path)
    indicators, split = _indicators(source / "indicators.json", ledger)
    names = _names(declared)
    facts["relation"] = facts["relation"].cat.rename_categories(names)
    held_names = set(facts["relation"].cat.categories)
    entities = pd.Index(sorted({*facts["head"].cat.categories, *facts["tail"].cat.categories}))
    kinds = [_kind(str(entity)) for entity in entities]
    ids = [entity if kind == _REGION else None for entity, kind in zip(entities, kinds, strict=True)]
    held = {name for name in ids if name is not None}
    if lone := sorted(set(indicators["region_id"]) - held):
        ledger.warnings.append(f"{len(lone)} labelled regions are in no fact, for example {lone[0]}")
    regions = sorted(held | set(indicators["region_id"]), key=_number)
    used = {names[name]: kinds[:2] for name, kinds in declared.items() if names[name] in held_names}
    with AreaDraft(out, out.name, f"Urban knowledge graph, {out.name}", [_SOURCE], facts={"relations": used}) as draft:
        frame = gpd.GeoDataFrame({"region_id": regions, "geometry": [None] * len(regions)}, crs=4326)
        draft.write("regions", frame)
        draft.write("entities", pd.DataFrame({"entity": entities, "kind": kinds, "region_id": ids}))
        draft.write("triples", as_text(facts))
        draft.write("indicators", indicators)
        draft.write_split("published", split)
    ledger.count("regions", len(regions))
    ledger.count("facts", len(facts))
    ledger.count("entities", len(entities))


def _relations(path: Path) -> dict[str, tuple[str, str, str]]:
    """Return (head kind, tail kind, name) of each relation."""
    frame = read_cells(path, "\t")
    wanted = ["relation", "head_kind", "name", "tail_kind"]
    if missing := [column for column in wanted if column not in frame.columns]:
        raise InputError(f"{path} has no column {missing[0]!r}; it needs {', '.join(wanted)}")
    rows = frame[["relation", "head_kind", "tail_kind", "name"]].itertuples(index=False, name=None)
    return {str(relation): (str(head), str(tail), str(name)) for relation, head, tail, name in rows}


def _names(declared: dict[str, tuple[str, str, str]]) -> dict[str, str]:
    """Return a readable name for each relation: its own, with the kinds where several share it."""
    shared = pd.Series([name for _, _, name in declared.values()]).value_counts()
    return {
        relation: name if shared[name] == 1 else f"{head} {name} {tail}"
        for relation, (head, tail, name) in declared.items()
    }


def _check_kinds(facts: pd.DataFrame, declared: dict[str, tuple[str, str, str]], path: Path) -> None:
    """Raise `InputError` naming the first line whose relation is not declared, or connects other kinds."""
    if unknown := [str(name) for name in facts["relation"].cat.categories if name not in declared]:
        row = int(np.flatnonzero(facts["relation"] == unknown[0])[0])
        raise InputError(f"{path}: line {row + 1}: relation {unknown[0]!r} is not in relations.tsv")
    for column, place in (("head", 0), ("tail", 1)):
        kinds = np.array([_kind(str(name)) for name in facts[column].cat.categories], dtype=object)
        kinds = kinds[facts[column].cat.codes]
        wanted = np.array([declared[str(name)][place] for name in facts["relation"].cat.categories], dtype=object)
        wrong = kinds != wanted[facts["relation"].cat.codes]
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            relation = str(facts["relation"].iloc[row])
            head, tail, name = declared[relation]
            raise InputError(
                f"{path}: line {row + 1}: {relation} ({name}) connects {head} to {tail}, but its {column} is "
                f"{facts[column].iloc[row]!r} ({int(wrong.sum())} such lines)"
            )


def _indicators(path: Path, ledger: Ledger) -> tuple[pd.DataFrame, pd.DataFrame]:
    content = read_json(path, {part: {str: {str: object}} for part in _ROLES})
    rows: list[dict[str, Any]] = []
    roles: dict[str, str] = {}
    for part, role in _ROLES.items():
        for region, values in content[part].items():
            if region in roles:
                raise InputError(f"{path}: {region!r} stands in two parts, {roles[region]} and {role}")
            roles[region] = role
            for published, (indicator, unit, zero_is_missing) in _INDICATORS.items():
                value = values.get(published)
                if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                    ledger.drop(f"{indicator} not given")
                elif value == 0 and zero_is_missing:
                    ledger.drop(f"{indicator} 0, which means missing")
                else:
                    rows.append({"region_id": region, "indicator": indicator, "value": float(value), "unit": unit})
    split = pd.DataFrame({"region_id": list(roles), "role": list(roles.values())})
    return pd.DataFrame(rows).assign(source=_SOURCE.name), split


def _kind(entity: str) -> str:
    return entity.rpartition("_")[0] or entity


def _number(region: str) -> tuple[int, str]:
    """Sort Region_2 before Region_10."""
    tail = region.rpartition("_")[2]
    return (int(tail), region) if tail.isdigit() else (10**12, region)
