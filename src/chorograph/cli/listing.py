"""What `list` and `doctor` say."""

from __future__ import annotations

import platform
import shutil
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

from chorograph.ground.errors import UnknownNameError
from chorograph.ground.extras import modules_by_extra
from chorograph.ground.registry import Registry
from chorograph.ground.settings import describe

#: Where each kind of named things is registered.
_REGISTRIES = {
    "encoders": "chorograph.models.encoders.registry:ENCODERS",
    "probes": "chorograph.prediction.probes.names:PROBES",
    "splits": "chorograph.area.split_names:SPLITS",
    "sources": "chorograph.acquisition.sources.source:SOURCES",
    "layouts": "chorograph.acquisition.layouts.registry:LAYOUTS",
    "objectives": "chorograph.pretraining.objectives.registry:OBJECTIVES",
    "captioners": "chorograph.captioning.registry:CAPTIONERS",
}
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def listing(kind: str) -> list[dict[str, str]]:
    """Return name, summary, paper and licence of everything of `kind`; `UnknownNameError` for another kind."""
    if kind in _REGISTRIES:
        module, _, name = _REGISTRIES[kind].partition(":")
        registry: Registry[Any] = getattr(import_module(module), name)
        return [{"name": e.name, "summary": e.summary, "paper": e.paper, "licence": e.licence} for e in registry]
    if kind not in _TABLES:
        raise UnknownNameError.of("kind to list", kind, KINDS)
    return _TABLES[kind]()


def reference() -> str:
    """Return the reference of every verb as Markdown, from the same configurations that make the commands."""
    import dataclasses
    import typing

    from chorograph.recipe.config import DemoConfig, RunConfig
    from chorograph.verbs.table import VERBS

    verbs = [(verb.name, verb.summary, verb.settings, verb.positional) for verb in VERBS.values()]
    verbs += [("run", "Run a recipe.", RunConfig, ("recipe",)), ("demo", "Run the recipe `synthetic`.", DemoConfig, ())]
    lines = ["# Reference", "", "Made by `chorograph reference`; the same names are keys of a recipe's stages.", ""]
    for name, summary, config, positional in verbs:
        lines += [f"## `chorograph {name}`", "", summary, "", "| setting | default | meaning |", "|---|---|---|"]
        hints = typing.get_type_hints(config)
        for field in dataclasses.fields(config):
            shown = field.name.upper() if field.name in positional else f"--{field.name.rstrip('_').replace('_', '-')}"
            missing = field.default is dataclasses.MISSING
            required = missing and field.default_factory is dataclasses.MISSING
            default = "required" if required else "" if missing or field.default is None else str(field.default)
            several = " (may be repeated)" if typing.get_origin(hints[field.name]) is list else ""
            lines.append(f"| `{shown}` | {default} | {describe(field)}{several} |".replace("|  |", "| |"))
        lines.append("")
    return "\n".join(lines)


def diagnosis() -> dict[str, str]:
    """Return versions, extras, devices and browser of this installation."""
    facts = {"chorograph": version("chorograph"), "python": sys.version.split()[0], "platform": platform.platform()}
    for extra, modules in modules_by_extra().items():
        missing = [module for module in modules if find_spec(module) is None]
        name = f"extra {extra}" if extra else "base"
        facts[name] = "installed" if not missing else f"missing {', '.join(missing)}"
    for package in ("torch", "open_clip_torch", "geopandas", "scikit-learn"):
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    facts["cuda"] = _cuda()
    facts["browser (tests only)"] = next((path for name in _BROWSERS if (path := shutil.which(name))), "none")
    return facts


def _cuda() -> str:
    if find_spec("torch") is None:
        return "no torch"
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "none"


def _verbs() -> list[dict[str, str]]:
    from chorograph.verbs.table import VERBS

    return [{"name": verb.name, "summary": verb.summary} for verb in VERBS.values()]


def _recipes() -> list[dict[str, str]]:

    from chorograph.ground.recipe_file import read_yaml, shipped_recipes

    rows = []
    for path in shipped_recipes():
        content = read_yaml(path)
        rows.append({"name": path.stem, "summary": content["title"], "paper": content.get("paper", "")})
    return rows


def _tables() -> list[dict[str, str]]:
    from chorograph.area.tables import TABLES

    return [
        {"name": table.name, "summary": ", ".join(f"{c.name}{'?' if c.nullable else ''}" for c in table.columns)}
        for table in TABLES.values()
    ]


def _prompts() -> list[dict[str, str]]:
    from chorograph.evaluation.prompts import PROMPTS

    return [{"name": name, "summary": f"{len(set_)}, from {set_[0]!r}"} for name, set_ in PROMPTS.items()]


def _published() -> list[dict[str, str]]:
    from chorograph.evaluation.published import published

    return [
        {
            "name": row.name,
            "summary": "; ".join(f"{data} {score} {value:g}" for (data, score), value in row.scores.items()),
            "paper": row.source,
        }
        for row in published()
    ]


#: What can be listed and is no registry.
_TABLES: dict[str, Callable[[], list[dict[str, str]]]] = {
    "verbs": _verbs,
    "recipes": _recipes,
    "tables": _tables,
    "prompts": _prompts,
    "published": _published,
}
KINDS = (*_REGISTRIES, *_TABLES)
