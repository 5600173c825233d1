"""The nearest of many vectors: exact below a million, an index on disk (LanceDB) beyond."""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Vectors
from chorograph.ground.claims import claim
from chorograph.ground.errors import MissingExtraError

_log = logging.getLogger(__name__)

#: From this many vectors on an index answers.
EXACT_BELOW = 1_000_000
#: Rows whose similarity is computed at a time: their products stay small beside the vectors.
_BLOCK = 262_144
_TABLE = "vectors"
#: One partition for so many vectors; so many of them are looked through, and for each row wanted so many candidates are
#: compared exactly.
_PARTITION = 4096
_PROBED = 16
_CANDIDATES = 4


class VectorIndex(Protocol):
    """Finds rows by the cosine of their vectors to a query."""

    def search(
        self, query: Vectors, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], Vectors]:
        """Return the rows of the k most similar vectors among the `allowed` (n,), and their cosines, best first."""


class ExactIndex:
    """Compares a query with every vector."""

    def __init__(self, vectors: Vectors) -> None:
        self.vectors = unit_rows(vectors)

    def similarities(self, query: Vectors) -> Vectors:
        """Return the cosine of the query (dim,) to each vector (n,)."""
        return np.asarray(self.vectors @ unit_rows(query[None])[0], dtype=np.float32)

    def search(
        self, query: Vectors, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], Vectors]:
        """See `VectorIndex`."""
        similarity = self.similarities(query)
        if allowed is not None:
            similarity = np.where(allowed, similarity, -np.inf)
        rows = best_rows(similarity, k)
        return rows, similarity[rows]


class LanceIndex:
    """Vectors with an approximate index in a LanceDB table: answers in milliseconds, not always the very nearest.

    The table names candidates by 8-bit copies of the vectors; these are compared exactly, with the vectors in memory.
    """

    def __init__(self, table: Any, exact: ExactIndex) -> None:
        self._table, self._exact = table, exact

    @classmethod
    def build(cls, exact: ExactIndex, folder: Path) -> LanceIndex:
        """Return the index in `folder` of the vectors of `exact`, from before where it was made of the same ones.

        `MissingExtraError` without LanceDB, `OutputError` while another process builds it.
        """
        try:
            import lancedb
            import pyarrow as pa
            from lancedb.index import IvfSq
        except ImportError as error:
            raise MissingExtraError.of("serve", error) from error
        vectors = exact.vectors
        name = f"{_TABLE}-{_digest(vectors)}"
        database = lancedb.connect(folder)
        try:
            return cls(database.open_table(name), exact)
        except (ValueError, FileNotFoundError):
            pass

        def batches() -> Any:
            for start in range(0, len(vectors), _BLOCK):
                part = vectors[start : start + _BLOCK]
                flat = pa.array(part.reshape(-1), type=pa.float32())
                rows = pa.array(np.arange(start, start + len(part)))
                lists = pa.FixedSizeListArray.from_arrays(flat, part.shape[1])
                yield pa.record_batch([rows, lists], names=["row", "vector"])

        schema = pa.schema([("row", pa.int64()), ("vector", pa.list_(pa.float32(), vectors.shape[1]))])
        draft = f"{name}-draft"
        with claim(Path(folder, f"{name}.lance"), "an index of vectors"):
            table = database.create_table(draft, data=batches(), schema=schema, mode="overwrite")
            partitions = max(1, len(vectors) // _PARTITION)
            table.create_index("vector", config=IvfSq(distance_type="cosine", num_partitions=partitions))
            # Named last, so that a build that was killed is not taken for a whole one.
            Path(folder, f"{draft}.lance").rename(Path(folder, f"{name}.lance"))
        return cls(database.open_table(name), exact)

    def search(
        self, query: Vectors, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], Vectors]:
        """See `VectorIndex`; what is narrowed is compared in full, as the table is slower at many numbers of rows."""
        if allowed is not None:
            return self._exact.search(query, k, allowed)
        unit = unit_rows(query[None])[0]
        found = self._table.search(unit).metric("cosine").nprobes(_PROBED).limit(k * _CANDIDATES)
        rows = np.sort(np.asarray(found.select(["row", "_distance"]).to_arrow()["row"], dtype=np.int64))
        similarity = self._exact.vectors[rows] @ unit
        best = best_rows(similarity, k)
        return rows[best], similarity[best]


class IndexedLater:
    """Compares a query with every vector until the index on disk is built, in a thread of its own; then that answers.

    So nobody waits minutes for a first answer. Where the index cannot be built the reason is logged, and answers stay
    exact.
    """

    def __init__(self, vectors: Vectors, folder: Path) -> None:
        self._index: VectorIndex = ExactIndex(vectors)
        self.building = threading.Thread(target=self._build, args=(self._index, folder), daemon=True)
        self.building.start()

    def search(
        self, query: Vectors, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.int64], Vectors]:
        """See `VectorIndex`."""
        return self._index.search(query, k, allowed)

    def _build(self, exact: ExactIndex, folder: Path) -> None:
        try:
            self._index = LanceIndex.build(exact, folder)
        except Exception as error:  # LanceDB has errors of many kinds; searches do without
            _log.warning("%s: no index of vectors was built, searches compare all of them: %s", folder, error)


def open_index(vectors: Vectors, folder: Path | None) -> VectorIndex:
    """Return an exact index; for a million vectors and more, one that is built in `folder` meanwhile."""
    if len(vectors) < EXACT_BELOW or folder is None:
        return ExactIndex(vectors)
    return IndexedLater(vectors, folder)


def best_rows(scores: NDArray[Any], k: int) -> NDArray[np.int64]:
    """Return the rows of the k highest finite scores, best first; of equal ones the first row comes first."""
    k = min(k, int(np.isfinite(scores).sum()))
    if k == 0:
        return np.empty(0, dtype=np.int64)
    kept = np.argpartition(-scores, k - 1)[:k]
    # Ties at the border are settled by row, whatever the partition took.
    lowest = scores[kept].min()
    rows = np.flatnonzero(scores >= lowest)
    return rows[np.argsort(-scores[rows], kind="stable")][:k].astype(np.int64)


def unit_rows(vectors: Vectors) -> Vectors:
    """Return vectors (n, dim) at unit length; a zero vector stays one. Already unit ones are not copied."""
    length = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    if np.allclose(length, 1, atol=1e-4):
        return vectors
    return np.asarray(vectors / np.where(length > 0, length, 1)[:, None], dtype=np.float32)


def _digest(vectors: Vectors) -> str:
    digest = hashlib.sha256(str(vectors.shape).encode())
    digest.update(np.ascontiguousarray(vectors).data)
    return digest.hexdigest()[:16]
