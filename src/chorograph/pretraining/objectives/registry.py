"""What can be trained, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.ground.registry import Registry
from chorograph.ground.stage import Ledger, Progress


@dataclass(frozen=True)
class Trainer:
    """How an objective is trained: its settings, the files it learns from, and the call that returns those written."""

    settings: type[Any]
    inputs: Callable[[Any], list[Path]]
    train: Callable[[Any, Ledger, Progress], list[Path]]
    fixed: tuple[tuple[str, str], ...] = ()


OBJECTIVES: Registry[Trainer] = Registry("objective")
_ROOM = "chorograph.pretraining"
for _name, _path, _summary, _paper in (
    ("coca", "run:PAIRS", "contrast of images and texts, and captions", "Yu et al. 2022"),
    ("clip", "run:PAIRS", "contrast of images and texts", "Radford et al. 2021"),
    ("siglip", "run:PAIRS", "contrast of images and texts, pair by pair", "Zhai et al. 2023"),
    ("caption", "run:PAIRS", "captions alone", "Yu et al. 2022"),
    ("views", "objectives.views:VIEWS", "tiles with the street views around them, against captions", "Hao et al. 2025"),
    ("knowcl", "objectives.knowcl:KNOWCL", "images of regions against the knowledge graph", "Liu et al. 2023"),
    ("neighbours", "objectives.neighbours:NEIGHBOURS", "neighbouring tiles alike, no captions", "Jean et al. 2019"),
    ("tucker", "graph_vectors:TUCKER", "the graph's facts, by a core tensor", "Balazevic et al. 2019"),
    ("blip2", "objectives.blip2:BLIP2", "captions by a BLIP-2, whole or by lora", "Zhang et al. 2024"),
    ("diffusion", "objectives.diffusion:DIFFUSION", "pictures from words, whole or by lora", "Zhang et al. 2024"),
    ("compgcn", "graph_vectors:COMPGCN", "the graph's facts, by message passing", "Vashishth et al. 2020"),
):
    OBJECTIVES.add(_name, f"{_ROOM}.{_path}", _summary, paper=_paper)
