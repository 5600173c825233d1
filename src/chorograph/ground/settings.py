"""Configuration: frozen dataclasses whose fields carry their own help.

The command line, the recipes and the reference page are made from these dataclasses, so a setting is described once.
"""

from __future__ import annotations

import dataclasses
import math
import os
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any, TypeVar

from chorograph.ground.errors import SettingError, UnknownNameError
from chorograph.ground.registry import Registry

C = TypeVar("C")


@dataclasses.dataclass(frozen=True)
class Range:
    """The numbers that a setting may be: from `low` to `high`, an open end left out."""

    low: float = -math.inf
    high: float = math.inf
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, number: float) -> bool:
        """Tell whether a number lies within; NaN and infinity lie in no range."""
        if not math.isfinite(number):
            return False
        above = number > self.low if self.low_open else number >= self.low
        below = number < self.high if self.high_open else number <= self.high
        return above and below

    def __str__(self) -> str:
        """Return the range in words: `1 or more`, `above 0`, `0 to 1`, `above 0 and at most 1`."""
        ends = [
            "" if self.low == -math.inf else f"above {self.low}" if self.low_open else f"at least {self.low}",
            "" if self.high == math.inf else f"below {self.high}" if self.high_open else f"at most {self.high}",
        ]
        if all(ends) and not (self.low_open or self.high_open):
            return f"{self.low} to {self.high}"
        if ends == [f"at least {self.low}", ""]:
            return f"{self.low} or more"
        return " and ".join(end for end in ends if end) or "any number"


def at_least(low: float) -> Range:
    """Return the range of the numbers from `low`."""
    return Range(low)


def above(low: float) -> Range:
    """Return the range of the numbers greater than `low`."""
    return Range(low, low_open=True)


def between(low: float, high: float) -> Range:
    """Return the range from `low` to `high`, both among it."""
    return Range(low, high)


def inside(low: float, high: float) -> Range:
    """Return the range between `low` and `high`, neither among it."""
    return Range(low, high, low_open=True, high_open=True)


#: What numpy, scikit-learn and torch all take.
SEEDS = between(0, 2**32 - 1)


def setting(
    default: Any = MISSING,
    *,
    help: str,
    choices: tuple[str, ...] | Registry[Any] = (),
    within: Range | None = None,
) -> Any:
    """Return a dataclass field with its help text; without `default` the setting is required.

    `choices` lists what a text may be (or begin with, where a choice ends in `:`), or is the registry of its names.
    `within` is the range of a number, or of each number of a list.
    """
    metadata = {"help": help, "choices": choices, "within": within}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def describe(field: dataclasses.Field[Any]) -> str:
    """Return a field's help with its choices, where the help names them not, and its range."""
    text, choices, within = (field.metadata[key] for key in ("help", "choices", "within"))
    names = [entry.name for entry in choices.own] if isinstance(choices, Registry) else list(choices)
    if any(name.removesuffix(":") not in text for name in names):
        text += f"; one of {', '.join(names)}"
    return str(text) if within is None else f"{text} ({within})"


def configure(cls: type[C], values: Mapping[str, object], *, where: str = "settings") -> C:
    """Build the configuration `cls` from plain values, as a recipe holds them.

    Numbers and paths may come as text. Raises `UnknownNameError` for a key that `cls` does not have (with the nearest
    one), and `SettingError` for a value of the wrong type, out of its range or not among its choices, or a missing
    required key; both say `where`.
    """
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise SettingError(f"{where} must be a table of names and values, not {str(values)[:60]!r}")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    # A setting whose name is a word of Python (`in`) is a field with a line behind it.
    values = {f"{name}_" if f"{name}_" in fields else name: value for name, value in values.items()}
    for name in values:
        if name not in fields:
            raise UnknownNameError.of(f"setting of {where}", name, fields)
    required = [n for n, f in fields.items() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in required if name not in values]:
        raise SettingError(f"{where}: {', '.join(missing)} must be given")
    converted = {name: _convert(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    for name, value in converted.items():
        _check_choice(fields[name].metadata.get("choices", ()), value, f"{where}: {name}")
        _check_range(fields[name].metadata.get("within"), value, f"{where}: {name}")
    return cls(**converted)


def plain(config: object) -> dict[str, Any]:
    """Return a configuration as JSON-ready values (paths as text, absolute), in the order of its fields."""
    return {
        field.name: _plain(getattr(config, field.name))
        for field in dataclasses.fields(config)  # type: ignore[arg-type]
    }


def placed(path: Path) -> Path:
    """Return the path as it is from any folder: absolute, `..` and linked folders followed, its own name kept."""
    path = path.expanduser()
    if path.name in ("", ".."):
        return Path(os.path.realpath(path))
    return Path(os.path.realpath(path.parent)) / path.name


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(placed(value))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _check_choice(choices: Collection[str] | Registry[Any], value: object, where: str) -> None:
    for name in value if isinstance(value, list | tuple) else [value]:
        if name is None or name in choices:
            continue
        if isinstance(choices, Registry):
            # What follows a colon is the named one's own to read.
            if str(name).partition(":")[0] in choices:
                continue
            raise UnknownNameError.of(choices.kind, str(name), choices.names())
        if choices and not any(choice.endswith(":") and str(name).startswith(choice) for choice in choices):
            raise SettingError(f"{where} is one of {', '.join(choices)}, not {name!r}")


def _check_range(within: Range | None, value: object, where: str) -> None:
    for number in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(number, int | float) or isinstance(number, bool):
            continue
        if number not in (within or Range()):
            percent = within is not None and 1 < number <= 100 and within.high == 1 and number / 100 in within
            hint = f"; did you mean {number / 100:g}?" if percent else ""
            raise SettingError(f"{where} must be {within or 'a finite number'}, not {number}{hint}")


def _convert(hint: Any, value: object, where: str) -> object:
    """Bring a plain value to the type of a field: the few types that configurations use, no more."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        hint = next(arm for arm in typing.get_args(hint) if arm is not type(None))
        origin = typing.get_origin(hint)
    if origin is list:
        items = value if isinstance(value, list | tuple) else [value]
        return [_convert(typing.get_args(hint)[0], item, where) for item in items]
    if origin is tuple:
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(_convert(typing.get_args(hint)[0], item, where) for item in items)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise SettingError(f"{where} must be a table of names and values, not {value!r}")
        return configure(hint, value, where=where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise SettingError(f"{where} must be a table of names and values, not {value!r}")
        return {str(key): item for key, item in value.items()}
    if hint is bool:
        if isinstance(value, bool):
            return value
        raise SettingError(f"{where} must be true or false, not {value!r}")
    if hint is Path and isinstance(value, str | Path):
        return placed(Path(value))
    if hint in (int, float) and not isinstance(value, bool):
        try:
            number = hint(str(value))
        except ValueError:
            raise SettingError(f"{where} must be a number ({hint.__name__}), not {value!r}") from None
        return number
    if hint is str and isinstance(value, str | int | float | Path):
        return str(value)
    raise SettingError(f"{where} cannot be {value!r}")
