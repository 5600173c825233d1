"""An area to which sources add, and what is asked of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_sources import ALLOW, make_area

from chorograph.ground.settings import configure
from chorograph.ground.stage import Outcome, silent
from chorograph.verbs.area.add import imagery
from chorograph.verbs.table import get_verb


@pytest.fixture
def area(tmp_path: Path) -> Path:
    """Return an area of regions alone."""
    return make_area(tmp_path / "area")


@pytest.fixture
def add(area: Path) -> Callable[..., Outcome]:
    """Return a function that runs `area add KIND` on the area, quickly."""

    def call(kind: str, from_: str, **asked: Any) -> Outcome:
        verb = get_verb(f"area add {kind}")
        quick = {"allow": ALLOW, "pause_s": 0, "per_host": 8}
        return verb(configure(verb.settings, {"area": area, "from": from_, **quick, **asked}), silent)

    return call


@pytest.fixture
def asked(area: Path) -> Callable[..., Any]:
    """Return a function that makes the settings of `area add imagery`."""
    return lambda **others: imagery.Settings(area=area, from_=str(area), allow=ALLOW, **others)
