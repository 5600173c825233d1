"""Recipes as files: YAML of known keys, with `{name}` where an argument goes.

A file may hold `stages` (for `run`), `steps` (for `curate`), or both; each reader takes its own part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from chorograph.ground.errors import InputError, SettingError, UnknownNameError
from chorograph.ground.files import read_text
from chorograph.ground.schema import check, check_depth

_KEYS = ("title", "paper", "about", "arguments", "stages", "expects", "columns", "steps", "output")
_SCHEMA = {
    "title?": (str, int, float), "paper?": str, "about?": str, "arguments?": {str: object}, "stages?": [object],
    "expects?": [{str: object}], "steps?": [object],
}  # fmt: skip
#: A recipe is never larger, in bytes.
_MOST = 4 * 1024**2
_PLACE = re.compile(r"\{(\w+)\}")


def find_recipe(name: str) -> Path:
    """Return the file of a recipe: a path, or the name of one that ships with the library."""
    if Path(name).is_file():
        return Path(name)
    shipped = {path.stem: path for path in shipped_recipes()}
    if name not in shipped:
        raise UnknownNameError.of("recipe", name, shipped)
    return shipped[name]


def shipped_recipes() -> list[Path]:
    """Return the recipes that come with the library: inside an installed wheel, or at the top of a checkout."""
    here = Path(__file__).resolve()
    folders = (here.parents[1] / "recipes", here.parents[3] / "recipes")
    return sorted(path for folder in folders for path in folder.glob("*.yaml"))


def read_arguments(words: Sequence[str]) -> dict[str, str]:
    """Return what `--set NAME=VALUE` gave, by name; `SettingError` for a word without `=`."""
    pairs = [word.partition("=") for word in words]
    if wrong := [word for word, equals, _ in pairs if not equals]:
        raise SettingError(f"options: --set is NAME=VALUE, not {wrong[0]!r}")
    return {name: value for name, _, value in pairs}


def read_recipe_file(path: Path, part: str, arguments: Mapping[str, str]) -> dict[str, Any]:
    """Return a recipe's content, nothing filled in; `part` is the list that it must hold.

    Raises `InputError` for a file that is not such YAML, `UnknownNameError` for an unknown key or an argument that the
    recipe does not declare; both name the file.
    """
    content = read_yaml(path)
    if not isinstance(content, dict) or not isinstance(content.get(part), list):
        raise InputError(f"{path} is not a recipe: it needs a list of {part}")
    for key in content:
        if key not in _KEYS:
            raise UnknownNameError.of(f"key of {path}", str(key), _KEYS)
    check(content, _SCHEMA, str(path))
    declared = content.get("arguments") or {}
    for name in arguments:
        if name not in declared:
            raise UnknownNameError.of(f"argument of {path}", name, declared)
    return content


class _PlainLoader(yaml.SafeLoader):
    """Plain YAML: no aliases, by which a kilobyte can say gigabytes; a key is a text, and stands once."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Refuse an alias."""
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(None, None, "aliases (*name) are not read; write it out", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse a key that appears twice."""
        seen: set[Any] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in seen:
                said = f"{key.value!r} appears twice" if isinstance(key, yaml.ScalarNode) else "a key is a plain text"
                raise yaml.MarkedYAMLError(None, None, said, key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """Read a YAML file of plain values; `InputError` naming the file and the line."""
    text = read_text(path, _MOST)
    try:
        content = yaml.load(text, _PlainLoader)  # noqa: S506  # a safe loader, made stricter
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as a recipe: {error}") from error
    check_depth(content, str(path))
    return content


def fill(value: Any, arguments: Mapping[str, str], missing: Callable[[str], Exception]) -> Any:
    """Return plain values with every `{name}` in a text filled in; `missing` makes the error for an absent one."""
    if isinstance(value, dict):
        return {key: fill(item, arguments, missing) for key, item in value.items()}
    if isinstance(value, list):
        return [fill(item, arguments, missing) for item in value]
    if not isinstance(value, str):
        return value

    def put(match: re.Match[str]) -> str:
        if match[1] not in arguments:
            raise missing(match[1])
        return arguments[match[1]]

    return _PLACE.sub(put, value)
