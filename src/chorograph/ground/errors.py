"""The few errors of the library: each message says what is wrong, where, and what to change."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Self


class ChorographError(Exception):
    """Base of every error that a user can mend; the command line prints it without a traceback."""


class AreaError(ChorographError):
    """An area folder breaks its contract: a column, a type, a dangling id, a path out of the folder."""


class InputError(ChorographError):
    """A user's own file or setting is wrong; the message names the file, the row and the remedy."""


class SettingError(InputError):
    """A setting is missing, of the wrong type, out of its range or not among its choices: exit code 2."""


class OutputError(ChorographError):
    """An output cannot be written: a full or read-only disk, something in the way, another process at work there."""


class LeakError(ChorographError):
    """The same thing stands on both sides of a split that was given."""


class MissingExtraError(ChorographError, ImportError):
    """A part of the library needs an install extra that is not there."""

    @classmethod
    def of(cls, extra: str, cause: ImportError) -> Self:
        """Return the error that names `extra` and what could not be imported."""
        return cls(f"{cause.name or cause} is not installed; install it with: pip install 'chorograph[{extra}]'")


class UnknownNameError(ChorographError, LookupError):
    """A name that no registry, table or setting knows; near misses are offered."""

    @classmethod
    def of(cls, kind: str, name: str, known: Iterable[str]) -> Self:
        """Return the error for `name`, with up to three near misses among `known`."""
        known = sorted(known)
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(known) or 'none'}"
        return cls(f"there is no {kind} named {name!r}; {hint}")


class ImageError(ChorographError):
    """An image that cannot be used; `reason` is what a count of dropped images is kept by."""

    def __init__(self, reason: str, source: object) -> None:
        self.reason = reason
        self.source = str(source)
        super().__init__(f"{self.source}: {reason}")

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        """Survive the way back from a worker process."""
        return type(self), (self.reason, self.source)
