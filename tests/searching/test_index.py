"""The nearest vectors: exactly, and by LanceDB's index on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from chorograph.ground.claims import claim
from chorograph.searching import index
from chorograph.searching.index import ExactIndex, IndexedLater, LanceIndex, best_rows, open_index, unit_rows

Vectors = NDArray[np.float32]


@pytest.fixture(scope="module")
def vectors() -> Vectors:
    """Heaps of vectors, as images have them: 6,000 around 60 centres."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((60, 32))
    return (centres[rng.integers(60, size=6000)] + 0.5 * rng.standard_normal((6000, 32))).astype(np.float32)


@pytest.fixture(scope="module")
def lance(vectors: Vectors, tmp_path_factory: pytest.TempPathFactory) -> tuple[LanceIndex, Path]:
    pytest.importorskip("lancedb", reason="chorograph[serve] is not installed")
    folder = tmp_path_factory.mktemp("lance")
    return LanceIndex.build(ExactIndex(vectors), folder), folder


def nearest(vectors: Vectors, query: Vectors, k: int, allowed: NDArray[np.bool_] | None = None) -> list[int]:
    """Return the rows of the k largest cosines, the plain way."""
    cosine = (vectors @ query) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    if allowed is not None:
        cosine[~allowed] = -np.inf
    return [int(row) for row in np.argsort(-cosine, kind="stable")[:k]]


def test_exact_search_is_the_plain_one(vectors: Vectors) -> None:
    allowed = np.arange(len(vectors)) % 3 == 0
    for query in vectors[:5] + 0.1:
        rows, cosines = ExactIndex(vectors).search(query, 10)
        assert rows.tolist() == nearest(vectors, query, 10)
        assert cosines[0] == pytest.approx(np.dot(vectors[rows[0]], query) / np.linalg.norm(vectors[rows[0]])
                                           / np.linalg.norm(query), abs=1e-5)  # fmt: skip
        assert ExactIndex(vectors).search(query, 10, allowed)[0].tolist() == nearest(vectors, query, 10, allowed)
    assert ExactIndex(vectors).search(vectors[0], 5, np.zeros(len(vectors), bool))[0].size == 0


def test_equal_scores_come_in_the_order_of_rows() -> None:
    assert best_rows(np.array([1.0, 3.0, 3.0, -np.inf, 3.0]), 2).tolist() == [1, 2]
    assert best_rows(np.array([1.0, -np.inf]), 5).tolist() == [0]
    unit = unit_rows(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32))
    np.testing.assert_allclose(unit, [[0.6, 0.8], [0, 0]], rtol=1e-6)


def test_the_index_on_disk_finds_nearly_all_and_only_what_is_allowed(
    vectors: Vectors, lance: tuple[LanceIndex, Path]
) -> None:
    asked = vectors[::300] + 0.05
    found = [set(lance[0].search(query, 10)[0].tolist()) for query in asked]
    hits = [len(rows & set(nearest(vectors, query, 10))) / 10 for rows, query in zip(found, asked, strict=True)]
    assert np.mean(hits) >= 0.95
    allowed = np.zeros(len(vectors), dtype=bool)
    allowed[::7] = True
    for query in asked[:5]:
        rows, cosines = lance[0].search(query, 10, allowed)
        assert allowed[rows].all()
        assert (np.diff(cosines) <= 1e-6).all()
        assert len(set(rows.tolist()) & set(nearest(vectors, query, 10, allowed))) >= 9
    assert lance[0].search(vectors[0], 5, np.zeros(len(vectors), bool))[0].size == 0


def test_an_index_is_taken_up_again_and_other_vectors_get_their_own(
    vectors: Vectors, lance: tuple[LanceIndex, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = lance[1]
    made = sorted(folder.iterdir())
    assert len(made) == 1
    assert "draft" not in made[0].name
    monkeypatch.setattr("chorograph.searching.index.claim", lambda *_: pytest.fail("it was built once more"))
    LanceIndex.build(ExactIndex(vectors), folder)
    monkeypatch.undo()
    LanceIndex.build(ExactIndex(vectors[:500]), folder)
    assert len(list(folder.iterdir())) == 2


def test_from_a_million_vectors_on_an_index_answers(
    vectors: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert index.EXACT_BELOW == 1_000_000
    assert isinstance(open_index(vectors, tmp_path), ExactIndex)
    monkeypatch.setattr("chorograph.searching.index.EXACT_BELOW", 1000)
    assert isinstance(open_index(vectors, None), ExactIndex)
    built = open_index(vectors, tmp_path)
    assert isinstance(built, IndexedLater)
    # The first answer does not wait for the index.
    assert built.search(vectors[17], 1)[0].tolist() == [17]
    built.building.join(120)
    assert isinstance(built._index, LanceIndex)
    assert built.search(vectors[17], 1)[0].tolist() == [17]


def test_an_index_that_another_server_builds_is_not_built_twice(
    vectors: Vectors, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("lancedb", reason="chorograph[serve] is not installed")
    LanceIndex.build(ExactIndex(vectors), tmp_path / "first")
    name = next((tmp_path / "first").iterdir()).name
    with claim(tmp_path / "second" / name, "an index of vectors"):
        later = IndexedLater(vectors, tmp_path / "second")
        later.building.join(120)
        assert "is being written by an index of vectors, process" in caplog.text
        assert later.search(vectors[17], 1)[0].tolist() == [17]
    assert not (tmp_path / "second" / name).exists()
