"""The windows that a large image is read by."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chorograph.ground.errors import InputError
from chorograph.searching.windows import STEPS, check_steps, starts, windows


@pytest.mark.parametrize(
    ("shape", "cut", "distinct"), [((1024, 1536), 66, 63), ((2000, 3000), 264, 261), ((768, 768), 25, 22)]
)
def test_counts_of_the_published_tiling(shape: tuple[int, int], cut: int, distinct: int) -> None:
    grids = [zip(*(starts(length, step) for length in shape), strict=True) for step in STEPS]
    assert sum(len(rows) * len(columns) for grid in grids for rows, columns in grid) == cut
    assert len(windows(shape)) == distinct


@given(height=st.integers(1, 2500), width=st.integers(1, 2500), steps=st.sets(st.integers(100, 900), min_size=1))
@settings(max_examples=60, deadline=None)
def test_windows_are_square_inside_and_cover(height: int, width: int, steps: set[int]) -> None:
    found = windows((height, width), sorted(steps))
    row, row_end, column, column_end = found.T
    assert row.min() == column.min() == 0
    assert row_end.max() == height
    assert column_end.max() == width
    assert np.array_equal(row_end - row, column_end - column)
    count = np.zeros((height, width), int)
    for r0, r1, c0, c1 in found:
        count[r0:r1, c0:c1] += 1
    assert count.min() >= len({min(step, height, width) for step in steps})
    assert len(np.unique(found, axis=0)) == len(found)


def test_every_pixel_of_an_image_is_seen_at_three_steps() -> None:
    count = np.zeros((800, 1000), int)
    for r0, r1, c0, c1 in windows((800, 1000)):
        count[r0:r1, c0:c1] += 1
    assert count.min() >= 3


@pytest.mark.parametrize("steps", [[], [4], [256, 100_000], [-256]])
def test_steps_that_cut_nothing(steps: list[int]) -> None:
    with pytest.raises(InputError, match="steps"):
        check_steps(steps)
