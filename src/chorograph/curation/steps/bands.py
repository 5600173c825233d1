"""Rows that agree in a band: how near hashes and like vectors meet without all being compared with all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from chorograph.ground.arrays import Hashes, Indices

_MIX = np.uint64(0x9E3779B97F4A7C15)


def share_of(parts: Iterable[Hashes], fresh: Hashes | None, share: int, shares: int) -> tuple[Indices, Hashes]:
    """Return places and keys of one of `shares` of the keys, sorted by key; keys come in parts, so few are held.

    With `fresh` (sorted), only of keys that are among them: those that something new could meet.
    """
    places, keys, start = [np.empty(0, np.int64)], [np.empty(0, np.uint64)], 0
    for part in parts:
        wanted = np.ones(len(part), dtype=bool)
        if shares > 1:
            wanted &= ((part * _MIX) >> np.uint64(40)) % np.uint64(shares) == share
        if fresh is not None:
            at = np.minimum(np.searchsorted(fresh, part), max(len(fresh) - 1, 0))
            wanted &= (fresh[at] == part) if len(fresh) else False
        chosen = np.flatnonzero(wanted)
        places.append(chosen + start)
        keys.append(part[chosen])
        start += len(part)
    joined, together = np.concatenate(places), np.concatenate(keys)
    order = np.argsort(together)
    return joined[order], together[order]


def meetings(keys: Hashes) -> Iterator[tuple[Indices, Indices]]:
    """Yield places of equal ones among sorted keys: each with the next one, then with the one after, and so on."""
    alive, step = np.arange(len(keys)), 0
    while True:
        step += 1
        alive = alive[alive + step < len(keys)]
        alive = alive[keys[alive] == keys[alive + step]]
        if not len(alive):
            return
        yield alive, alive + step
