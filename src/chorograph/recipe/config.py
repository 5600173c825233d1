"""What `run` and `demo` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting


@dataclass(frozen=True)
class RunConfig:
    """Settings of `chorograph run`."""

    recipe: str = setting(help="a recipe file, or the name of one that ships with chorograph")
    out: Path = setting(Path("run"), help="folder for everything that the recipe makes")
    set: list[str] = setting([], help="NAME=VALUE for an argument of the recipe, for example data=path/to/folder")


@dataclass(frozen=True)
class DemoConfig:
    """Settings of `chorograph demo`."""

    out: Path = setting(Path("demo"), help="folder for everything that the demo makes")
