"""Pictures that clients send: what a request may hold is known before a pixel is made, and few are worked on at once.

Decoding takes up to 28 bytes a pixel (an animated WebP; a plain JPEG takes 3), and 3 stay: a request takes half a GiB
at most, all together one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from starlette.exceptions import HTTPException

from chorograph.area.images import count_pixels, read_rgb
from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import InputError

#: One picture may have so many pixels, and all pictures of a request so many.
MAX_PIXELS = 16_000_000
MAX_REQUEST_PIXELS = 32_000_000
#: Requests whose pictures are worked on at once; the others wait, holding their bodies alone.
AT_ONCE = 2
T = TypeVar("T")


class Workers:
    """Threads for the work on pictures: those that answer everything else stay free."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, "pictures")

    async def do(self, work: Callable[[], T]) -> T:
        """Return what `work` returns, in its turn; who stops waiting before that has it left undone."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def check_pictures(bodies: Sequence[bytes]) -> None:
    """Raise the reason why uploaded pictures are not taken, as far as their headers tell it.

    `InputError` for what by its first bytes is no JPEG, PNG or WebP: other formats have been ways in, and nobody needs
    them here. `ImageError` for a picture of too many pixels; the answer 413 where all have too many together.
    """
    if not all(map(_is_allowed, bodies)):
        raise InputError("the upload is no JPEG, PNG or WebP picture")
    total = sum(count_pixels(body, max_pixels=MAX_PIXELS) for body in bodies)
    if total > MAX_REQUEST_PIXELS:
        most = f"{MAX_REQUEST_PIXELS // 10**6} million"
        raise HTTPException(
            413, f"the pictures have {total / 10**6:.0f} million pixels, and {most} may be sent at once"
        )


def read_pictures(bodies: Sequence[bytes]) -> list[Pixels]:
    """Return the pixels (height, width, 3) of uploaded pictures. Raises as `check_pictures`, and for damaged ones."""
    check_pictures(bodies)
    return [read_rgb(body, max_pixels=MAX_PIXELS) for body in bodies]


def _is_allowed(body: bytes) -> bool:
    return body[:3] == b"\xff\xd8\xff" or body[:8] == b"\x89PNG\r\n\x1a\n" or body[:4] + body[8:12] == b"RIFFWEBP"
