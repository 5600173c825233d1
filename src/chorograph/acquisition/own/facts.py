"""A knowledge graph of one's own: facts of a file, entities made from them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from chorograph.graph.reading import as_text, read_facts


def read_graph(path: Path, known: set[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return triples and entities. `KIND:ID` names an entity of that kind; it is a region where ID names one."""
    facts = read_facts(path)
    entities = sorted({*map(str, facts["head"].cat.categories), *map(str, facts["tail"].cat.categories)})
    split = [entity.partition(":") for entity in entities]
    kinds = [kind if colon else "region" if kind in known else "entity" for kind, colon, _ in split]
    regions = [rest if colon and rest in known else kind if kind in known else None for kind, colon, rest in split]
    return as_text(facts), pd.DataFrame({"entity": entities, "kind": kinds, "region_id": regions})
