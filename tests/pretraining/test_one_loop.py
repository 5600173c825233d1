"""Whatever has a name among the objectives is trained by `Loop.run`, and nothing of this library but that trains."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("torch_geometric")
pytest.importorskip("diffusers")

import tiny_hf
from chorograph.area.embeddings import Embeddings
from chorograph.ground.registry import Entry
from chorograph.ground.settings import configure
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.loop.loop import Loop
from chorograph.pretraining.loop.objective import Objective, Place, Portion
from chorograph.pretraining.loop.session import session, states_of
from chorograph.pretraining.loop.world import World
from chorograph.pretraining.objectives.registry import OBJECTIVES, Trainer
from chorograph.synthetic import SyntheticCityConfig, build_synthetic
from chorograph.verbs.pretrain import run as pretrain

_ROOM = Path(__file__).resolve().parents[2] / "src" / "chorograph" / "pretraining"


@dataclass(frozen=True)
class Points:
    """Points of the line y = 2 x + 1, which a process has its share of."""

    place: Place | None
    x: Tensor
    dropped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class LineBatches:
    world: World = field(default_factory=World)
    an_epoch: int = 4
    in_memory: bool = True

    def __getitem__(self, place: Place) -> Points:
        return Points(place, torch.linspace(-1, 1, 8)[:, None] + place[1] / 10)

    def held(self) -> Iterator[Points]:
        yield Points(None, torch.linspace(-2, 2, 5)[:, None])

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


class _Errors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(1, 1)
        nn.init.zeros_(self.line.weight)
        nn.init.zeros_(self.line.bias)

    def forward(self, x: Tensor) -> Any:
        return (), {"squares": (self.line(x) - (2 * x + 1)).square().sum()}


class Line(Objective[Points]):
    """An objective of somebody else: what a batch is, and what its loss is; no loop, no optimiser."""

    name, what, rows, contrasts, weights = "line", "fitting a line", "points", False, {"squares": 1.0}

    def __init__(self) -> None:
        super().__init__()
        self.module = _Errors()

    def portions(self, batch: Points, number: int) -> list[Portion]:
        return [(part,) for part in batch.x.chunk(number)]

    def amounts(self, portion: Portion) -> dict[str, int]:
        return {"squares": len(portion[0])}


def train_line(config: PretrainConfig, ledger: Ledger, progress: Progress = silent) -> list[Path]:
    with session(config, states_of(config.out), progress) as around:
        objective = Line()
        state = around.train(objective, LineBatches(), config, config.lr or 0.1, "points of a line")
        found = {name: value.item() for name, value in objective.module.named_parameters()}
        config.out.mkdir()
        written = config.out / "line.json"
        written.write_text(json.dumps({**found, "history": state.history}))
        return [written]


def _run(name: str, out: Path, **settings: Any) -> None:
    asked = {"area": "nowhere", "out": out, "objective": name, "device": "cpu", **settings}
    pretrain(configure(PretrainConfig, asked), silent)


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> None:
    """The objective under a name of its own, as a plug-in would have it."""
    trainer = Trainer(PretrainConfig, lambda config: [], train_line)
    monkeypatch.setitem(OBJECTIVES._entries, "line", Entry("line", lambda: trainer, "a line"))


def test_what_somebody_registers_has_all_that_the_loop_can(
    line: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {"epochs": 30, "lr": 0.3, "weight_decay": 0, "accumulate": 3, "checkpoint_every": "1"}
    _run("line", tmp_path / "whole", **asked)
    found = json.loads((tmp_path / "whole" / "line.json").read_text())
    assert found["line.weight"] == pytest.approx(2, abs=0.05)
    assert found["line.bias"] == pytest.approx(1, abs=0.05)
    last = found["history"][-1]
    assert last["val_loss"] < 0.01
    assert last["points_per_s"] > 0
    learn = Loop.learn

    def killed(loop: Loop[Any], batch: Any) -> None:
        if loop.state.step == 70:
            raise KeyboardInterrupt
        learn(loop, batch)

    monkeypatch.setattr(Loop, "learn", killed)
    with pytest.raises(KeyboardInterrupt):
        _run("line", tmp_path / "killed", **asked)
    monkeypatch.setattr(Loop, "learn", learn)
    _run("line", tmp_path / "killed", **asked)
    again = json.loads((tmp_path / "killed" / "line.json").read_text())
    assert [again[name] for name in ("line.weight", "line.bias")] == [found["line.weight"], found["line.bias"]]


class ReachedError(Exception):
    """The loop was asked to run."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_hf.blip2(folder / "blip2", ["a road"])
    tiny_hf.diffusion(folder / "sd", ["a road"])
    area = build_synthetic(
        SyntheticCityConfig(regions=6, tiles_per_region=2, street_views_per_region=0), folder / "tiles"
    )
    images = area.images
    vectors = np.random.default_rng(0).standard_normal((len(images), 4), dtype=np.float32)
    ids, hashes = (images[name].to_numpy(object) for name in ("image_id", "sha256"))
    Embeddings("made", "made-1", ids, hashes, vectors).write(area.embeddings_path("made"))
    return folder


_ASKED: dict[str, Callable[[Path], dict[str, Any]]] = {
    "clip": lambda models: {"model": "clip-small"},
    "siglip": lambda models: {"model": "clip-small"},
    "views": lambda models: {"model": "clip-small", "set": ["street_views=0"]},
    "knowcl": lambda models: {"set": ["graph=TuckER-16", "tower=resnet10t"]},
    "neighbours": lambda models: {"area": models / "tiles", "set": ["vectors=made"]},
    "blip2": lambda models: {"area": "synthetic:8", "init": models / "blip2", "adapter": "lora"},
    "diffusion": lambda models: {"area": "synthetic:8", "init": models / "sd", "adapter": "lora"},
}


@pytest.mark.parametrize("name", [entry.name for entry in OBJECTIVES.own])
def test_every_name_leads_to_the_loop(
    city: Path, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def reached(loop: Loop[Any]) -> None:
        raise ReachedError(loop.objective.name)

    monkeypatch.setattr(Loop, "run", reached)
    with pytest.raises(ReachedError, match=name):
        _run(name, tmp_path / "out", **{"area": city, **_ASKED.get(name, lambda models: {})(models)})


def test_nothing_else_steps_an_optimiser() -> None:
    """`backward` is called by the step alone, and an optimiser is made by the loop alone (PyKEEN brings its own)."""
    own = {"loop/step.py", "loop/loop.py", "loop/optimiser.py", "objectives/pykeen.py"}
    for path in sorted(_ROOM.rglob("*.py")):
        if path.relative_to(_ROOM).as_posix() in own:
            continue
        calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        called = {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in calls}
        assert not called & {"backward", "make_optimiser", "AdamW", "Adam", "SGD", "zero_grad"}, path
