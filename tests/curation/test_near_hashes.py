"""Near pairs: every one that brute force finds, in whatever steps hashes come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from chorograph.curation.steps.near_hashes import HashIndex, band_masks, near_pairs
from chorograph.ground.errors import InputError


def brute(hashes: NDArray[np.uint64], distance: int) -> NDArray[np.int64]:
    bits = np.bitwise_count(hashes[:, None] ^ hashes[None])
    return np.stack(np.nonzero(np.triu(bits <= distance, 1)), axis=1)


def made(number: int, seed: int) -> NDArray[np.uint64]:
    """Half at random, half those with up to six bits turned."""
    generator = np.random.default_rng(seed)
    hashes = generator.integers(1, 2**63, number, dtype=np.uint64)
    turned = hashes.copy()
    for _ in range(6):
        turned ^= np.uint64(1) << generator.integers(0, 64, number).astype(np.uint64)
    return np.unique(np.concatenate([hashes, turned]))


@pytest.mark.parametrize("distance", [0, 1, 3, 4, 8])
def test_all_pairs_are_found(distance: int) -> None:
    hashes = made(800, distance)
    assert np.array_equal(near_pairs(hashes, distance), brute(hashes, distance))


@given(st.lists(st.integers(0, 2**64 - 1), unique=True, max_size=40), st.integers(0, 10))
@settings(max_examples=100, deadline=None)
def test_all_pairs_are_found_whatever_the_hashes(values: list[int], distance: int) -> None:
    hashes = np.array(sorted(values), dtype=np.uint64)
    assert near_pairs(hashes, distance).tolist() == brute(hashes, distance).tolist() if len(hashes) else True


def test_hashes_in_shares_and_from_a_file_give_the_same(tmp_path: Path) -> None:
    hashes = made(2000, 5)
    np.save(tmp_path / "hashes.npy", hashes)
    mapped = np.load(tmp_path / "hashes.npy", mmap_mode="r")
    assert np.array_equal(near_pairs(mapped, 4, at_once=300), near_pairs(hashes, 4))


def test_masks_leave_no_way_around() -> None:
    for rows in (10, 10**6, 10**9):
        masks = band_masks(4, rows)
        generator = np.random.default_rng(0)
        for _ in range(200):
            turned = sum(1 << int(bit) for bit in generator.choice(64, 4, replace=False))
            assert any(int(mask) & turned == 0 for mask in masks)
    with pytest.raises(InputError, match="0 to 16"):
        band_masks(40, 10)


@given(st.lists(st.lists(st.integers(0, 2**16), max_size=15), max_size=5))
@settings(max_examples=50, deadline=None)
def test_adding_sources_one_by_one_equals_a_rebuild(
    tmp_path_factory: pytest.TempPathFactory, sources: list[list[int]]
) -> None:
    folder = tmp_path_factory.mktemp("index")
    whole, steps = HashIndex(folder / "whole", 3), HashIndex(folder / "steps", 3)
    for source in sources:
        steps.add(np.array(source, dtype=np.uint64))
    whole.add(np.array([value for source in sources for value in source], dtype=np.uint64))
    for one, other in zip(whole.read(), steps.read(), strict=True):
        assert np.array_equal(one, other)


def test_an_index_is_of_one_distance_and_keeps_no_old_files(tmp_path: Path) -> None:
    index = HashIndex(tmp_path, 4)
    assert index.add(made(50, 0)) == len(made(50, 0))
    assert index.add(made(50, 0)) == 0
    index.add(made(60, 1))
    assert len(list(tmp_path.glob("*.npy"))) == 2
    with pytest.raises(InputError, match="within 4 bits"):
        HashIndex(tmp_path, 5).read()
