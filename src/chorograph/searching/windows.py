"""The windows a large image is read by: two interleaved grids a step, and those that cross the border moved inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.errors import InputError

#: The published steps, in pixels: each is the side of its windows and the distance between them on one grid.
STEPS = (256, 512, 768)
#: Narrower windows show too little; wider ones see more in a smaller copy of the image.
_NARROWEST, _WIDEST = 16, 4096


def check_steps(steps: Sequence[int]) -> None:
    """Raise `InputError` for steps that no image could be cut by."""
    if not steps or any(not _NARROWEST <= step <= _WIDEST for step in steps):
        raise InputError(f"steps are windows of {_NARROWEST} to {_WIDEST} px, not {list(steps)}")


def starts(length: int, step: int) -> list[list[int]]:
    """Return where the windows of `step` pixels begin on an axis: the grid from 0, and the one from half a step on.

    A window that would reach the end or beyond is moved back to end there.
    """
    return [[min(start, length - step) for start in range(offset, length, step)] for offset in (0, step - step // 2)]


def windows(shape: tuple[int, int], steps: Sequence[int] = STEPS) -> NDArray[np.int64]:
    """Return the distinct windows over an image of (height, width): (n, 4) of row, its end, column, its end.

    Windows that several grids share count once, as they do in the published code (where they share a file's name). A
    step longer than the image's shorter side becomes that side, so that windows stay square.
    """
    height, width = shape
    found = {
        (row, row + step, column, column + step)
        for step in {min(step, height, width) for step in steps}
        for rows, columns in zip(starts(height, step), starts(width, step), strict=True)
        for row in rows
        for column in columns
    }
    return np.array(sorted(found), dtype=np.int64)
