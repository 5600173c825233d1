"""Configuration: frozen dataclasses whose fields carry their own help.

The command line, the recipes and the reference page are made from these dataclasses, so a setting is described once.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING
from pathlib import Path
from typing import Any, TypeVar

from chorograph.ground.errors import InputError, UnknownNameError

C = TypeVar("C")


def setting(default: Any = MISSING, *, help: str, choices: tuple[str, ...] = ()) -> Any:
    """Return a dataclass field with its help text; without `default` the setting is required.

    `choices` lists what a text may be (or begin with, where a choice ends in `:`).
    """
    metadata = {"help": help, "choices": choices}
    if isinstance(default, list | dict):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def configure(cls: type[C], values: Mapping[str, object], *, where: str = "settings") -> C:
    """Build the configuration `cls` from plain values, as a recipe holds them.

    Numbers and paths may come as text. Raises `UnknownNameError` for a key that `cls` does not have (with the nearest
    one), and `InputError` for a value of the wrong type or a missing required key; both say `where`.
    """
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    # A setting whose name is a word of Python (`in`) is a field with a line behind it.
    values = {f"{name}_" if f"{name}_" in fields else name: value for name, value in values.items()}
    for name in values:
        if name not in fields:
            raise UnknownNameError.of(f"setting of {where}", name, fields)
    required = [n for n, f in fields.items() if f.default is MISSING and f.default_factory is MISSING]
    if missing := [name for name in required if name not in values]:
        raise InputError(f"{where}: {', '.join(missing)} must be given")
    converted = {name: _convert(hints[name], value, f"{where}: {name}") for name, value in values.items()}
    for name, value in converted.items():
        _check_choice(fields[name].metadata.get("choices", ()), value, f"{where}: {name}")
    return cls(**converted)


def plain(config: object) -> dict[str, Any]:
    """Return a configuration as JSON-ready values (paths as text), in the order of its fields."""
    return {
        field.name: _plain(getattr(config, field.name))
        for field in dataclasses.fields(config)  # type: ignore[arg-type]
    }


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _check_choice(choices: tuple[str, ...], value: object, where: str) -> None:
    if not choices or value is None or value in choices:
        return
    if any(choice.endswith(":") and str(value).startswith(choice) for choice in choices):
        return
    raise InputError(f"{where} is one of {', '.join(choices)}, not {value!r}")


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
            raise InputError(f"{where} must be a table of names and values, not {value!r}")
        return configure(hint, value, where=where)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise InputError(f"{where} must be a table of names and values, not {value!r}")
        return {str(key): item for key, item in value.items()}
    if hint is bool:
        if isinstance(value, bool):
            return value
        raise InputError(f"{where} must be true or false, not {value!r}")
    if hint is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    if hint in (int, float) and not isinstance(value, bool):
        try:
            number = hint(str(value))
        except ValueError:
            raise InputError(f"{where} must be a number ({hint.__name__}), not {value!r}") from None
        return number
    if hint is str and isinstance(value, str | int | float):
        return str(value)
    raise InputError(f"{where} cannot be {value!r}")
