from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from chorograph.area.draft import AreaDraft  # noqa: E402
from chorograph.area.folder import Area  # noqa: E402
from chorograph.graph.vectors import GraphEmbeddings  # noqa: E402
from chorograph.ground.errors import UnknownNameError  # noqa: E402
from chorograph.ground.stage import silent  # noqa: E402
from chorograph.pretraining.config import GraphEmbedConfig  # noqa: E402
from chorograph.pretraining.objectives.links import pair_loss  # noqa: E402
from chorograph.verbs.graph.embed import run as embed_graph  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty regions in two worlds: each near its own kind only, with points of its own categories."""
    rng, number = np.random.default_rng(0), 60
    world = np.arange(number) % 2
    ids = [f"R{n}" for n in range(number)]
    facts = set()
    for n in range(number):
        for other in rng.choice(np.flatnonzero(world == world[n]), 6, replace=False):
            facts |= {(ids[n], "nearBy", ids[other]), (ids[other], "nearBy", ids[n])} if other != n else set()
        for k in range(4):
            poi = f"P{n}-{k}"
            facts |= {(poi, "locateAt", ids[n]), (ids[n], "has", poi), (poi, "cateOf", f"C{world[n]}{rng.integers(4)}")}
    triples = pd.DataFrame(sorted(facts), columns=["head", "relation", "tail"])
    names = sorted({*triples["head"], *triples["tail"]})
    kinds = [{"R": "region", "P": "poi", "C": "category"}[name[0]] for name in names]
    entities = pd.DataFrame({"entity": names, "kind": kinds, "region_id": [n if n in ids else None for n in names]})
    path = tmp_path_factory.mktemp("worlds") / "area"
    with AreaDraft(path, "worlds") as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": ids, "geometry": [None] * number}, crs=4326))
        draft.write("triples", triples)
        draft.write("entities", entities)
        roles = np.where(np.arange(number) < 12, "test", "train")
        draft.write_split("published", pd.DataFrame({"region_id": ids, "role": roles}))
    return path


def run(area: Path, **settings: Any) -> tuple[dict[str, Any], GraphEmbeddings]:
    config = GraphEmbedConfig(**{"area": area, "dim": 16, "batch_size": 128, **settings})
    manifest = embed_graph(config, silent).manifest
    name = config.name or f"{config.model}-{config.dim}" + ("-inductive" if config.inductive else "")
    return manifest, GraphEmbeddings.read(Area.open(area).embeddings_path(name))


def worlds_told(found: GraphEmbeddings, rows: slice = slice(None)) -> float:
    """How often the nearest other region is of the same world."""
    unit = found.vectors / np.linalg.norm(found.vectors, axis=1, keepdims=True)
    world = np.array([int(str(region)[1:]) % 2 for region in found.region_ids])
    similar = unit @ unit.T
    np.fill_diagonal(similar, -2)
    return float((world[similar.argmax(1)] == world)[rows].mean())


@pytest.mark.parametrize("candidates", [0, 64])
def test_tucker_learns_the_graph(made: Path, candidates: int) -> None:
    manifest, found = run(made, epochs=40, candidates=candidates, lr=0.01, name=f"t{candidates}")
    assert manifest["facts"]["link_prediction"]["mrr"] > 0.06  # chance: 0.018
    assert worlds_told(found) > 0.9
    assert "transductive" in found.note
    # has and locateAt tell the same: one of them is enough.
    assert manifest["counts"]["facts, inverses told once"] < len(Area.open(made).triples)
    assert manifest["dropped"]["fact that tells a tested one from the other end"] > 0


def test_the_same_seed_gives_the_same_vectors(made: Path, tmp_path: Path) -> None:
    other = tmp_path / "copy"
    shutil.copytree(made, other)
    for model in ("TuckER", "CompGCN"):
        _, one = run(made, model=model, epochs=2, name=f"{model}-a")
        _, same = run(other, model=model, epochs=2, name=f"{model}-a")
        _, third = run(other, model=model, epochs=2, name=f"{model}-b", seed=1)
        assert np.array_equal(one.vectors, same.vectors)
        assert one.fingerprint == same.fingerprint
        assert not np.allclose(one.vectors, third.vectors)


def test_compgcn_tells_regions_that_training_never_met(made: Path) -> None:
    manifest, found = run(made, model="CompGCN", epochs=30, lr=0.01, inductive="published")
    assert manifest["counts"]["regions held out"] == 12
    assert manifest["dropped"]["fact of a held-out region, in training"] > 12 * 5
    assert len(found.region_ids) == 60
    # Held-out regions have vectors of their own, told by their facts.
    assert len(np.unique(found.vectors[:12], axis=0)) == 12
    assert manifest["facts"]["link_prediction"]["mrr"] > 0.06  # chance: 0.018
    assert "inductive" in found.note
    assert (
        json.loads((made / "embeddings" / "CompGCN-16-inductive.manifest.json").read_text())["stage"] == "graph embed"
    )


def test_compat_and_every_composition_run(made: Path) -> None:
    vectors = [
        run(made, model="CompGCN", epochs=1, composition=name, compat=compat, name=f"{name}-{compat}")[1].vectors
        for name, compat in (("rotate", True), ("rotate", False), ("sub", False), ("mul", False), ("ccorr", False))
    ]
    assert all(np.isfinite(array).all() for array in vectors)
    assert not np.allclose(vectors[0], vectors[1])


def test_tucker_has_no_vector_for_a_region_held_out(made: Path) -> None:
    manifest, found = run(made, inductive="published", epochs=1)
    assert manifest["dropped"]["region that no fact told"] == 12
    assert len(found.region_ids) == 48
    assert "has no vector" in found.note


@pytest.mark.slow
def test_other_models_come_from_pykeen(made: Path) -> None:
    pytest.importorskip("pykeen")
    manifest, found = run(made, model="TransE", epochs=15, lr=0.02)
    assert found.vectors.shape == (60, 16)
    assert manifest["facts"]["link_prediction"]["mrr"] > 0.02
    with pytest.raises(UnknownNameError, match="TransE"):
        run(made, model="TransEE")


def test_the_loss_is_cross_entropy_of_one_right_tail_among_wrong_ones() -> None:
    scores = torch.randn(2, 5)
    rows, columns = torch.tensor([0, 0, 1]), torch.tensor([1, 3, 4])
    found = pair_loss(scores, rows, columns, torch.ones(3, dtype=torch.bool))
    wanted = []
    for row, column in ((0, 1), (0, 3), (1, 4)):
        others = [c for c in range(5) if (row, c) not in {(0, 1), (0, 3), (1, 4)}]
        logits = torch.cat([scores[row, column][None], scores[row, others]])
        wanted.append(torch.nn.functional.cross_entropy(logits, torch.tensor(0)))
    assert float(found) == pytest.approx(float(sum(wanted)) / 3, abs=1e-5)
