"""Saying what is wrong with a place that cannot be written: full, read-only, forbidden, something in the way."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chorograph.ground.errors import ChorographError, OutputError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SAYS = {
    errno.EROFS: "lies on a read-only file system",
    errno.EACCES: "may not be written (no permission)",
    errno.EPERM: "may not be written (no permission)",
    errno.EEXIST: "is in the way: a folder is needed there",
    errno.ENOTDIR: "is in the way: a folder is needed there",
    errno.ENAMETOOLONG: "has a name that is too long for its file system",
    errno.ELOOP: "is a link that leads to itself",
}
#: How libraries say it that hide the number of the error.
#: numpy's has neither number nor name: "400000 requested and 75744 written".
_WORDS = ("no space left", "requested and ", "os error 28", "disk quota exceeded", "os error 122", "disk full")
#: A disk with less than this left, in bytes, is why a writer failed, whatever the writer says.
_NOTHING = 64 * 1024


@contextmanager
def naming_trouble(place: Path) -> Iterator[None]:
    """Turn a failure to write below `place` into `OutputError`: a full or read-only disk. Other errors pass."""
    try:
        yield
    except ChorographError:
        raise
    except Exception as error:
        if (trouble := _of_disk(error, place)) is not None:
            raise trouble from error
        raise


@contextmanager
def needing(place: Path) -> Iterator[None]:
    """Turn any refusal of the system into `OutputError`, around what only prepares the writing of `place`."""
    try:
        yield
    except OSError as error:
        if (trouble := _of_disk(error, place)) is not None:
            raise trouble from error
        what = _SAYS.get(error.errno or 0, error.strerror or str(error))
        where = Path(error.filename or place)
        where = where.parent if where.name.startswith(".") else where
        raise OutputError(f"{where} {what}; choose another place for {place.name}") from error


def free_space(place: Path) -> tuple[int, int] | None:
    """Return the free and all bytes of the disk that `place` lies or would lie on; None where nobody can say."""
    for folder in (place, *place.parents):
        if folder.exists():
            try:
                usage = shutil.disk_usage(folder)
            except OSError:
                return None
            return usage.free, usage.total
    return None


def _of_disk(error: BaseException, place: Path) -> OutputError | None:
    """Return the error that says that the disk is full or read-only, where that is why `error` came."""
    numbers, texts = set(), []
    link: BaseException | None = error
    while link is not None:
        numbers.add(getattr(link, "errno", None))
        texts.append(str(link).lower())
        link = link.__cause__ or link.__context__
    space = free_space(place)
    free, total = space if space is not None else (None, 0)
    full = bool(numbers & set(_FULL)) or any(word in text for word in _WORDS for text in texts)
    if full or (free is not None and free < _NOTHING and not isinstance(error, OSError)):
        held = "" if free is None else f": {_size(free)} of {_size(total)} are free"
        return OutputError(
            f"{place} cannot be written, the disk or your share of it is full{held}; make room or choose another "
            "place, and run it again"
        )
    if errno.EROFS in numbers:
        return OutputError(f"{place} {_SAYS[errno.EROFS]}; choose another place")
    return None


def _size(number: int) -> str:
    size = float(number)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
