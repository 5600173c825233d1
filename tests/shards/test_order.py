from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorograph.shards.order import epoch_order, global_batches, rank_share


@settings(max_examples=80, deadline=None)
@given(
    rows=st.integers(1, 3000),
    seed=st.integers(0, 2**32),
    epoch=st.integers(0, 100),
    block=st.integers(1, 64),
    open_blocks=st.integers(1, 9),
)
def test_every_row_comes_once(rows: int, seed: int, epoch: int, block: int, open_blocks: int) -> None:
    order = epoch_order(rows, seed, epoch, block=block, open_blocks=open_blocks)
    np.testing.assert_array_equal(np.sort(order), np.arange(rows))
    np.testing.assert_array_equal(order, epoch_order(rows, seed, epoch, block=block, open_blocks=open_blocks))


def test_seeds_and_epochs_differ() -> None:
    first = epoch_order(5000, 0, 0)
    assert not np.array_equal(first, epoch_order(5000, 0, 1))
    assert not np.array_equal(first, epoch_order(5000, 1, 0))


def test_reading_stays_inside_a_few_blocks() -> None:
    order = epoch_order(100_000, 3, 0, block=100, open_blocks=8)
    windows = order.reshape(-1, 800)
    assert max(len(np.unique(window // 100)) for window in windows) == 8
    # Inside a window neighbours are mixed: hardly a row comes right after the one beside it.
    assert (np.diff(order) == 1).mean() < 0.01


@settings(max_examples=80, deadline=None)
@given(rows=st.integers(1, 500), batch=st.integers(1, 70), world=st.integers(1, 9))
def test_ranks_share_each_batch_and_nothing_is_lost(rows: int, batch: int, world: int) -> None:
    order = epoch_order(rows, 0, 0)
    batches = global_batches(order, batch)
    assert max(map(len, batches)) - min(map(len, batches)) <= 1
    assert max(map(len, batches)) <= batch
    shared = [np.concatenate([rank_share(part, rank, world) for rank in range(world)]) for part in batches]
    np.testing.assert_array_equal(np.concatenate(shared), order)


def test_small_data_is_shuffled_uniformly() -> None:
    first = np.array([epoch_order(4, 0, epoch)[0] for epoch in range(2000)])
    assert np.bincount(first, minlength=4) == pytest.approx(500, abs=90)
