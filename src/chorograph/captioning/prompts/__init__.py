"""What models are asked: a TOML file a prompt, its version in its name; a changed prompt is a new file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import read_text
from chorograph.ground.schema import check

_FORM = {
    "view?": str, "system?": str, "text": str, "max_tokens?": int, "temperature?": float, "top_p?": float,
    "source?": str,
}  # fmt: skip
_PLACE = re.compile(r"\{(\w+)\}")
#: What stands in a prompt for what is known of an image.
PLACEHOLDERS = ("area", "region", "group", "captured", "ground_m", "poi", "classes", "lon", "lat")


@dataclass(frozen=True)
class Prompt:
    """A prompt with the settings that belong to it; None where the model's own hold."""

    name: str
    text: str
    system: str = ""
    view: str | None = None
    max_tokens: int = 160
    temperature: float | None = None
    top_p: float | None = None

    @property
    def wants_facts(self) -> bool:
        """Whether anything is filled in."""
        return bool(_PLACE.search(self.text))

    def fill(self, known: Mapping[str, str]) -> str:
        """Return the text with what is known; a line that names anything unknown is left out."""
        lines = [line for line in self.text.splitlines() if all(known.get(n) for n in _PLACE.findall(line))]
        return "\n".join(_PLACE.sub(lambda match: known[match[1]], line) for line in lines).strip()


def prompt_names() -> list[str]:
    """Return the prompts that come with the library."""
    return sorted(entry.name.removesuffix(".toml") for entry in files(__package__).iterdir() if _is_prompt(entry.name))


def read_prompt(name: str) -> Prompt:
    """Return a prompt of the library by name, or that of a TOML file; `UnknownNameError`, `InputError` otherwise."""
    path = Path(name)
    if path.suffix == ".toml":
        return _parse(path.stem, read_text(path), str(path))
    if name not in prompt_names():
        raise UnknownNameError.of("prompt", name, prompt_names())
    return _parse(name, files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"), name)


def prompts_of(asked: str) -> dict[str, Prompt]:
    """Return the prompt of each view; `auto` has one for satellite images and one for street views."""
    if asked == "auto":
        return {"satellite": read_prompt("satellite-1"), "street": read_prompt("street-1")}
    prompt = read_prompt(asked)
    return dict.fromkeys(("satellite", "street") if prompt.view is None else (prompt.view,), prompt)


def _is_prompt(name: str) -> bool:
    return name.endswith(".toml")


def _parse(name: str, text: str, where: str) -> Prompt:
    try:
        content: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{where} is not readable TOML: {error}") from error
    check(content, _FORM, where)
    known = [key.removesuffix("?") for key in _FORM]
    if strange := [key for key in content if key not in known]:
        raise UnknownNameError.of(f"key of {where}", strange[0], known)
    if unknown := sorted(set(_PLACE.findall(content["text"])) - set(PLACEHOLDERS)):
        raise UnknownNameError.of(f"placeholder of {where}", unknown[0], PLACEHOLDERS)
    content.pop("source", None)
    return Prompt(name, **content)
