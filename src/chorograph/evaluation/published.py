"""Published results, to stand beside what was measured."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from chorograph.ground.errors import UnknownNameError

#: What is set beside a model that no published row was measured with.
REFERENCE = "GeoRSCLIP ViT-B/32, released"
_RECALLS = (
    *(f"{way}_recall@{cut}" for way in ("image_to_text", "text_to_image") for cut in (1, 5, 10)),
    "mean_recall",
)


@dataclass(frozen=True)
class Published:
    """A row of a published table: its scores by (data set, score), percent as printed, and where they are from.

    `weights` are how the names of its models end; `architecture` is the one that those weights were trained in.
    """

    name: str
    source: str
    weights: tuple[str, ...]
    architecture: str | None
    scores: Mapping[tuple[str, str], float]


@cache
def published() -> tuple[Published, ...]:
    """Return every published row, in the order of `published.toml`."""
    content = _content()
    rows = []
    for model in content["model"]:
        scores = {(name, "accuracy"): value for name, value in model.get("zero_shot", {}).items()}
        for name, values in model.get("retrieval", {}).items():
            scores |= {(name, recall): v for recall, v in zip(_RECALLS[-len(values) :], values, strict=True)}
        scores |= {("AIR-SLT", name): value for name, value in model.get("localization", {}).items()}
        source, weights = content["sources"][model["source"]], tuple(model.get("weights", ()))
        rows.append(Published(model["name"], source, weights, model.get("architecture"), scores))
    return tuple(rows)


def published_sizes() -> dict[str, int]:
    """Return how many images (queries, for AIR-SLT) the published test sets have."""
    sizes: dict[str, int] = _content()["sizes"]
    return sizes


def find_published(against: str, model: str) -> Published:
    """Return the row named `against`; for `auto`, that of the model's weights file or tag, or GeoRSCLIP's ViT-B/32.

    Raises `UnknownNameError` with near misses.
    """
    rows = {row.name: row for row in published()}
    if against != "auto":
        if against not in rows:
            raise UnknownNameError.of("published row", against, rows)
        return rows[against]
    return next((row for row in rows.values() if _is_of(row, model)), rows[REFERENCE])


def wrong_architecture(row: Published, model: str) -> str | None:
    """Return a warning where a model is a row's weights in another architecture: an activation changes no shape."""
    architecture = model.removeprefix("open_clip:").partition("/")[0]
    if row.architecture in (None, architecture) or not _is_of(row, model):
        return None
    return f"these weights were trained as {row.architecture}, not {architecture}: expect lower scores"


def _is_of(row: Published, model: str) -> bool:
    return re.sub(r"\.(pt|pth|bin|safetensors)$", "", model).endswith(row.weights)


@cache
def _content() -> dict[str, Any]:
    return tomllib.loads(files("chorograph.evaluation").joinpath("published.toml").read_text(encoding="utf-8"))
