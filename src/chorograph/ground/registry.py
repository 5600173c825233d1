"""One small registry for everything that is called by a name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from chorograph.ground.errors import UnknownNameError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A named thing with what a reader should know before using it."""

    name: str
    value: T
    summary: str
    paper: str = ""
    licence: str = ""


class Registry(Generic[T]):
    """Names of one kind. Third parties add theirs under the entry-point group `chorograph.KIND`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def add(self, name: str, value: T, summary: str, *, paper: str = "", licence: str = "") -> None:
        """Register `value` under `name`; a name is taken once."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered already")
        self._entries[name] = Entry(name, value, summary, paper, licence)

    def __getitem__(self, name: str) -> T:
        """Return what `name` stands for; `UnknownNameError` (a `LookupError`) offers near misses."""
        entries = self._all()
        if name not in entries:
            raise UnknownNameError.of(self.kind, name, entries)
        return entries[name].value

    def __iter__(self) -> Iterator[Entry[T]]:
        """Go through the entries by name."""
        entries = self._all()
        return iter(sorted(entries.values(), key=lambda entry: entry.name))

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def _all(self) -> dict[str, Entry[T]]:
        found = {
            point.name: Entry(point.name, point.load(), f"from {point.dist.name if point.dist else 'a plug-in'}")
            for point in entry_points(group=f"chorograph.{self.kind.replace(' ', '_')}")
            if point.name not in self._entries
        }
        return {**found, **self._entries}
