"""What an indicator is, said once: `indicators.toml` in the area, a table an indicator."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from chorograph.ground.errors import AreaError, InputError, UnknownNameError
from chorograph.ground.files import atomic_path, read_text

if TYPE_CHECKING:
    from chorograph.area.folder import Area

FILE = "indicators.toml"
SCALES = ("linear", "log", "log1p", "logit")
NEEDS = ("low", "high", "none")
KINDS = ("count", "mean", "share", "density")
#: A comma that begins another pair; one within a title does not.
_COMMA = re.compile(r",(?=\s*\w+:)")
_CHOICES = {"scale": SCALES, "need": NEEDS, "kind": KINDS}


@dataclass(frozen=True)
class Description:
    """How an indicator is fitted and read; None where nobody said.

    `title` in plain words. `scale` that it is fitted on. `per`: the indicator that turns it into a share or density.
    `need`: which end is need. `kind` decides how values are joined over areas: counts and shares of them add up.
    """

    title: str | None = None
    scale: str | None = None
    per: str | None = None
    need: str | None = None
    kind: str | None = None


def read_descriptions(area: Area) -> dict[str, Description]:
    """Return what the area says of its indicators, by name; nothing for those that nobody described.

    Raises `AreaError` that names the file and the indicator where it does not keep the form.
    """
    path = area.path / FILE
    if not os.path.lexists(path):
        return {}
    try:
        content = _toml(path)
        return {name: _checked(name, said) for name, said in content.items()}
    except InputError as error:
        raise AreaError(f"{path}: {error}") from error


def write_descriptions(area: Area, said: Mapping[str, Description]) -> Path:
    """Add to what the area says of its indicators, and return where; what was said before of others stays.

    Raises `UnknownNameError` for an indicator, or a denominator, that the area does not have.
    """
    known = set(area.indicators["indicator"])
    for name, description in said.items():
        for named in (name, description.per):
            if named is not None and named not in known:
                raise UnknownNameError.of(f"indicator of {area.path}", named, known)
    merged = read_descriptions(area)
    for name, description in said.items():
        given = {key: value for key, value in asdict(description).items() if value is not None}
        merged[name] = replace(merged.get(name, Description()), **given)
    tables = {
        name: {key: value for key, value in asdict(description).items() if value is not None}
        for name, description in sorted(merged.items())
    }
    path = area.path / FILE
    with atomic_path(path) as temporary:
        temporary.write_bytes(tomli_w.dumps(tables).encode())
    return path


def parse_descriptions(words: Iterable[str]) -> dict[str, Description]:
    """Read descriptions as a command line gives them: a TOML file, or `COLUMN=KEY:VALUE,KEY:VALUE`.

    Raises `InputError` for a word of another form, a key nobody knows, or a value that is not among its choices.
    """
    found: dict[str, Description] = {}
    for word in words:
        if Path(word).suffix == ".toml":
            found.update(_read_file(Path(word)))
            continue
        name, equals, rest = word.partition("=")
        pairs = [pair.partition(":") for pair in _COMMA.split(rest)]
        if not equals or not name or any(not colon for _, colon, _ in pairs):
            raise InputError(f"options: --describe is COLUMN=KEY:VALUE,KEY:VALUE or a TOML file, not {word!r}")
        found[name] = _checked(name, {key.strip(): value.strip() for key, _, value in pairs})
    return found


def _read_file(path: Path) -> dict[str, Description]:
    return {name: _checked(f"{path}: {name}", said) for name, said in _toml(path).items()}


def _toml(path: Path) -> dict[str, Any]:
    """Return the content of a TOML file; `InputError` naming it where it is none."""
    try:
        return tomllib.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}, descriptions of indicators, is not readable TOML: {error}") from error


def _checked(where: str, said: Any) -> Description:
    """Return a description; `InputError` for an unknown key, no text, or a value that is not among its choices."""
    if not isinstance(said, dict):
        raise InputError(f"{where} is described by a table of keys and values, not {said!r}")
    keys = [field.name for field in fields(Description)]
    for key, value in said.items():
        if key not in keys:
            raise UnknownNameError.of(f"key in the description of {where}", key, keys)
        if not isinstance(value, str) or not value:
            raise InputError(f"{where}: {key} is a text, not {value!r}")
        if key in _CHOICES and value not in _CHOICES[key]:
            raise InputError(f"{where}: {key} is one of {', '.join(_CHOICES[key])}, not {value!r}")
    return Description(**said)
