"""Pages from templates: everything that comes from data is escaped."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from chorograph.ground.errors import InputError

#: Our own scripts and styles.
STATIC = Path(__file__).parent / "static"


@cache
def environment() -> Environment:
    """Return the environment of all templates: escaping, and strict about what is missing."""
    made = Environment(
        loader=PackageLoader("chorograph.serving.pages", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["place"] = place
    return made


def place(value: float, scale: Mapping[str, float]) -> float:
    """Return where on a line of 200 a value stands; values beyond the ends of the scale stand at its ends."""
    share = (value - scale["low"]) / (scale["high"] - scale["low"])
    return round(200 * min(max(share, 0.0), 1.0), 1)


def render(name: str, **content: Any) -> str:
    """Return a page."""
    return environment().get_template(name).render(**content)


def map_library() -> Path:
    """Return the folder of MapLibre, which the build puts beside the library; `InputError` where it did not."""
    found = importlib.util.find_spec("chorograph_web")
    if found is None or not found.submodule_search_locations:
        raise InputError(
            "the map library is not installed: install chorograph from a wheel, or, from its source, again with "
            "network (`make test` does it)"
        )
    return Path(found.submodule_search_locations[0])
