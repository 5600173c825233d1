"""Duplicates by URL, bytes, perceptual hash and embedding; which of them stays is decided by source."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit, urlunsplit

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from chorograph.curation.rows import Decision
from chorograph.curation.steps.near_hashes import HashIndex, near_pairs
from chorograph.curation.steps.neighbours import VectorIndex
from chorograph.ground.arrays import Indices
from chorograph.ground.errors import InputError

_PORTS = {"http": ":80", "https": ":443"}
#: Metres of a degree of latitude.
_DEGREE_M = 111_320.0


@dataclass(frozen=True)
class Priority:
    """Which of several duplicates stays: sources of `keep` before others, sources of `discard` last.

    Within the same rank the choice is by a hash of key and seed: random, and the same in whatever order rows come.
    """

    keep: tuple[str, ...] = ("laion2b", "laion400m", "coyo700m")
    discard: tuple[str, ...] = ("laioncoco",)
    seed: int = 0

    def order(self, sources: Sequence[str], keys: NDArray[np.uint64]) -> Indices:
        """Return positions, first the row that stays before all others."""
        rank = np.array([0 if name in self.keep else 2 if name in self.discard else 1 for name in sources], dtype=int)
        return np.lexsort((keys, _mix(keys, self.seed), rank))


def normalised_url(url: str) -> str:
    """Return a URL without what does not change the picture: case of scheme and host, default port, fragment."""
    try:
        parts = urlsplit(url.strip())
    except ValueError:
        return url.strip()
    scheme, host = parts.scheme.lower(), parts.netloc.lower()
    host = host.removesuffix(_PORTS.get(scheme, "\0"))
    return urlunsplit((scheme, host, parts.path or "/", parts.query, ""))


def first_of_each(groups: NDArray[np.int64], order: Indices) -> Indices:
    """Return, for each row, the position of the row of its group that comes first in `order`; group -1 is no group."""
    _, first, inverse = np.unique(groups[order], return_index=True, return_inverse=True)
    stays = np.empty(len(groups), dtype=np.int64)
    stays[order] = order[first[inverse]]
    return np.where(groups < 0, np.arange(len(groups)), stays)


def choose(
    labels: NDArray[np.int64], pairs: NDArray[np.int64], order: Indices, footprint: Footprint | None, component: bool
) -> Indices:
    """Return, for each row, the position of the row that stays for it (itself where it stays).

    Rows with one label are duplicates of each other (-1: of none), and so are rows whose labels are a pair. Going
    through `order`, a row stays unless one like it has stayed; with `component`, unless one of its connected
    component has, as published. Rows whose footprints tell them apart never stand for each other.
    """
    number = int(labels.max(initial=-1)) + 1
    if number == 0:
        return np.arange(len(labels))
    links = coo_array((np.ones(len(pairs), dtype=bool), (pairs[:, 0], pairs[:, 1])), shape=(number, number))
    if component:
        _, groups = connected_components(links, directed=False)
        labels = np.where(labels < 0, -1, groups[labels])
        beside = coo_array((number, number), dtype=bool).tocsr()
    else:
        beside = (links + links.T).tocsr()
    if footprint is None and component:
        return first_of_each(labels, order)
    stays = np.arange(len(labels))
    number_of = np.bincount(labels[labels >= 0], minlength=number)
    involved = (labels >= 0) & ((number_of[labels] > 1) | (np.diff(beside.indptr)[labels] > 0))
    kept: dict[int, list[int]] = {}
    for row in order[involved[order]].tolist():
        label = int(labels[row])
        around = beside.indices[beside.indptr[label] : beside.indptr[label + 1]].tolist()
        for other in (candidate for near in (label, *around) for candidate in kept.get(near, ())):
            if footprint is None or not footprint.apart(row, other):
                stays[row] = other
                break
        else:
            kept.setdefault(label, []).append(row)
    return stays


@dataclass(frozen=True)
class Footprint:
    """Where and when images were taken, as far as rows say so: the same place on another day is another image."""

    lon: NDArray[np.float64]
    lat: NDArray[np.float64]
    day: Sequence[str | None]
    place_m: float

    @classmethod
    def of(cls, table: pa.Table, place_m: float) -> Footprint:
        """Read lon, lat and captured of a table; a day is the first ten characters of an ISO time."""
        lon, lat = (table[name].to_numpy(zero_copy_only=False).astype(float) for name in ("lon", "lat"))
        return cls(lon, lat, [day[:10] if day else None for day in table["captured"].to_pylist()], place_m)

    def apart(self, row: int, other: int) -> bool:
        """Whether both say where and when, and these differ."""
        if self.day[row] is None or self.day[other] is None:
            return False
        north = (self.lat[row] - self.lat[other]) * _DEGREE_M
        east = (self.lon[row] - self.lon[other]) * _DEGREE_M * np.cos(np.radians(self.lat[row]))
        distance = float(np.hypot(north, east))
        return not np.isnan(distance) and (self.day[row] != self.day[other] or distance > self.place_m)


def _decision(stays: Indices, table: pa.Table, reason: str, scores: NDArray[np.float64] | None = None) -> Decision:
    rows = np.flatnonzero(stays != np.arange(len(stays)))
    keys = table["key"].to_numpy()
    numbers = np.full(len(rows), np.nan) if scores is None else scores
    return Decision(rows, [reason] * len(rows), numbers, keys[stays[rows]])


def _group(values: Iterable[str | None]) -> NDArray[np.int64]:
    """Return a number a distinct value; -1 for none."""
    codes = pa.array(values, type=pa.string()).dictionary_encode().indices
    found: NDArray[np.int64] = codes.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return found


@dataclass(frozen=True)
class UrlDuplicates:
    """Keep one row a URL."""

    name: ClassVar[str] = "url_duplicates"
    columns: ClassVar[tuple[str, ...]] = ("url",)

    priority: Priority = Priority()

    def decide(self, table: pa.Table, store: Path | None = None) -> Decision:
        """Drop rows whose URL another row has that comes first."""
        urls = [None if url is None else normalised_url(url) for url in table["url"].to_pylist()]
        order = self.priority.order(table["source"].to_pylist(), table["key"].to_numpy())
        return _decision(first_of_each(_group(urls), order), table, "same URL")

    def describe(self) -> str:
        """Say what it does."""
        return "one row a URL, by source priority"


@dataclass(frozen=True)
class ByteDuplicates:
    """Keep one row for the same bytes."""

    name: ClassVar[str] = "byte_duplicates"
    columns: ClassVar[tuple[str, ...]] = ("sha256",)

    priority: Priority = Priority()

    def decide(self, table: pa.Table, store: Path | None = None) -> Decision:
        """Drop rows whose image another row has byte for byte."""
        order = self.priority.order(table["source"].to_pylist(), table["key"].to_numpy())
        return _decision(first_of_each(_group(table["sha256"].to_pylist()), order), table, "same bytes")

    def describe(self) -> str:
        """Say what it does."""
        return "one row for the same bytes, by source priority"


@dataclass(frozen=True)
class HashDuplicates:
    """Keep one of images whose perceptual hashes differ in at most `distance` of 64 bits.

    An image without contrast has no hash and is like no other. With `turned`, an image is also near to those that it is
    near to once turned by a quarter or mirrored; `valid_images` must have hashed it so.
    """

    name: ClassVar[str] = "hash_duplicates"
    columns: ClassVar[tuple[str, ...]] = ("phash", "turned", "lon", "lat", "captured")

    distance: int = 4
    turned: bool = False
    component: bool = False
    footprint: bool = True
    place_m: float = 500.0
    priority: Priority = Priority()

    def decide(self, table: pa.Table, store: Path | None = None) -> Decision:
        """Drop images that look like one that stays; the score is the number of bits between them.

        An index in `store` compares only hashes that it has not seen; those of rows that are gone stay in it unused.
        """
        hashes = table["phash"].fill_null(0).to_numpy().astype(np.uint64)
        distinct, labels = _labelled(hashes)
        order = self.priority.order(table["source"].to_pylist(), table["key"].to_numpy())
        footprint = Footprint.of(table, self.place_m) if self.footprint else None
        if self.turned:
            first = np.zeros(len(distinct), dtype=np.int64)
            first[labels[::-1]] = np.arange(len(labels))[::-1]
            pairs = turned_pairs(_unpack_turned(table["turned"].take(pa.array(first)), distinct), self.distance)
        elif store is not None:
            pairs = self._indexed_pairs(distinct, store)
        else:
            pairs = near_pairs(distinct, self.distance)
        stays = choose(labels, pairs, order, footprint, self.component)
        rows = np.flatnonzero(stays != np.arange(len(stays)))
        bits = np.bitwise_count(hashes[rows] ^ hashes[stays[rows]]).astype(float)
        if self.turned and len(rows):
            eight = np.frombuffer(b"".join(table["turned"].take(pa.array(rows)).to_pylist()), np.uint64).reshape(-1, 8)
            bits = np.bitwise_count(eight ^ hashes[stays[rows], None]).min(axis=1).astype(float)
        return _decision(stays, table, "same look", bits)

    def _indexed_pairs(self, distinct: NDArray[np.uint64], store: Path) -> NDArray[np.int64]:
        index = HashIndex(store / f"hashes-{self.distance}", self.distance)
        index.add(distinct)
        return _among(distinct, np.asarray(index.read()[1]))

    def describe(self) -> str:
        """Say what it does."""
        how = "connected component" if self.component else "group"
        turned = ", in any of eight orientations" if self.turned else ""
        dated = "; the same place on another day is no duplicate" if self.footprint else ""
        return f"one image a {how} of hashes within {self.distance} of 64 bits{turned}, by source priority{dated}"


@dataclass(frozen=True)
class EmbeddingDuplicates:
    """Keep one of images whose vectors (step `encode`) have a cosine of at least `similarity`.

    Of pairs at the very threshold about one in a thousand is missed, of nearer ones fewer (`VectorIndex`).
    """

    name: ClassVar[str] = "embedding_duplicates"
    columns: ClassVar[tuple[str, ...]] = ("vector", "lon", "lat", "captured")

    similarity: float = 0.96
    component: bool = False
    footprint: bool = True
    place_m: float = 500.0
    priority: Priority = Priority()

    def __post_init__(self) -> None:
        if not 0 < self.similarity < 1:
            raise InputError("embedding_duplicates: similarity lies between 0 and 1; for equal bytes: byte_duplicates")

    def reduce(self, part: pa.Table, store: Path) -> pa.Table:
        """Put a partition's vectors into the index in `store`, and their digests and width in their place."""
        if part["vector"].null_count:
            raise InputError(
                f"embedding_duplicates: {part['vector'].null_count} rows have no vector; put the step `encode` before"
            )
        vectors = stored_vectors(part["vector"].to_pylist())
        dim = vectors.shape[1]
        made = self._index(store, dim).add(vectors)
        columns = {"digest": pa.array(made, pa.uint64()), "dim": pa.array([dim] * len(made), pa.int64())}
        return pa.table({**dict(zip(part.column_names, part.columns, strict=True)), **columns}).drop(["vector"])

    def decide(self, table: pa.Table, store: Path | None = None) -> Decision:
        """Drop images whose vector is like that of one that stays; the score is the cosine.

        An index in `store` compares only vectors that it has not seen; those of rows that are gone stay in it unused.
        """
        if store is None:
            with tempfile.TemporaryDirectory() as place:
                return self.decide(self.reduce(table, Path(place)), Path(place))
        made = table["digest"].to_numpy()
        distinct, labels = _labelled(made)
        order = self.priority.order(table["source"].to_pylist(), table["key"].to_numpy())
        footprint = Footprint.of(table, self.place_m) if self.footprint else None
        index = self._index(store, table["dim"][0].as_py() if table.num_rows else 1)
        stays = choose(labels, _among(distinct, index.pairs()), order, footprint, self.component)
        rows = np.flatnonzero(stays != np.arange(len(stays)))
        return _decision(stays, table, "same content", index.cosines(made[rows], made[stays[rows]]))

    def _index(self, store: Path, dim: int) -> VectorIndex:
        return VectorIndex(store / f"vectors-{dim}-{self.similarity:g}", self.similarity, dim)

    def describe(self) -> str:
        """Say what it does."""
        how = "connected component" if self.component else "group"
        return f"one image a {how} of vectors with a cosine of {self.similarity} or more, by source priority"


def _labelled(values: NDArray[np.uint64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the distinct values and which of them each row has: -1 for 0, which stands for none."""
    distinct, labels = np.unique(values, return_inverse=True)
    nothing = int(len(distinct) > 0 and distinct[0] == 0)
    return distinct[nothing:], labels.astype(np.int64) - nothing


def _among(distinct: NDArray[np.uint64], pairs: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return pairs of values as positions in `distinct`; those with a value that is not there are left out."""
    if not len(pairs) or not len(distinct):
        return np.empty((0, 2), dtype=np.int64)
    places = np.minimum(np.searchsorted(distinct, pairs), len(distinct) - 1)
    found: NDArray[np.int64] = places[(distinct[places] == pairs).all(axis=1)]
    return found


def turned_pairs(turned: NDArray[np.uint64], distance: int) -> NDArray[np.int64]:
    """Return pairs of rows of (n, 8) hashes, of which one's first is near to one of the other's eight.

    The hashes of all orientations are looked through once, those that are equal are of one value.
    """
    values, inverse = np.unique(turned, return_inverse=True)
    inverse = inverse.reshape(turned.shape)
    upright = np.zeros(len(values), dtype=bool)
    upright[inverse[:, 0]] = True
    near = near_pairs(values, distance, upright)
    same = np.arange(len(values)).repeat(2).reshape(-1, 2)
    owners = pd.DataFrame(
        {"value": inverse.ravel(), "row": np.arange(turned.size) // turned.shape[1]}
    ).drop_duplicates()
    joined = pd.DataFrame(np.concatenate([near, same[upright]]), columns=["one", "other"])
    joined = joined.merge(owners, left_on="one", right_on="value").merge(owners, left_on="other", right_on="value")
    pairs = np.sort(joined[["row_x", "row_y"]].to_numpy(), axis=1)
    found: NDArray[np.int64] = np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)
    return found


def _unpack_turned(packed: pa.ChunkedArray, upright: NDArray[np.uint64]) -> NDArray[np.uint64]:
    if packed.null_count:
        raise InputError("hash_duplicates: turned needs `valid_images: {turned: true}` before it")
    hashes = np.frombuffer(b"".join(packed.to_pylist()), dtype=np.uint64).reshape(len(upright), 8)
    return np.column_stack([upright, hashes[:, 1:]])


def pack_vector(vector: NDArray[np.float32]) -> bytes:
    """Return a vector as float16 bytes: what a partition stores."""
    return vector.astype(np.float16).tobytes()


def stored_vectors(packed: Sequence[bytes]) -> NDArray[np.float16]:
    """Return (n, dim) vectors as they are stored."""
    if not packed:
        return np.empty((0, 1), dtype=np.float16)
    return np.frombuffer(b"".join(packed), dtype=np.float16).reshape(len(packed), -1)


def unpack_vectors(packed: Sequence[bytes]) -> NDArray[np.float32]:
    """Return (n, dim) vectors from their stored bytes."""
    return stored_vectors(packed).astype(np.float32)


def _mix(keys: NDArray[np.uint64], seed: int) -> NDArray[np.uint64]:
    """Return splitmix64 of keys and seed: as good as random, and the same everywhere."""
    z = keys + np.uint64((seed + 1) * 0x9E3779B97F4A7C15 % 2**64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
