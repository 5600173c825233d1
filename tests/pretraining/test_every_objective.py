"""One loop: whatever is trained goes on after a kill bit for bit, and several processes learn what one does."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("torch_geometric")
pytest.importorskip("diffusers")

import chorograph.pretraining
from chorograph.pretraining.loop import loop
from chorograph.pretraining.objectives.registry import OBJECTIVES as NAMES

_HERE = Path(__file__).parent
_SCRIPT = _HERE / "every_objective.py"
NUMBER = 14


def _started(*command: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every objective: killed and gone on with, never interrupted, and by two processes."""
    folder = tmp_path_factory.mktemp("objectives")
    _started(str(_SCRIPT), "kills", str(folder))
    two = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    _started(*two, str(_SCRIPT), "shares", str(folder))
    return folder


@pytest.mark.parametrize("number", range(NUMBER))
def test_killed_at_random_and_gone_on_with(trained: Path, number: int) -> None:
    whole, killed = (torch.load(trained / f"{name}-{number}.pt") for name in ("whole", "killed"))
    assert list(whole) == list(killed)
    assert all(torch.equal(whole[name], killed[name]) for name in whole)
    assert len(json.loads((trained / "kills.json").read_text())) == NUMBER


@pytest.mark.parametrize("number", range(NUMBER))
def test_two_processes_learn_what_one_does(trained: Path, number: int) -> None:
    whole, shared = (torch.load(trained / f"{name}-{number}.pt") for name in ("whole", "shared"))
    assert list(whole) == list(shared)
    for name, tensor in whole.items():
        torch.testing.assert_close(shared[name], tensor, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def _loops_over_epochs(source: str) -> int:
    """Return how many loops and comprehensions count epochs."""
    loops = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.For | ast.comprehension)]
    return sum(
        any(isinstance(name, ast.Name) and name.id == "epoch" for name in ast.walk(node.target)) for node in loops
    )


def test_there_is_one_loop_over_epochs() -> None:
    rooms = pkgutil.walk_packages(chorograph.pretraining.__path__, "chorograph.pretraining.")
    counts = {room.name: _loops_over_epochs(inspect.getsource(importlib.import_module(room.name))) for room in rooms}
    assert {name for name, number in counts.items() if number} == {loop.__name__}
    assert counts[loop.__name__] == 1
    assert _loops_over_epochs("for epoch in range(3): pass\n[e for epoch, e in x]") == 2


def test_every_name_is_trained_here() -> None:
    """The names of `pretrain --objective` are those that the script trains."""
    text = _SCRIPT.read_text()
    assert len(NAMES.own) == 11
    for entry in NAMES.own:
        assert f'"{entry.name}"' in text or entry.name in ("coca", "clip", "siglip", "caption")
        assert entry.load().train
