"""The `graph` verbs that need no torch: build, info, check."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.graph.config import GraphBuildConfig, GraphConfig
from chorograph.ground.errors import AreaError, InputError, UnknownNameError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.area.folder import Area


def build(config: GraphBuildConfig, progress: Progress) -> Outcome:
    """Run `graph build`; the manifest lies beside the facts, as `triples.manifest.json`."""
    from chorograph.area.folder import Area

    area = Area.open(config.area)
    own = [path for path in (config.poi, config.business_areas, config.flows) if path is not None]

    def work(ledger: Ledger) -> None:
        from chorograph.graph.build import Sources, Thresholds, build_graph, counted

        if area.has("triples") and not config.replace:
            raise InputError(f"{area.path} has a graph already; --replace builds another in its place")
        sources = Sources(
            points=_table(config.poi, ("poi", "category"), ("lon", "lat"), unique="poi"),
            counts=area.read("poi_counts") if area.has("poi_counts") else None,
            business_areas=_table(config.business_areas, ("business_area",), ("lon", "lat"), unique="business_area"),
            flows=_table(config.flows, ("origin", "destination"), ("count",)),
        )
        thresholds = Thresholds(config.near_m, config.service_m, config.competitive_m, config.similar, config.flow)
        triples, entities = build_graph(area.regions, sources, thresholds)
        if sources.points is not None:
            inside = triples.loc[triples["relation"] == "locateAt", "head"].nunique()
            ledger.drop("point in no region, without locateAt", len(sources.points) - inside)
        # Entities first: should writing stop between the two, no fact names an entity that is not there.
        if area.has("triples"):
            area.table_path("triples").unlink()
        ledger.outputs.append(area.write("entities", entities))
        ledger.outputs.append(area.write("triples", triples))
        ledger.count("facts", len(triples))
        ledger.count("entities", len(entities))
        ledger.facts["relations"] = counted(triples)

    inputs = [area.table_path("regions"), area.table_path("poi_counts"), *own]
    manifest = area.path / "triples.manifest.json"
    return run_stage("graph build", manifest=manifest, config=plain(config), inputs=inputs, work=work)


def info(config: GraphConfig, progress: Progress) -> Outcome:
    """Run `graph info`: sizes, what each relation connects, which relations say the same thing twice."""
    from chorograph.area.folder import Area
    from chorograph.graph.facts import Graph
    from chorograph.graph.inverses import inverse_of

    area = Area.open(config.area)
    graph = Graph.read(area)
    partner = inverse_of(graph)
    rows = graph.rows_of(area.regions["region_id"])
    facts: dict[str, Any] = {"entities": {}, "relations": {}}
    for kind in sorted(set(graph.kinds)):
        facts["entities"][kind] = int((graph.kinds == kind).sum())
    for row in graph.kinds_of_relations().to_dict("records"):
        said = facts["relations"].setdefault(row["relation"], [])
        said.append(f"{row['head_kind']} to {row['tail_kind']}: {row['facts']:,}")
    for number, other in enumerate(partner):
        if other >= 0:
            what = "symmetric" if other == number else f"inverse of {graph.relations[other]}"
            facts["relations"][graph.relations[number]].append(what)
    counts = {
        "facts": len(graph.facts),
        "entities": graph.number_of_entities,
        "relations": graph.number_of_relations,
        "regions in the graph": int((rows >= 0).sum()),
        "regions without an entity": int((rows < 0).sum()),
    }
    return Outcome({"stage": "graph info", "config": plain(config), "counts": counts, "facts": facts}, skipped=False)


def check(config: GraphConfig, progress: Progress) -> Outcome:
    """Run `graph check`; raises `AreaError` listing every problem, tells notes as warnings."""
    from chorograph.area.folder import Area
    from chorograph.graph.check import check_graph

    area = Area.open(config.area)
    problems, notes = check_graph(area, declared_kinds(area))
    if problems:
        raise AreaError(f"{config.area} has {len(problems)} problems:\n" + "\n".join(f"- {p}" for p in problems))
    counts = {"facts": len(area.triples), "entities": len(area.entities)}
    return Outcome(
        {"stage": "graph check", "config": plain(config), "counts": counts, "warnings": notes}, skipped=False
    )


def declared_kinds(area: Area) -> dict[str, tuple[str, str]]:
    """Return the kinds that relations must connect: as area.toml declares, else as KnowCL's relations do.

    KnowCL's are taken only where the area's entities are of KnowCL's kinds.
    """
    from chorograph.graph.schema import RELATIONS

    if said := area.facts.get("relations"):
        return {str(name): (str(head), str(tail)) for name, (head, tail) in said.items()}
    kinds = {kind for pair in RELATIONS.values() for kind in pair}
    return RELATIONS if set(area.entities["kind"]) <= kinds else {}


def _table(
    path: Path | None, texts: tuple[str, ...], numbers: tuple[str, ...], unique: str | None = None
) -> pd.DataFrame | None:
    """Read a user's CSV; `InputError` names the file and the line of a missing, repeated or impossible value."""
    if path is None:
        return None
    import numpy as np
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{path} cannot be read: {str(error).strip()}") from error
    for column in (*texts, *numbers):
        if column not in frame.columns:
            raise UnknownNameError.of(f"column of {path}", column, list(frame.columns))
    for column in texts:
        if (blank := frame[column].str.strip() == "").any():
            raise InputError(f"{path}: {column} is empty in line {int(np.flatnonzero(blank)[0]) + 2}")
    for column in numbers:
        values = pd.to_numeric(frame[column], errors="coerce").astype(np.float64)
        if (wrong := ~np.isfinite(values.to_numpy())).any():
            row = int(np.flatnonzero(wrong)[0])
            raise InputError(f"{path}: {column} is {frame[column].iloc[row]!r}, no number, in line {row + 2}")
        frame[column] = values
    if unique is not None and (twice := frame[unique].duplicated()).any():
        row = int(np.flatnonzero(twice)[0])
        raise InputError(f"{path}: {unique} {frame[unique].iloc[row]!r} stands twice (again in line {row + 2})")
    return frame[[*texts, *numbers]]
