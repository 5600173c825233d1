from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.area.splits import EARTH_RADIUS_M
from chorograph.graph.build import (
    Sources,
    Thresholds,
    border_by,
    build_graph,
    flow_transition,
    similar_function,
    within_m,
)
from chorograph.graph.facts import Graph, both_ways
from chorograph.graph.inverses import hold_out, inverse_of, leaking, without_regions
from chorograph.graph.reading import as_text, read_facts
from chorograph.ground.errors import AreaError, InputError
from chorograph.ground.stage import silent
from chorograph.verbs.graph import build, check, info

TOY = [("A", "r", "B"), ("A", "r", "C"), ("B", "r", "C")]


def table(facts: list[tuple[str, str, str]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    triples = pd.DataFrame(facts, columns=["head", "relation", "tail"])
    names = sorted({*triples["head"], *triples["tail"]})
    kinds = ["region" if name.startswith("R") else "poi" for name in names]
    ids = [name if name.startswith("R") else None for name in names]
    return triples, pd.DataFrame({"entity": names, "kind": kinds, "region_id": ids})


def graph_of(facts: list[tuple[str, str, str]]) -> Graph:
    return Graph.of(*table(facts))


def squares(number: int = 4, side: float = 0.01) -> gpd.GeoDataFrame:
    """A grid of number x number squares at the equator, about 1.1 km wide."""
    cells = [
        shapely.box(x * side, y * side, (x + 1) * side, (y + 1) * side) for y in range(number) for x in range(number)
    ]
    ids = [f"{y}{x}" for y in range(number) for x in range(number)]
    return gpd.GeoDataFrame({"region_id": ids, "geometry": cells}, crs=4326)


# The carrier of facts ------------------------------------------------------------------------------------------------


def test_inverses_run_from_tail_to_head() -> None:
    graph = graph_of(TOY)
    both = both_ways(graph.facts, graph.number_of_relations)
    assert len(both) == 2 * len(graph.facts)
    assert not (both[:, 0] == both[:, 2]).any()
    a, b = np.flatnonzero(graph.entities == "A")[0], np.flatnonzero(graph.entities == "B")[0]
    assert [b, 1, a] in both.tolist()  # (B, inverse of r, A)
    looped = graph_of([*TOY, ("C", "r", "C")])
    both = both_ways(looped.facts, looped.number_of_relations)
    assert (both[:, 0] == both[:, 2]).sum() == 2  # only what the input holds


@settings(max_examples=30, deadline=None)
@given(
    facts=st.lists(
        st.tuples(st.sampled_from("ABCDR"), st.sampled_from("rst"), st.sampled_from("ABCDR")), min_size=1, max_size=30
    ),
    seed=st.integers(0, 100),
)
def test_numbers_do_not_depend_on_the_order_of_lines(facts: list[tuple[str, str, str]], seed: int) -> None:
    triples, entities = table(facts)
    rng = np.random.default_rng(seed)
    one = Graph.of(triples, entities)
    other = Graph.of(triples.iloc[rng.permutation(len(triples))], entities.iloc[rng.permutation(len(entities))])
    assert np.array_equal(one.facts, other.facts)
    assert list(one.entities) == list(other.entities)
    assert list(one.relations) == list(other.relations)
    assert len(one.facts) == len(set(facts))


def test_bad_graphs_name_their_row() -> None:
    triples, entities = table(TOY)
    with pytest.raises(AreaError, match=r"row 2: tail 'C' is not in entities \(2 such rows\)"):
        Graph.of(triples, entities[entities["entity"] != "C"])
    with pytest.raises(AreaError, match="the graph is empty"):
        Graph.of(triples[:0], entities)


def test_regions_are_found_by_their_id_alone() -> None:
    # The published loader takes every entity with "360" in its name for a region.
    triples, entities = table([("poi360", "locateAt", "R1"), ("R1", "borderBy", "R2"), ("R2", "borderBy", "R1")])
    graph = Graph.of(triples, entities)
    rows = graph.rows_of(pd.Series(["R2", "R1", "absent"]))
    assert [graph.entities[row] for row in rows[:2]] == ["R2", "R1"]
    assert rows[2] == -1


# Inverses and leaks --------------------------------------------------------------------------------------------------


def both_told(number: int) -> Graph:
    rng = np.random.default_rng(0)
    pairs = {(int(a), int(b)) for a, b in rng.integers(0, 40, (number, 2)) if a != b}
    facts = [(f"P{a}", "in", f"R{b}") for a, b in pairs] + [(f"R{b}", "has", f"P{a}") for a, b in pairs]
    facts += [(f"R{a}", "near", f"R{b}") for a, b in pairs] + [(f"R{b}", "near", f"R{a}") for a, b in pairs]
    facts += [(f"P{a}", "likes", f"P{b}") for a, b in pairs]
    return graph_of(sorted(set(facts)))


def test_inverse_and_symmetric_relations_are_found() -> None:
    graph = both_told(300)
    partner = dict(zip(graph.relations, inverse_of(graph), strict=True))
    number = {name: row for row, name in enumerate(graph.relations)}
    assert partner == {"has": number["in"], "in": number["has"], "near": number["near"], "likes": -1}


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_held_out_is_told_from_the_other_end(seed: int) -> None:
    graph = both_told(300)
    partner = inverse_of(graph)
    parts = hold_out(graph, 0.2, seed)
    assert not leaking(parts.train, parts.test, partner, graph.number_of_entities).any()
    assert len(parts.train) + len(parts.test) + len(parts.removed) == len(graph.facts)
    assert 0.05 * len(graph.facts) < len(parts.test) <= 0.2 * len(graph.facts)
    # Cut at random, as published splits are, most of the tested facts are known.
    rows = np.random.default_rng(seed).permutation(len(graph.facts))
    cut = len(rows) // 5
    leaks = leaking(graph.facts[rows[cut:]], graph.facts[rows[:cut]], partner, graph.number_of_entities)
    assert leaks.mean() > 0.5


def test_the_seed_decides_what_is_held_out() -> None:
    graph = both_told(200)
    one, same, other = (hold_out(graph, 0.1, seed).test for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_an_inductive_run_keeps_no_fact_of_held_out_regions() -> None:
    graph = both_told(100)
    held = graph.rows_of(pd.Series(["R1", "R2", "absent"]))
    left = without_regions(graph, held)
    assert not np.isin(left.facts[:, [0, 2]], held[:2]).any()
    assert left.number_of_entities == graph.number_of_entities


# Reading -------------------------------------------------------------------------------------------------------------


def test_ten_thousand_lines_with_one_malformed(tmp_path: Path) -> None:
    lines = [f"a{n}\tr\tb{n}" for n in range(10_000)]
    path = tmp_path / "facts.tsv"
    path.write_text("\n".join(lines) + "\n")
    assert len(read_facts(path)) == 10_000
    lines[7_776] = "a\tr"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"facts.tsv: line 7777 is not head, relation, tail"):
        read_facts(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no fact"),
        ("a\tr\tb\na\t\tc\n", "line 2 has an empty relation"),
        ("a\tr\tb\nc\tr\td\na\tr\tb\n", "line 3 repeats line 1: a r b"),
        ("a\tr\tb\tc\n", "line 1 is not head, relation, tail"),
    ],
)
def test_bad_lines(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "facts.tsv.gz"
    path.write_bytes(gzip.compress(text.encode()))
    with pytest.raises(InputError, match=message):
        read_facts(path)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("bad", [b"c\tr\t\xff\n", b"\xe5\x8c", b"\xff\xfe\n", b"c\tr\t\0\n"])
def test_a_line_that_is_no_text_is_named(bad: bytes, pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / ("facts.tsv" if pack is bytes else "facts.tsv.gz")
    path.write_bytes(pack(b"a\tr\tb\nb\tr\tc\n" + bad))
    with pytest.raises(InputError, match="line 3 is not text"):
        read_facts(path)


def test_quotes_and_other_scripts_are_text(tmp_path: Path) -> None:
    path = tmp_path / "facts.tsv"
    path.write_text('"a\tr\t北京\nb\tr\tNA\n', encoding="utf-8")
    assert as_text(read_facts(path)).to_numpy().tolist() == [['"a', "r", "北京"], ["b", "r", "NA"]]


# Building ------------------------------------------------------------------------------------------------------------


def test_a_common_corner_is_no_border() -> None:
    regions = squares(3)
    pairs = border_by(regions)
    neighbours = {(regions["region_id"][a], regions["region_id"][b]) for a, b in pairs}
    assert ("11", "12") in neighbours
    assert ("11", "22") not in neighbours
    assert len(pairs) == 2 * 12
    assert all((b, a) in neighbours for a, b in neighbours)


def test_near_is_in_metres() -> None:
    degree = np.degrees(1000 / EARTH_RADIUS_M)
    lon, lat = np.array([0.0, degree * 0.999, degree * 2.1]), np.zeros(3)
    assert within_m(lon, lat, 1000).tolist() == [[0, 1], [1, 0]]
    # A kilometre north is a kilometre; at 60 degrees a degree of longitude is half as long.
    assert within_m(np.array([0.0, degree * 1.99]), np.full(2, 60.0), 1000).tolist() == [[0, 1], [1, 0]]
    assert within_m(lon, lat, 1000, (np.array([degree * 0.5]), np.zeros(1))).tolist() == [[0, 0], [1, 0]]


def test_similar_profiles() -> None:
    profiles = np.array([[1.0, 0, 0], [5.0, 0, 0], [1.0, 1, 0], [0, 0, 0]])
    assert similar_function(profiles, 0.95).tolist() == [[0, 1], [1, 0]]
    assert len(similar_function(profiles, 0.7)) == 6


def test_flows_are_summed() -> None:
    flows = pd.DataFrame({"origin": ["a", "a", "b", "b"], "destination": ["b", "b", "a", "b"], "count": [3, 4, 6, 99]})
    assert flow_transition(flows, pd.Series(["a", "b"]), 7).tolist() == [[0, 1]]
    with pytest.raises(InputError, match="row 1: origin 'a' is no region"):
        flow_transition(flows, pd.Series(["b"]), 1)


def everything() -> tuple[gpd.GeoDataFrame, Sources]:
    regions = squares(3)
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(0, 0.03, (2, 60))
    points = pd.DataFrame(
        {"poi": [f"p{n}" for n in range(60)], "category": rng.choice(["bar", "bank"], 60), "lon": lon, "lat": lat}
    )
    centres = pd.DataFrame({"business_area": ["centre"], "lon": [0.015], "lat": [0.015]})
    flows = pd.DataFrame({"origin": ["00"], "destination": ["11"], "count": [2.0]})
    return regions, Sources(points=points, business_areas=centres, flows=flows)


def test_every_relation_connects_its_kinds(tmp_path: Path) -> None:
    regions, sources = everything()
    triples, entities = build_graph(regions, sources, Thresholds(near_m=1500))
    assert set(triples["relation"]) == {
        "borderBy", "nearBy", "locateAt", "cateOf", "competitive", "provideService", "belongTo", "flowTransition",
        "similarFunction",
    }  # fmt: skip
    assert triples.duplicated().sum() == 0
    assert (triples["relation"] == "locateAt").sum() == 60  # one region a point
    with AreaDraft(tmp_path / "area", "made") as draft:
        draft.write("regions", regions)
        draft.write("triples", triples)
        draft.write("entities", entities)
    assert check.run(check.Settings(area=tmp_path / "area"), silent).manifest["warnings"] == []
    told = info.run(info.Settings(area=tmp_path / "area"), silent).manifest
    assert "symmetric" in told["facts"]["relations"]["borderBy"]


def test_a_point_that_says_its_region_does_not_stand_for_it() -> None:
    triples, entities = table([("R1", "borderBy", "R2"), ("p", "locateAt", "R1")])
    entities.loc[entities["entity"] == "p", "region_id"] = "R1"
    graph = Graph.of(triples, entities)
    assert graph.entities[graph.rows_of(pd.Series(["R1", "R2"]))].tolist() == ["R1", "R2"]
    with pytest.raises(AreaError, match="'R1' is the region of several entities"):
        Graph.of(triples, entities.assign(kind="tract")).rows_of(pd.Series(["R1"]))


def area_with(folder: Path, facts: list[tuple[str, str, str]]) -> Path:
    """An area of the squares whose graph is written as it is, without the draft's checks."""
    with AreaDraft(folder, "made") as draft:
        draft.write("regions", squares(2).assign(region_id=["R1", "R2", "R3", "R4"]))
        triples, entities = table(facts)
        draft.write("triples", triples)
        draft.write("entities", entities)
    return folder


def test_check_names_rows(tmp_path: Path) -> None:
    folder = area_with(tmp_path / "a", [("R1", "borderBy", "R2"), ("p", "borderBy", "R2"), ("p", "locateAt", "R3")])
    with pytest.raises(AreaError, match=r"borderBy connects region to region, not poi to region \(row 2\)"):
        check.run(check.Settings(area=folder), silent)
    area = Area.open(folder)
    area.write("entities", area.entities[area.entities["entity"] != "p"])
    with pytest.raises(AreaError, match=r"head 'p' is not in entities \(row 2, 3\)"):
        check.run(check.Settings(area=folder), silent)


def test_a_region_without_facts_is_told(tmp_path: Path) -> None:
    folder = area_with(tmp_path / "a", [("R1", "borderBy", "R2"), ("R2", "borderBy", "R1")])
    assert (
        "2 of 4 regions have no fact, for example 'R3'"
        in check.run(check.Settings(area=folder), silent).manifest["warnings"]
    )


def test_an_empty_graph_is_told(tmp_path: Path) -> None:
    folder = area_with(tmp_path / "a", [("R1", "borderBy", "R2")])
    area = Area.open(folder)
    area.write("triples", area.triples[:0])
    with pytest.raises(AreaError, match="empty"):
        check.run(check.Settings(area=folder), silent)
    with pytest.raises(AreaError, match="empty"):
        info.run(info.Settings(area=folder), silent)


def test_build_writes_into_the_area_once(tmp_path: Path) -> None:
    regions, sources = everything()
    with AreaDraft(tmp_path / "area", "made") as draft:
        draft.write("regions", regions)
    assert sources.points is not None
    sources.points.to_csv(tmp_path / "poi.csv", index=False)
    config = build.Settings(area=tmp_path / "area", poi=tmp_path / "poi.csv")
    first = build.run(config, silent)
    assert first.manifest["counts"]["facts"] == len(Area.open(config.area).triples)
    assert build.run(config, silent).skipped
    with pytest.raises(InputError, match="--replace"):
        build.run(build.Settings(area=tmp_path / "area"), silent)
    replaced = build.run(build.Settings(area=tmp_path / "area", replace=True), silent)
    assert set(replaced.manifest["facts"]["relations"]) == {"borderBy"}


def test_bad_tables_name_their_line(tmp_path: Path) -> None:
    with AreaDraft(tmp_path / "area", "made") as draft:
        draft.write("regions", squares(2))
    path = tmp_path / "poi.csv"
    path.write_text("poi,category,lon,lat\na,bar,0,0\nb,bar,x,0\n")
    with pytest.raises(InputError, match="lon is 'x', no number, in line 3"):
        build.run(build.Settings(area=tmp_path / "area", poi=path), silent)
    path.write_text("poi,category,lon,lat\na,bar,0,0\na,bar,0,0\n")
    with pytest.raises(InputError, match="'a' appears twice"):
        build.run(build.Settings(area=tmp_path / "area", poi=path), silent)
    assert not (tmp_path / "area" / "triples.parquet").exists()


def test_nothing_to_build_from_is_told() -> None:
    regions = squares(1)
    with pytest.raises(InputError, match="no fact came out"):
        build_graph(regions, Sources(), Thresholds())


@pytest.mark.real
def test_borders_of_real_tracts_are_those_that_others_found(real_data: Callable[[str], Path]) -> None:
    folder = real_data("king-county")
    tracts = gpd.read_file(folder / "tracts.geojson")
    pairs = border_by(tracts)
    ours = {(tracts["geoid"][a], tracts["geoid"][b]) for a, b in pairs}
    facts = as_text(read_facts(folder / "triples.tsv"))
    theirs = {
        (head.removeprefix("tract:"), tail.removeprefix("tract:"))
        for head, relation, tail in facts.itertuples(index=False)
        if relation == "borderBy"
    }
    # Theirs count a common corner, ours does not.
    assert ours <= theirs
    one, other = tracts.sindex.query(tracts.geometry, predicate="intersects")
    touching = {(tracts["geoid"][a], tracts["geoid"][b]) for a, b in zip(one, other, strict=True) if a != b}
    assert theirs - touching == set()
    assert len(ours) > 0.85 * len(theirs)
