"""What comes from outside, checked at the door: JSON, TOML and YAML content against a schema.

A schema is written as the content looks: a type (`str`, `int`, `float`, `bool`, `object` for anything, or a tuple of
types), `[schema]` for a list, `{"name": schema, "other?": schema}` for a table of these names (`?`: may be missing or
null; further names are left alone), `{str: schema}` for a table of any names, `(schema, type(None))` for what may be
null, and `OneOf` for a text among some.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chorograph.ground.errors import InputError

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null"}
#: Whole numbers beyond this are no count, size or year of anybody's, and end in an overflow somewhere.
_LARGEST = 2**53
#: Content that lies deeper than this is not anybody's, and ends in a recursion error somewhere.
_DEEPEST = 100


@dataclass(frozen=True)
class OneOf:
    """A text among `texts`."""

    texts: tuple[str, ...]


def check(value: Any, schema: Any, where: str) -> Any:
    """Return `value` where it has the form of `schema`; else `InputError`, saying `where` and the place in it."""
    _check(value, schema, where, "")
    return value


def _check(value: Any, schema: Any, where: str, at: str) -> None:
    match schema:
        case OneOf():
            if not isinstance(value, str) or value not in schema.texts:
                raise _wrong(where, at, f"one of {', '.join(schema.texts)}", value)
        case list():
            if not isinstance(value, list):
                raise _wrong(where, at, "a list", value)
            for number, item in enumerate(value):
                _check(item, schema[0], where, f"{at}[{number}]")
        case dict():
            _check_table(value, schema, where, at)
        case tuple() if any(not isinstance(kind, type) for kind in schema):
            if value is not None or type(None) not in schema:
                inner = next(kind for kind in schema if not isinstance(kind, type))
                _check(value, inner, where, at)
        case _:
            _check_type(value, schema if isinstance(schema, tuple) else (schema,), where, at)


def _check_table(value: Any, schema: dict[Any, Any], where: str, at: str) -> None:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise _wrong(where, at, "a table of names and values", value)
    if str in schema:
        for name, item in value.items():
            _check(item, schema[str], where, f"{at}.{name}".lstrip("."))
        return
    for key, inner in schema.items():
        name = key.removesuffix("?")
        place = f"{at}.{name}".lstrip(".")
        if value.get(name) is None:
            if not key.endswith("?"):
                raise InputError(f"{where}: {place} is missing")
            continue
        _check(value[name], inner, where, place)


def _check_type(value: Any, types: tuple[Any, ...], where: str, at: str) -> None:
    if object in types:
        return
    wanted = " or ".join(_NAMES.get(kind, kind.__name__) for kind in types)
    if isinstance(value, bool) and bool not in types:
        raise _wrong(where, at, wanted, value)
    if float in types and isinstance(value, int):
        types = (*types, int)
    if not isinstance(value, types):
        raise _wrong(where, at, wanted, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise _wrong(where, at, "a finite number", value)
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise _wrong(where, at, "a number of a sensible size", value)
    if isinstance(value, str) and "\0" in value:
        raise _wrong(where, at, "text without a zero character", value)


def check_depth(value: Any, where: str, deepest: int = _DEEPEST) -> None:
    """Raise `InputError` where content is nested deeper than `deepest`."""
    level, depth = [value], 0
    while level:
        if depth > deepest:
            raise InputError(f"{where} is nested more than {deepest} deep")
        level = [
            item
            for held in level
            for item in (held.values() if isinstance(held, Mapping) else held if isinstance(held, list) else ())
        ]
        depth += 1


def _wrong(where: str, at: str, wanted: str, value: Any) -> InputError:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}..."
    return InputError(f"{where}: {at or 'its content'} must be {wanted}, not {shown}")
