"""The order of an epoch: pure functions of row numbers, so that there is nothing to keep for a resume.

Nothing here knows how the rows lie in files or shards, how many workers read them or how many ranks share them: a
folder and its tar copy, one worker and twenty, give one order.
"""

from __future__ import annotations

import numpy as np

from chorograph.ground.arrays import Indices

#: Rows that lie side by side and are read at about the same time: some 50 MB of a shard.
BLOCK = 1024
#: Blocks that are interleaved: what shuffling reaches over.
OPEN_BLOCKS = 16


def epoch_order(rows: int, seed: int, epoch: int, *, block: int = BLOCK, open_blocks: int = OPEN_BLOCKS) -> Indices:
    """Return the rows 0 to `rows` - 1 in the order of an epoch, each once.

    Blocks of neighbouring rows come in random order; `open_blocks` of them at a time are interleaved at random. Reading
    thus stays inside some 16,000 rows, which disks, networks and the system's cache reward, and `open_blocks` shards
    mix. With no more rows than that the order is a uniform permutation. Nothing is buffered.
    """
    rng = np.random.default_rng((seed, epoch, 1))
    if rows <= block * open_blocks:
        return rng.permutation(rows).astype(np.int64)
    starts = rng.permutation(-(-rows // block)).astype(np.int64) * block
    order = np.empty(rows, dtype=np.int64)
    filled = 0
    for first in range(0, len(starts), open_blocks):
        window = (starts[first : first + open_blocks, None] + np.arange(block)).ravel()
        window = rng.permutation(window[window < rows])
        order[filled : filled + len(window)] = window
        filled += len(window)
    return order


def global_batches(order: Indices, batch_size: int) -> list[Indices]:
    """Part an order into the batches of all ranks together, sizes differing by one at most: every row once."""
    return np.array_split(order, -(-len(order) // batch_size))


def rank_share(batch: Indices, rank: int, world: int) -> Indices:
    """Return the rows of a batch that one of `world` ranks takes, sizes differing by one at most."""
    return np.array_split(batch, world)[rank]
