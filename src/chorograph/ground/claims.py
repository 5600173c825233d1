"""One writer at a time: a claim on a place, held by a lock that dies with its process."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from chorograph.ground.disk import needing
from chorograph.ground.drafts import hidden_name, home_of, lock, real
from chorograph.ground.errors import OutputError

#: Another step that makes a short change is done after this time.
SOON_S = 30.0


@contextmanager
def claim(place: Path, stage: str, wait_s: float = 0.0) -> Iterator[None]:
    """Hold `place`, a file or folder that may not exist yet, for `stage` while the block runs.

    Raises `OutputError` where another process holds it, and still does after `wait_s`, saying which. The lock file
    beside the place is of no meaning once its process is gone: the next claim takes it over, and removes it at its end.
    """
    path, until = lock_path(place), time.monotonic() + wait_s
    handle = -1
    while handle < 0:
        with needing(place):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        if not lock(handle, path):
            holder = _held_by(handle, path)
            os.close(handle)
            handle = -1
            if holder is not None and time.monotonic() < until:
                time.sleep(0.05)
            elif holder is not None:  # else it has just gone: try again
                raise OutputError(f"{place} is being written by {holder}; wait for it, or choose another place")
    try:
        with suppress(OSError):  # a full disk takes the lock, but not who holds it
            os.ftruncate(handle, 0)
            os.write(handle, f"{stage}, process {os.getpid()} on {socket.gethostname()}".encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink()
        os.close(handle)


def lock_path(place: Path) -> Path:
    """Return where the lock of a place lies while somebody claims it."""
    place = real(place.parent) / place.name  # a link in its own place is not followed: see `atomic_path`
    return home_of(place) / hidden_name(place, "lock")


def _held_by(handle: int, path: Path) -> str | None:
    """Return who holds the lock; None where the file has been removed meanwhile."""
    with suppress(OSError):
        if os.path.samestat(os.fstat(handle), path.stat()):
            return os.pread(handle, 200, 0).decode(errors="replace") or "another process"
    return None
