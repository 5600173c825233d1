"""Pairs of vectors above a cosine: in bands of random hyperplanes, out of core, and in steps as sources arrive.

A vector's signature is the sides of random hyperplanes that it lies on; two vectors at angle a lie on different sides
of one with probability a / pi (Charikar 2002). Signatures are cut into bands, and pairs that agree in a band are
compared: first by the bits of their signatures, then by their cosine, so that nothing is found that is not there.

Whether a pair is found depends on its two vectors alone: planes are drawn from a fixed seed, a band is not cut short,
and sides are computed in whole numbers, whose sums are the same in any order. So adding in steps equals adding at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from chorograph.curation.steps.bands import meetings, share_of
from chorograph.curation.steps.near_hashes import AT_ONCE
from chorograph.ground.arrays import Hashes, Indices
from chorograph.ground.files import atomic_path, read_json, write_json

HalfVectors = NDArray[np.float16]
#: How likely a pair at the very threshold agrees in a band, and how likely it agrees in none; nearer pairs do sooner.
_AGREE, _MISSED = 0.1, 1e-3
#: Bits of two signatures that are compared before the vectors are, and the deviations that a pair may be off by there.
_SIGNATURE, _DEVIATIONS = 256, 4
#: Unit vectors and planes as whole numbers: any sum of their products stays below 2**24, where float32 is exact.
_UNIT, _PLANE = 16384, 8
_CHUNK = 4096
_PAIRS = 2**18
_KEYS = 4_000_000
_SEED = 20240213


@dataclass(frozen=True)
class Bands:
    """How signatures are cut for a cosine: `number` bands of `bits`, and how far two signatures may be apart."""

    bits: int
    number: int
    checked: int  # bands whose bits are compared before vectors are
    apart: int

    @classmethod
    def of(cls, similarity: float) -> Bands:
        """Return the cut that misses a thousandth of pairs at `similarity`, and less of nearer ones."""
        side = np.arccos(similarity) / np.pi
        bits = int(np.clip(np.log(_AGREE) / np.log1p(-side), 1, 64))
        number = int(np.ceil(np.log(_MISSED) / np.log1p(-((1 - side) ** bits))))
        checked = min(number, -(-_SIGNATURE // bits))
        mean, deviation = bits * checked * side, np.sqrt(bits * checked * side * (1 - side))
        return cls(bits, number, checked, int(mean + _DEVIATIONS * deviation) + 1)

    def planes(self, dim: int) -> NDArray[np.float32]:
        """Return (dim, number * bits) whole numbers: the same ones whenever and wherever they are drawn."""
        drawn = np.random.default_rng(_SEED).standard_normal((self.number * self.bits, dim), dtype=np.float32)
        return np.ascontiguousarray(np.rint(_PLANE * drawn).T)

    def keys(self, vectors: HalfVectors, planes: NDArray[np.float32]) -> Hashes:
        """Return (n, number) keys: the sides of each band as one number."""
        wide = vectors.astype(np.float32)
        whole = np.rint(_UNIT * wide / np.linalg.norm(wide.astype(np.float64), axis=1, keepdims=True))
        sides = (whole.astype(np.float32) @ planes > 0).reshape(len(vectors), self.number, self.bits)
        packed = np.zeros((len(vectors), self.number, 8), dtype=np.uint8)
        eighths = np.packbits(sides, axis=2, bitorder="little")
        packed[:, :, : eighths.shape[2]] = eighths
        return packed.view("<u8")[:, :, 0].astype(np.uint64)


def cosines(vectors: HalfVectors, one: Indices, other: Indices) -> NDArray[np.float64]:
    """Return the cosine of each pair of rows; `vectors` may be mapped from a file."""
    found = np.empty(len(one))
    for start in range(0, len(one), _CHUNK):
        a, b = (vectors[places[start : start + _CHUNK]].astype(np.float64) for places in (one, other))
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        found[start : start + _CHUNK] = np.einsum("nd,nd->n", a, b) / lengths
    return found


def digests(vectors: HalfVectors) -> Hashes:
    """Return a 64-bit digest of each vector; 0 for one without a direction, which is like nothing."""
    directed = np.logical_and(np.isfinite(vectors).all(axis=1), vectors.any(axis=1))
    made = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() if good else bytes(8)
            for row, good in zip(vectors, directed, strict=True)]  # fmt: skip
    return np.frombuffer(b"".join(made), dtype="<u8").astype(np.uint64)


@dataclass(frozen=True)
class VectorIndex:
    """Distinct vectors seen so far and all like pairs among them, in a folder; adding in steps equals adding at once.

    Files only grow, and `index.json` says how far they count: what a run that was killed wrote beyond is written over.
    What is held at a time is the vectors that are added, and a few numbers a vector of all.
    """

    folder: Path
    similarity: float
    dim: int

    @cached_property
    def bands(self) -> Bands:
        """How signatures are cut."""
        return Bands.of(self.similarity)

    def add(self, vectors: HalfVectors) -> Hashes:
        """Take up (n, dim) vectors, those that are new; returns the digests of all."""
        made = digests(vectors)
        values, first = np.unique(made, return_index=True)
        fresh = first[(values != 0) & ~np.isin(values, self._column("digests"))]
        if len(fresh):
            self._append(vectors[fresh], made[fresh])
        return made

    def pairs(self) -> NDArray[np.uint64]:
        """Return all like pairs as (n, 2) digests, sorted; those with a vector that is new are looked for now."""
        about = self._about()
        if about["compared"] < about["rows"]:
            found = np.sort(self._column("digests")[self._like_pairs(about["rows"], about["compared"])], axis=1)
            together = np.concatenate([self._pairs(about), found.reshape(-1, 2)])
            together = together[np.lexsort((together[:, 1], together[:, 0]))]
            about = {**about, "compared": about["rows"], "pairs": f"pairs-{about['rows']}.npy"}
            with atomic_path(self.folder / about["pairs"]) as temporary:
                np.save(temporary, together)
            write_json(self.folder / "index.json", about)
            for path in self.folder.glob("pairs-*.npy"):
                if path.name != about["pairs"]:
                    path.unlink()
        return self._pairs(about)

    def cosines(self, one: Hashes, other: Hashes) -> NDArray[np.float64]:
        """Return the cosines of vectors by their digests."""
        known = self._column("digests")
        order = np.argsort(known)
        places = [order[np.searchsorted(known, wanted, sorter=order)] for wanted in (one, other)]
        return cosines(self._column("vectors"), *places)

    def _like_pairs(self, rows: int, compared: int) -> Indices:
        """Return like pairs of positions, of which at least one is `compared` or later."""
        bands = self.bands
        signatures = self._signatures(rows)
        found = np.empty(0, dtype=np.int64)
        shares = max(1, -(-rows // AT_ONCE))
        for number in range(bands.number):
            band = self._column(f"band-{number}")
            fresh = np.unique(band[compared:]).astype(np.uint64) if compared else None
            for share in range(shares):
                parts = (band[start : start + _KEYS].astype(np.uint64) for start in range(0, rows, _KEYS))
                places, keys = share_of(parts, fresh, share, shares)
                met = [found]
                for one, other in meetings(keys):
                    pairs = np.sort(np.stack([places[one], places[other]], axis=1), axis=1)
                    met += [_one_number(part, rows) for part in self._near(pairs[pairs[:, 1] >= compared], signatures)]
                found = np.unique(np.concatenate(met))
        pairs = np.stack(np.divmod(found, rows), axis=1)
        return pairs[cosines(self._column("vectors"), pairs[:, 0], pairs[:, 1]) >= self.similarity]

    def _signatures(self, rows: int) -> Hashes:
        """Return (rows, words): the first bands of each vector side by side, so that they are read together."""
        columns = [self._column(f"band-{number}") for number in range(self.bands.checked)]
        narrow = 8 // columns[0].itemsize
        words = np.zeros((rows, -(-len(columns) // narrow) * narrow), dtype=columns[0].dtype)
        for number, column in enumerate(columns):
            words[:, number] = column
        return words.view(np.uint64)

    def _near(self, pairs: Indices, signatures: Hashes) -> Iterator[Indices]:
        """Yield the pairs whose signatures are near enough, some at a time."""
        for start in range(0, len(pairs), _PAIRS):
            part = pairs[start : start + _PAIRS]
            one, other = (signatures.take(part[:, side], axis=0) for side in (0, 1))
            apart = np.einsum("nw->n", np.bitwise_count(one ^ other), dtype=np.int64)
            yield part[apart <= self.bands.apart]

    def _append(self, vectors: HalfVectors, made: Hashes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        about, planes = self._about(), self.bands.planes(self.dim)
        with ExitStack() as stack:
            files = {name: stack.enter_context(self._end_of(name, about["rows"])) for name in self._types()}
            for start in range(0, len(vectors), _CHUNK):
                part = slice(start, start + _CHUNK)
                keys = self.bands.keys(vectors[part], planes)
                columns = {f"band-{number}": keys[:, number] for number in range(self.bands.number)}
                for name, column in {"vectors": vectors[part], "digests": made[part], **columns}.items():
                    files[name].write(np.ascontiguousarray(column, dtype=self._types()[name]).tobytes())
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())
        write_json(self.folder / "index.json", {**about, "rows": about["rows"] + len(vectors)})

    def _end_of(self, name: str, rows: int) -> BinaryIO:
        """Open a column where what counts of it ends."""
        path = self.folder / name
        path.touch()
        file = path.open("r+b")
        file.truncate(rows * self._row_bytes(name))
        file.seek(0, os.SEEK_END)
        return file

    def _types(self) -> dict[str, type[np.number[Any]]]:
        key = np.uint32 if self.bands.bits <= 32 else np.uint64
        bands = {f"band-{number}": key for number in range(self.bands.number)}
        return {"vectors": np.float16, "digests": np.uint64, **bands}

    def _row_bytes(self, name: str) -> int:
        return np.dtype(self._types()[name]).itemsize * (self.dim if name == "vectors" else 1)

    def _column(self, name: str) -> NDArray[Any]:
        """Return a column, mapped from its file."""
        rows = self._about()["rows"]
        shape = (rows, self.dim) if name == "vectors" else (rows,)
        if not rows:
            return np.empty(shape, dtype=self._types()[name])
        return np.asarray(np.memmap(self.folder / name, self._types()[name], mode="r", shape=shape))

    def _about(self) -> dict[str, Any]:
        path = self.folder / "index.json"
        return read_json(path) if path.is_file() else {"rows": 0, "compared": 0, "pairs": None}

    def _pairs(self, about: dict[str, Any]) -> NDArray[np.uint64]:
        if about["pairs"] is None:
            return np.empty((0, 2), dtype=np.uint64)
        loaded: NDArray[np.uint64] = np.load(self.folder / about["pairs"], allow_pickle=False)
        return loaded


def _one_number(pairs: Indices, rows: int) -> Indices:
    """Return each pair as one number, which sorts and compares faster."""
    return pairs[:, 0] * rows + pairs[:, 1]
