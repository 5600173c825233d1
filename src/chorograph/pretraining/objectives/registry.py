"""What can be trained, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chorograph.ground.errors import SettingError
from chorograph.ground.registry import Registry
from chorograph.ground.settings import configure
from chorograph.ground.stage import Ledger, Progress

if TYPE_CHECKING:
    from chorograph.pretraining.config import PretrainConfig


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
    (
        "neighbours",
        "objectives.neighbours:NEIGHBOURS",
        "neighbouring tiles alike, no captions",
        "Jean et al. 2019",
    ),
    ("tucker", "graph_vectors:TUCKER", "the graph's facts, by a core tensor", "Balazevic et al. 2019"),
    ("blip2", "objectives.blip2:BLIP2", "captions by a BLIP-2, whole or by lora", "Zhang et al. 2024"),
    ("diffusion", "objectives.diffusion:DIFFUSION", "pictures from words, whole or by lora", "Zhang et al. 2024"),
    ("compgcn", "graph_vectors:COMPGCN", "the graph's facts, by message passing", "Vashishth et al. 2020"),
):
    OBJECTIVES.add(_name, f"{_ROOM}.{_path}", _summary, paper=_paper)


def settings_of(config: PretrainConfig, trainer: Trainer) -> Any:
    """Return an objective's own settings: those of `pretrain` that are not left as they are, and those of `--set`.

    What is left as it is, the objective decides: KnowCL passes 60 times over its regions. Raises `UnknownNameError` for
    a setting that it does not have.
    """
    if isinstance(config, trainer.settings):
        if config.set_:
            raise SettingError(f"--set is for views and those after it in `chorograph list objectives`: {config.set_}")
        return config
    own = {field.name for field in dataclasses.fields(trainer.settings)}
    given: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if field.name in own and value != default:
            given[field.name] = value
    for word in config.set_:
        name, equals, text = word.partition("=")
        if not equals:
            raise SettingError(f"--set is NAME=VALUE, not {word!r}")
        given[name] = {"true": True, "false": False}.get(text, text)
    return configure(trainer.settings, given | dict(trainer.fixed), where=f"--set of {config.objective}")
