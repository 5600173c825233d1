"""One small registry for everything that is called by a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from chorograph.ground.errors import InputError, UnknownNameError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A named thing with what a reader should know before using it; `load` fetches it."""

    name: str
    load: Callable[[], T]
    summary: str
    paper: str = ""
    licence: str = ""


class Registry(Generic[T]):
    """Names of one kind. Third parties add theirs as entry points of the group `chorograph.KIND`.

    An entry point names the thing itself; the first line of its docstring is what `chorograph list` says of it.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def add(self, name: str, value: T | str, summary: str, *, paper: str = "", licence: str = "") -> None:
        """Register `value` under `name`; a name is taken once. `"module:attribute"` is imported when asked for."""
        if name in self._entries:
            raise ValueError(f"{self.kind} {name!r} is registered already")
        load = (lambda: _import(value)) if isinstance(value, str) else (lambda: value)
        self._entries[name] = Entry(name, load, summary, paper, licence)

    def __getitem__(self, name: str) -> T:
        """Return what `name` stands for.

        Raises `UnknownNameError` (a `LookupError`) with near misses, `InputError` for a plug-in that does not load.
        """
        if name in self._entries:
            return self._entries[name].load()
        plugins = self._plugins()
        if name not in plugins:
            raise UnknownNameError.of(self.kind, name, self.names())
        value: T = _load(plugins[name])
        return value

    def __iter__(self) -> Iterator[Entry[T]]:
        """Go through the entries by name; of a plug-in that does not load, the summary says why."""
        entries = [*self.own, *(_entry(point) for point in self._plugins().values())]
        return iter(sorted(entries, key=lambda entry: entry.name))

    def __contains__(self, name: object) -> bool:
        return name in self._entries or name in self._plugins()

    @property
    def own(self) -> tuple[Entry[T], ...]:
        """The entries that come with chorograph, in the order in which they were added."""
        return tuple(self._entries.values())

    def names(self) -> tuple[str, ...]:
        """Return every name, those of plug-ins too, which are not loaded for it."""
        return (*self._entries, *self._plugins())

    def _plugins(self) -> dict[str, EntryPoint]:
        points = _entry_points(f"chorograph.{self.kind.replace(' ', '_')}")
        return {point.name: point for point in points if point.name not in self._entries}


@cache
def _entry_points(group: str) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=group))


def _import(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)


def _load(point: EntryPoint) -> Any:
    """Load a plug-in; whatever it raises is an `InputError` that names its package and what failed."""
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist else "a plug-in"
        raise InputError(f"{point.name} of {package} does not load ({point.value}): {error!r}") from error


def _entry(point: EntryPoint) -> Entry[Any]:
    origin = f"from {point.dist.name if point.dist else 'a plug-in'}"
    try:
        value = _load(point)
    except InputError as error:
        return Entry(point.name, point.load, f"broken: {error}")
    said = (getattr(value, "__doc__", None) or "").strip().partition("\n")[0]
    return Entry(point.name, lambda: value, f"{said} ({origin})" if said else origin)
