"""All pairs of 64-bit hashes within a distance: complete, out of core, and in steps as sources arrive.

Hashes are cut into bands of bits. Two that differ in `distance` bits differ in at most that many bands, so they agree
in all the others: sorting by every choice of the bands that must agree brings each pair together at least once
(Manku, Jain, Das Sarma 2007). More bands mean longer keys and fewer chance meetings, but more sorts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorograph.curation.steps.bands import meetings, share_of
from chorograph.ground.arrays import Hashes, Indices
from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path, naming_damage, read_json, within, write_json

#: Hashes that are sorted at once; more are gone through in shares, a share of the keys at a time.
AT_ONCE = 16_000_000
_CHUNK = 4_000_000


def band_masks(distance: int, rows: int) -> list[np.uint64]:
    """Return the masks of bits that must agree: together they miss no pair within `distance` bits.

    The number of bands is the one that should cost least for `rows` random hashes: sorts, and chance meetings.
    """

    def cost(bands: int) -> float:
        agreeing = 64 * (bands - distance) / bands
        return float(comb(bands, distance) * (20 * rows + 0.5 * rows**2 * 2.0**-agreeing))

    if not 0 <= distance <= 16:
        raise InputError(f"hashes are compared within 0 to 16 of their 64 bits, not {distance}")
    bands = min(range(distance + 1, distance + 5), key=cost)
    edges = np.linspace(0, 64, bands + 1).astype(int)
    widths = [(1 << int(high)) - (1 << int(low)) for low, high in pairwise(edges)]
    return [np.uint64(sum(chosen)) for chosen in combinations(widths, bands - distance)]


def near_pairs(hashes: Hashes, distance: int, new: NDArray[np.bool_] | None = None, at_once: int = AT_ONCE) -> Indices:
    """Return every pair (i < j) of positions whose distinct hashes differ in at most `distance` bits, sorted.

    `hashes` may be mapped from a file: at most about `at_once` of them are held at a time. With `new`, only pairs with
    at least one new hash are looked for.
    """
    found = [np.empty((0, 2), dtype=np.int64)]
    shares = max(1, -(-len(hashes) // at_once))
    for mask in band_masks(distance, len(hashes)):
        fresh = None if new is None else np.unique(np.asarray(hashes[new]) & mask)
        for share in range(shares):
            parts = (np.asarray(hashes[start : start + _CHUNK]) & mask for start in range(0, len(hashes), _CHUNK))
            positions, keys = share_of(parts, fresh, share, shares)
            values = np.asarray(hashes[positions]) if len(positions) < len(hashes) else np.asarray(hashes)[positions]
            for one, other in meetings(keys):
                near = np.bitwise_count(values[one] ^ values[other]) <= distance
                pairs = np.stack([positions[one[near]], positions[other[near]]], axis=1)
                if new is not None:
                    pairs = pairs[new[pairs].any(axis=1)]
                found.append(np.sort(pairs, axis=1))
    together = np.concatenate(found)
    return np.unique(together, axis=0) if len(together) else together


_INDEX = {"distance": int, "generation": int, "hashes": str, "pairs": str}


@dataclass(frozen=True)
class HashIndex:
    """Distinct hashes seen so far and all near pairs among them, in a folder; adding in steps equals adding at once."""

    folder: Path
    distance: int = 4

    def read(self) -> tuple[Hashes, NDArray[np.uint64]]:
        """Return the distinct hashes, sorted, and the near pairs as (n, 2) hashes; both mapped from their files."""
        described = self.folder / "index.json"
        if not described.is_file():
            return np.empty(0, np.uint64), np.empty((0, 2), np.uint64)
        content = read_json(described, _INDEX)
        if content["distance"] != self.distance:
            raise InputError(
                f"{self.folder} holds pairs within {content['distance']} bits, not {self.distance}; remove it"
            )
        return self._load(content["hashes"]), self._load(content["pairs"])

    def add(self, hashes: Hashes) -> int:
        """Take up hashes (0 stands for no contrast, and is left out); returns how many were new."""
        old, old_pairs = self.read()
        fresh = np.unique(hashes[hashes != 0])
        if len(old) and len(fresh):
            at = np.minimum(np.searchsorted(old, fresh), len(old) - 1)
            fresh = fresh[old[at] != fresh]
        if not len(fresh):
            return 0
        places = np.searchsorted(old, fresh)
        merged = np.insert(old, places, fresh)
        new = np.zeros(len(merged), dtype=bool)
        new[places + np.arange(len(fresh))] = True
        pairs = merged[near_pairs(merged, self.distance, new if len(old) else None)]
        pairs = np.concatenate([old_pairs, pairs])
        pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
        # Both files are written under new names; the index that names them is replaced last.
        generation = read_json(self.folder / "index.json", _INDEX)["generation"] + 1 if len(old) else 1
        names = {"hashes": f"hashes-{generation}.npy", "pairs": f"pairs-{generation}.npy"}
        for name, array in (("hashes", merged), ("pairs", pairs)):
            with atomic_path(self.folder / names[name]) as temporary:
                np.save(temporary, array)
        write_json(self.folder / "index.json", {"distance": self.distance, "generation": generation, **names})
        for path in self._stale(names):
            path.unlink(missing_ok=True)
        return len(fresh)

    def _load(self, name: str) -> NDArray[np.uint64]:
        path = within(self.folder, name)
        with naming_damage(path, "near pairs", "remove its folder, and they are made anew"):
            loaded: NDArray[np.uint64] = np.load(path, mmap_mode="r", allow_pickle=False)
        return loaded

    def _stale(self, names: dict[str, str]) -> Iterator[Path]:
        return (path for path in self.folder.glob("*.npy") if path.name not in names.values())
