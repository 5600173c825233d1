"""What a file holds, as SHA-256: of large files it is remembered, so that a start need not read them whole again."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from chorograph.ground.files import sha256_bytes, sha256_file, write_json

#: Files from this size on are remembered; smaller ones are read in no time.
_LARGE = 16 * 1024**2
#: A file that was changed so short a time ago may be changed again within the same tick of the clock.
_SETTLED_S = 2.0


def content_hash(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes.

    A large file is read once: its hash is kept in the user's cache folder (`$XDG_CACHE_HOME/chorograph/hashes`, or
    below `~/.cache`) beside its size, its times of change, and its place on the disk, and is good while these are the
    same. A cache that cannot be read or written costs time and nothing else.
    """
    status = path.stat()
    if status.st_size < _LARGE:
        return sha256_file(path)
    state = _state(status)
    entry = _folder() / f"{sha256_bytes(os.fsencode(path.resolve()))[:24]}.json"
    with suppress(OSError, ValueError, TypeError, KeyError):
        known = json.loads(entry.read_text(encoding="utf-8"))
        if known["state"] == state and isinstance(known["sha256"], str):
            return str(known["sha256"])
    found = sha256_file(path)
    if time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED_S and _state(path.stat()) == state:
        with suppress(Exception):  # a full disk, a folder that may not be written: nothing is remembered
            entry.parent.mkdir(parents=True, exist_ok=True)
            write_json(entry, {"path": str(path.resolve()), "state": state, "sha256": found})
    return found


def folder_hash(folder: Path, most: int) -> str | None:
    """Return what changes when a name or the content of a file below `folder` does; None for more than `most` files."""
    files: list[Path] = []
    for path in folder.rglob("*"):
        if path.is_file():
            files.append(path)
        if len(files) > most:
            return None
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(folder)}\0{content_hash(path)}\n".encode())
    return digest.hexdigest()


def _state(status: os.stat_result) -> list[int]:
    """Return what changes when a file does; not the time of the last reading, which our own reading moves."""
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def _folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chorograph" / "hashes"
