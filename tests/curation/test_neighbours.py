"""Like vectors: those of brute force but for the share that is said to be missed, in whatever steps they come."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chorograph.curation.steps.duplicates import EmbeddingDuplicates, Priority, pack_vector
from chorograph.curation.steps.neighbours import Bands, VectorIndex, digests
from chorograph.ground.errors import InputError

Vectors = NDArray[np.float16]


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def at_cosine(base: NDArray[np.float64], cosine: float, generator: np.random.Generator) -> NDArray[np.float64]:
    """A vector at exactly this cosine for each one of `base`."""
    aside = generator.standard_normal(base.shape)
    aside = unit(aside - (aside * base).sum(axis=1, keepdims=True) * base)
    return cosine * base + np.sqrt(1 - cosine**2) * aside


def crowded(number: int, dim: int, seed: int, *cosines: float) -> Vectors:
    """Vectors that share a direction, as those of real encoders do, and one near each of them for each cosine."""
    generator = np.random.default_rng(seed)
    base = unit(generator.standard_normal((number, dim)) + 1.0)
    return np.concatenate([base, *[at_cosine(base, cosine, generator) for cosine in cosines]]).astype(np.float16)


def brute(vectors: Vectors, similarity: float) -> set[tuple[int, int]]:
    wide = unit(vectors.astype(np.float64))
    i, j = np.nonzero(np.triu(wide @ wide.T >= similarity, 1))
    return set(zip(i.tolist(), j.tolist(), strict=True))


def found(index: VectorIndex, vectors: Vectors) -> set[tuple[int, int]]:
    place = {int(digest): number for number, digest in enumerate(digests(vectors))}
    pairs = [sorted((place[one], place[other])) for one, other in index.pairs().tolist()]
    return {(one, other) for one, other in pairs}


@pytest.mark.parametrize("similarity", [0.9, 0.96, 0.99])
def test_what_is_found_is_what_brute_force_finds(similarity: float, tmp_path: Path) -> None:
    nearer, farther = 1 - (1 - similarity) / 2, 1 - (1 - similarity) * 1.2
    vectors = crowded(700, 64, 1, nearer, farther)
    index = VectorIndex(tmp_path, similarity, 64)
    index.add(vectors)
    wanted = brute(vectors, similarity)
    assert len(wanted) >= 700
    assert found(index, vectors) == wanted


@pytest.mark.parametrize(("similarity", "dim"), [(0.9, 128), (0.96, 32), (0.96, 512)])
def test_at_the_threshold_a_thousandth_is_missed(similarity: float, dim: int, tmp_path: Path) -> None:
    vectors = crowded(3000, dim, 2, similarity + 2e-4)
    index = VectorIndex(tmp_path, similarity, dim)
    index.add(vectors)
    planted = {(place, place + 3000) for place in range(3000)}
    assert brute(vectors, similarity) >= planted
    missed = len(planted - found(index, vectors))
    assert missed <= 12  # 3 are expected; more than 12 come once in 60,000 times


def test_bands_are_cut_for_the_cosine() -> None:
    cuts = [Bands.of(similarity) for similarity in (0.5, 0.9, 0.96, 0.99, 0.999999)]
    assert [cut.bits for cut in cuts] == sorted(cut.bits for cut in cuts)
    assert (cuts[2].bits, cuts[2].number) == (24, 64)
    for cut, similarity in zip(cuts, (0.5, 0.9, 0.96, 0.99, 0.999999), strict=True):
        agree = (1 - np.arccos(similarity) / np.pi) ** cut.bits
        assert (1 - agree) ** cut.number <= 1e-3


def test_sides_do_not_depend_on_how_many_vectors_come_at_once() -> None:
    vectors = crowded(300, 96, 3)
    bands = Bands.of(0.96)
    planes = bands.planes(96)
    whole = bands.keys(vectors, planes)
    assert np.array_equal(whole, np.concatenate([bands.keys(vectors[i : i + 1], planes) for i in range(300)]))
    exact = np.rint(16384 * vectors.astype(np.float32) / np.linalg.norm(vectors.astype(float), axis=1)[:, None])
    sides = exact.astype(np.int64) @ planes.astype(np.int64) > 0
    first = sides[:, : bands.bits] @ (1 << np.arange(bands.bits))
    assert np.array_equal(whole[:, 0], first.astype(np.uint64))


@given(st.lists(st.lists(st.integers(0, 59), max_size=20), max_size=5))
@settings(max_examples=12, deadline=None)
def test_adding_sources_one_by_one_equals_a_rebuild(
    tmp_path_factory: pytest.TempPathFactory, sources: list[list[int]]
) -> None:
    vectors = np.concatenate([crowded(20, 16, 4, 0.9995, 0.998), np.zeros((1, 16), np.float16)])
    folder = tmp_path_factory.mktemp("index")
    whole, steps, bare = (VectorIndex(folder / name, 0.999, 16) for name in ("whole", "steps", "bare"))
    for source in sources:
        steps.add(vectors[source])
        steps.pairs()
        bare.add(vectors[source])
    whole.add(vectors[[place for source in sources for place in source]])
    assert np.array_equal(whole.pairs(), steps.pairs())
    assert np.array_equal(whole.pairs(), bare.pairs())


def test_what_a_killed_run_wrote_beyond_does_not_count(tmp_path: Path) -> None:
    vectors = crowded(60, 16, 5, 0.98)
    whole, torn = VectorIndex(tmp_path / "whole", 0.95, 16), VectorIndex(tmp_path / "torn", 0.95, 16)
    whole.add(vectors)
    torn.add(vectors[:50])
    torn.pairs()
    for name in ("vectors", "digests", "band-0"):
        with (torn.folder / name).open("ab") as file:
            file.write(b"half a row")
    torn.add(vectors)
    assert np.array_equal(whole.pairs(), torn.pairs())
    assert len(list(torn.folder.glob("pairs-*"))) == 1
    assert json.loads((torn.folder / "index.json").read_text())["compared"] == 120


def test_memory_is_that_of_a_partition(tmp_path: Path) -> None:
    dim, rows, parts = 256, 500, 12
    index = VectorIndex(tmp_path, 0.96, dim)
    index.add(crowded(rows, dim, 0))  # planes and buffers are there
    tracemalloc.start()
    for seed in range(1, parts):
        index.add(crowded(rows, dim, seed))
    _, adding = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    assert len(index.pairs()) == 0
    _, comparing = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    held = rows * parts * dim * 2
    assert (tmp_path / "vectors").stat().st_size == held
    # Adding holds a partition's vectors and their sides, whatever lies in the index; comparing, numbers of all.
    assert comparing < held / 2
    few = VectorIndex(tmp_path / "few", 0.96, dim)
    tracemalloc.start()
    few.add(crowded(rows, dim, 0))
    _, alone = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert adding < 1.3 * alone


# The step -------------------------------------------------------------------------------------------------------------


def table(vectors: Vectors, source: str = "wit", start: int = 1, **columns: list[object]) -> pa.Table:
    empty: list[object] = [None] * len(vectors)
    types = {"lon": pa.float64(), "lat": pa.float64(), "captured": pa.string()}
    return pa.table(
        {
            "key": pa.array(range(start, start + len(vectors)), pa.uint64()),
            "source": pa.array([source] * len(vectors)),
            "vector": pa.array([pack_vector(vector.astype(np.float32)) for vector in vectors]),
            **{name: pa.array(columns.get(name, empty), kind) for name, kind in types.items()},
        }
    )


@pytest.mark.parametrize("component", [False, True])
def test_a_source_that_is_added_gives_what_a_rebuild_gives(component: bool, tmp_path: Path) -> None:
    step = EmbeddingDuplicates(similarity=0.95, component=component)
    vectors = crowded(120, 24, 6, 0.97, 0.96)
    sources = [table(vectors[i::3], name, 1000 * i + 1) for i, name in enumerate(("laioncoco", "laion2b", "wit"))]
    for number in (1, 2, 3):
        reduced = pa.concat_tables([step.reduce(source, tmp_path) for source in sources[:number]])
        assert "vector" not in reduced.column_names
        appended = step.decide(reduced, tmp_path)
        rebuilt = step.decide(pa.concat_tables(sources[:number]))
        assert appended.rows.tolist() == rebuilt.rows.tolist()
        assert appended.scores.tolist() == rebuilt.scores.tolist()
        assert appended.kept is not None and rebuilt.kept is not None
        assert appended.kept.tolist() == rebuilt.kept.tolist()
    assert len(appended.rows) >= 120 and appended.scores.min() >= (0.9 if component else 0.95)
    # Rows that are gone stay in the index unused.
    again = step.decide(step.reduce(sources[0], tmp_path), tmp_path)
    assert again.rows.tolist() == step.decide(sources[0]).rows.tolist()


def test_the_same_place_on_another_day_is_no_duplicate(tmp_path: Path) -> None:
    one = crowded(1, 24, 7, 0.99, 0.99)
    days = ["2019-05-01", "2020-05-01", "2019-05-01T09:00"]
    made = table(one, lon=[10.0] * 3, lat=[60.0] * 3, captured=[*days])
    step = EmbeddingDuplicates(similarity=0.95, priority=Priority(seed=3))
    rows = step.decide(made).rows.tolist()
    assert rows in ([0], [2])  # one of the two of the same day
    assert len(EmbeddingDuplicates(similarity=0.95, footprint=False).decide(made).rows) == 2


def test_a_vector_without_direction_is_like_nothing_and_equal_ones_are_alike() -> None:
    vectors = np.zeros((5, 8), dtype=np.float16)
    vectors[2:4, 1] = 0.5
    vectors[4, 1] = np.inf
    decision = EmbeddingDuplicates().decide(table(vectors))
    assert len(decision.rows) == 1 and set(decision.rows.tolist()) <= {2, 3}
    assert decision.scores.tolist() == [1.0]
    assert len(EmbeddingDuplicates().decide(table(vectors[:0])).rows) == 0
    with pytest.raises(InputError, match="between 0 and 1"):
        EmbeddingDuplicates(similarity=1.0)
    with pytest.raises(InputError, match="put the step `encode` before"):
        EmbeddingDuplicates().decide(table(vectors).set_column(2, "vector", pa.nulls(5, pa.binary())))
