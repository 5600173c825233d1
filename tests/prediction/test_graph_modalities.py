from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from chorograph import predict
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.graph.facts import Graph
from chorograph.graph.profile import PARTS, region_profile
from chorograph.graph.vectors import GraphEmbeddings
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.stage import Ledger
from chorograph.prediction.labels import Question, read_labels


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Area:
    """A hundred regions in a ring; the indicator is how many points of interest near regions hold."""
    rng, number = np.random.default_rng(0), 100
    held = rng.poisson(3, number)
    ids = [f"R{n:03d}" for n in range(number)]
    facts = [(f"P{n}-{k}", "locateAt", ids[n]) for n in range(number) for k in range(held[n])]
    facts += [(f"P{n}-{k}", "cateOf", f"C{(n + k) % 3}") for n in range(number) for k in range(held[n])]
    facts += [(ids[n], "nearBy", ids[(n + step) % number]) for n in range(number) for step in (-2, -1, 1, 2)]
    triples = pd.DataFrame(facts, columns=["head", "relation", "tail"])
    names = sorted({*triples["head"], *triples["tail"], *ids})
    kinds = [{"R": "region", "P": "poi", "C": "category"}[name[0]] for name in names]
    entities = pd.DataFrame({"entity": names, "kind": kinds, "region_id": [n if n in ids else None for n in names]})
    around = sum(np.roll(held, step) for step in (-2, -1, 1, 2))
    shops = pd.DataFrame({"region_id": ids, "indicator": "shops", "value": around + rng.normal(0, 0.3, number)})
    path = tmp_path_factory.mktemp("ring") / "area"
    with AreaDraft(path, "ring") as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": [*ids, "lone"], "geometry": [None] * 101}, crs=4326))
        draft.write("triples", triples)
        draft.write("entities", entities)
        draft.write("indicators", shops.assign(unit="shops", source="made", value=shops["value"] + 1))
        roles = np.where(np.arange(number) % 4 == 0, "test", "train")
        draft.write_split("published", pd.DataFrame({"region_id": ids, "role": roles}))
    return Area.open(path)


def test_surroundings_tell_what_degrees_cannot(city: Area) -> None:
    def r2(part: str) -> float:
        found = predict(city, None, indicator="shops", split="given:published", modalities=part, probe="ridge")
        return found["shops"].r2

    assert r2("graph-surroundings") > 0.8
    assert r2("graph-degrees") < 0.5


def test_an_area_with_a_graph_alone_is_predicted_from_its_parts(city: Area) -> None:
    found = predict(city, None, indicator="shops", split="given:published")["shops"]
    rows = {row.name: row.fitted["r2"].value for row in found.scores.rows}
    assert found.r2 > 0.8
    assert rows["graph counts"] < 0.5


def test_parts_of_a_profile(city: Area) -> None:
    graph = Graph.read(city)
    rows = graph.rows_of(city.regions["region_id"])
    blocks = region_profile(graph, rows)
    assert tuple(blocks) == PARTS
    for block in blocks.values():
        assert np.isnan(block[-1]).all()  # the region that no fact names
        assert np.isfinite(block[:-1]).all()
    again = region_profile(graph, rows, ("position",))["position"]
    assert np.array_equal(again, blocks["position"], equal_nan=True)
    # Neighbours in the ring lie beside each other, whatever their numbers are.
    position = blocks["position"][:-1]
    beside = np.linalg.norm(position - np.roll(position, 1, axis=0), axis=1).mean()
    across = np.linalg.norm(position - np.roll(position, 50, axis=0), axis=1).mean()
    assert beside < 0.5 * across


def test_vectors_of_the_graph_are_a_modality(city: Area) -> None:
    ids = city.regions["region_id"].to_numpy(object)
    told = city.indicators.set_index("region_id")["value"]
    vectors = np.stack([np.append(told.loc[i], 0.5) for i in ids[:80]]).astype(np.float32)
    GraphEmbeddings("made-2", "0", ids[:80], vectors, "a note").write(city.embeddings_path("made-2"))
    assert GraphEmbeddings.read(city.embeddings_path("made-2")).note == "a note"
    found = predict(
        city, None, indicator="shops", split="given:published", modalities="graph:made-2,graph-degrees",
        probe="ridge", allow_leaks=True,
    )  # fmt: skip
    assert found[next(iter(found.indicators))].r2 > 0.99
    assert set(found.frame["basis"]) == {"graph:made-2+graph-degrees", "graph-degrees", ""}
    with pytest.raises(InputError, match="graph embed"):
        predict(city, None, indicator="shops", split="given:published", modalities="graph:none")
    with pytest.raises(UnknownNameError, match="graph-degrees"):
        predict(city, None, indicator="shops", split="given:published", modalities="graph-degree")


def test_ln_of_one_plus_y_as_knowcl_fits_it(tmp_path: Path) -> None:
    with AreaDraft(tmp_path / "area", "two") as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": ["a", "b"], "geometry": [None, None]}, crs=4326))
        values = pd.DataFrame({"region_id": ["a", "b"], "indicator": "crime", "value": [0.0, 9.0]})
        draft.write("indicators", values.assign(unit="incidents", source="made"))
    ledger = Ledger()
    labels = read_labels(Area.open(tmp_path / "area"), Question("crime", "log1p"), ledger)
    assert np.allclose(labels.fitted, [0.0, np.log(10)])
    assert np.allclose(labels.to_own(labels.fitted), [0.0, 9.0])
    assert labels.fitted_unit == "ln(1 + incidents)"
    assert not ledger.dropped
