"""Prompts of zero-shot classification: named sets of templates, class names as words, and weights of classes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import read_text

_NOUNS = ("a remote sensing image", "an aerial image", "a satellite image")
_BEFORE = (
    "low resolution", "bad", "cropped", "bright", "dark", "close-up", "black and white", "jpeg corrupted", "blurry",
    "good",
)  # fmt: skip
_INSIDE = ("large", "nice", "small", "weird", "cool")


def _georsclip(noun: str) -> list[str]:
    """Return the 35 patterns of GeoRSCLIP for one noun."""
    bare = noun.partition(" ")[2]
    return [
        *(f"{noun} of {which} {{}}." for which in ("many", "a", "the", "the hard to see", "a hard to see")),
        *(f"a {adjective} {bare} of {article} {{}}." for adjective in _BEFORE for article in ("the", "a")),
        *(f"{noun} of {article} {adjective} {{}}." for adjective in _INSIDE for article in ("the", "a")),
    ]


PROMPTS: dict[str, tuple[str, ...]] = {
    # RS5M's inference.py: the same 105 for EuroSAT, RESISC45 and AID.
    "georsclip": tuple(template for noun in _NOUNS for template in _georsclip(noun)),
    "satellite": ("a satellite image of {}.",),
    "name": ("{}",),
}


def load_prompts(name: str) -> tuple[str, ...]:
    """Return the templates of a named set, or those of a text file, one a line; each holds {} once.

    Raises `UnknownNameError` with near misses, and `InputError` naming the line without {}.
    """
    if name in PROMPTS:
        return PROMPTS[name]
    path = Path(name)
    if not path.is_file():
        raise UnknownNameError.of("prompt set or file", name, PROMPTS)
    lines = [line.strip() for line in read_text(path).splitlines()]
    for number, line in enumerate(lines, start=1):
        if line and line.count("{}") != 1:
            raise InputError(f"{path}, line {number}: a template holds {{}} once, not {line!r}")
    templates = tuple(line for line in lines if line)
    if not templates:
        raise InputError(f"{path} holds no templates; give one a line, for example: a satellite image of {{}}.")
    return templates


def published_name(name: str) -> str:
    """Return a class name as RS5M's inference.py reads it: `_` and `/` to blanks, lower case, `AnnualCrop` one word."""
    return name.replace("_", " ").replace("/", " ").lower()


def spaced_name(name: str) -> str:
    """Return a class name as words, `AnnualCrop` as two."""
    return " ".join(published_name(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)).split())


def class_weights(embeddings: NDArray[np.float32], *, compat: bool) -> NDArray[np.float32]:
    """Return the unit vector of each class (classes, dim) from those of its prompts (classes, templates, dim).

    Every prompt has the same say; with `compat`, as published, longer vectors have more.
    """
    prompts = embeddings if compat else embeddings / np.linalg.norm(embeddings, axis=2, keepdims=True)
    mean = prompts.mean(axis=1)
    weights: NDArray[np.float32] = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return weights


def fill(templates: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return every template filled with every name, all of the first name first."""
    return [template.replace("{}", name) for name in names for template in templates]
