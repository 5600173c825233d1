"""MixGen as a transform of training batches: half of each image, both texts, the same on any number of processes."""

from __future__ import annotations

import numpy as np
import torch

from chorograph.ground.errors import ImageError
from chorograph.pretraining.feeds.feed import Batches
from chorograph.pretraining.feeds.pairs import InMemory, OnDisk, Pairs
from chorograph.pretraining.loop.world import World

PIXELS = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (9, 3, 4, 4), dtype=np.uint8))
PAIRS = Pairs(tuple("abcdefghi"), InMemory(PIXELS), tuple((f"text {k}",) for k in range(9)))
ALONE = World()


def _batches(pairs: Pairs, share: float, world: World = ALONE) -> Batches:
    return Batches(pairs, 9, 0, world, PAIRS, mixgen=share)


def test_the_first_are_mixed_with_those_that_follow() -> None:
    plain, mixed = _batches(PAIRS, 0.0)[0, 0], _batches(PAIRS, 0.25)[0, 0]
    rows = plain.rows
    assert mixed.texts[:2] == [f"text {rows[0]} text {rows[2]}", f"text {rows[1]} text {rows[3]}"]
    mean = (PIXELS[rows[:2]].double() + PIXELS[rows[2:4]].double()) / 2
    assert (mixed.pixels[:2].double() - mean).abs().max() <= 0.5
    assert torch.equal(mixed.pixels[2:], plain.pixels[2:]) and mixed.texts[2:] == plain.texts[2:]


def test_what_is_in_memory_and_held_out_stays_as_it_is() -> None:
    before = PIXELS.clone()
    batches = _batches(PAIRS, 0.5)
    assert len(batches[0, 0].texts) == 9
    assert torch.equal(PIXELS, before)
    assert [text for batch in batches.held() for text in batch.texts] == [f"text {k}" for k in range(9)]


def test_two_processes_mix_as_one() -> None:
    whole = _batches(PAIRS, 0.5)[0, 0]
    for rank in range(2):
        part = _batches(PAIRS, 0.5, World(rank, 2))[0, 0]
        assert torch.equal(part.pixels, whole.pixels[torch.from_numpy(part.places)])
        assert part.texts == [whole.texts[place] for place in part.places]


def test_one_whose_partner_cannot_be_read_stays_as_it_is() -> None:
    lost = int(_batches(PAIRS, 0.0)[0, 0].rows[2])

    def decode(row: int) -> np.ndarray:
        if row == lost:
            raise ImageError("truncated", "made")
        return PIXELS[row].permute(1, 2, 0).numpy()

    pairs = Pairs(PAIRS.image_ids, OnDisk(decode, (4, 4)), PAIRS.captions)
    mixed = _batches(pairs, 0.25)[0, 0]
    assert mixed.dropped == ["truncated"]
    assert mixed.texts[0] == f"text {mixed.rows[0]}" and " text" in mixed.texts[1][5:]
