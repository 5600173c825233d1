"""Two processes against one: the same global batch, the same losses, gradients and weights."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from chorograph.area.folder import Area
from chorograph.graph.facts import Graph
from chorograph.ground.settings import configure
from chorograph.models.coca import towers as coca
from chorograph.models.coca.contrast import with_bias
from chorograph.models.coca.towers import build, trim
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.loop.optimiser import clip_gradients, make_optimiser
from chorograph.pretraining.loop.parallel import restore, spread, state_of, whole_weights
from chorograph.pretraining.loop.step import Step
from chorograph.pretraining.loop.world import World, join_world
from chorograph.pretraining.objectives.graph_contrast import GraphContrast
from chorograph.pretraining.objectives.pairs import PAIRINGS, Pairing
from chorograph.pretraining.run import pretrain

_HERE = Path(__file__).parent
_STEPS = 2
#: Name, objective, portions, shards.
_CASES: tuple[tuple[str, Pairing, int, bool], ...] = (
    ("coca", PAIRINGS["coca"], 1, False),
    ("coca in portions", PAIRINGS["coca"], 2, False),
    ("clip", PAIRINGS["clip"], 1, False),
    ("siglip", PAIRINGS["siglip"], 1, False),
    ("caption", PAIRINGS["caption"], 1, False),
    ("with a graph", replace(PAIRINGS["clip"], name="graph"), 2, False),
    ("coca in shards", PAIRINGS["coca"], 1, True),
    ("coca in shards and portions", PAIRINGS["coca"], 2, True),
)


def _train(pairing: Pairing, number: int, shards: bool, world: World) -> dict[str, Any]:
    """Take steps with this process's share of a batch of seven; returns losses, gradients, weights and a state."""
    from test_step import BATCH, batch, objective_of, tiny

    images, tokens = batch(7)
    model = build(tiny(), 0)
    if pairing.sigmoid:
        with_bias(model)
    if not pairing.captioning:
        model.text_decoder.requires_grad_(False)  # type: ignore[union-attr,operator]
    graph = _graph() if pairing.name == "graph" else None
    objective = objective_of(model, pairing, graph=graph)
    towers = spread(objective, world, shards=shards)
    # A gentle optimiser: AdamW's first steps turn rounding errors of tiny gradients into full steps.
    optimiser = make_optimiser(model.parameters(), 1e-4, 0.1, torch.device("cpu"))
    for group in optimiser.param_groups:
        group["eps"] = 1e-3
    step = Step(objective, towers, world)
    owners = torch.tensor([3, 4, 4, -1, 3, 5, 5])  # entities: a, b, c, r0, r1, r2, x, y
    rows = np.array_split(np.arange(7), world.size)[world.rank]
    parts = np.array_split(rows, number)

    def portion(part: Any) -> tuple[Tensor, ...]:
        return (images[part], trim(model, tokens[part]), *(() if graph is None else (owners[part],)))

    losses = []
    for _ in range(_STEPS):
        optimiser.zero_grad()
        losses.append(step.backward(BATCH, [portion(part) for part in parts]))
        every = [*model.named_parameters(), *(() if graph is None else graph.named_parameters("graph"))]
        gradients = {name: _whole(p.grad) for name, p in every if p.grad is not None}
        if graph is not None:
            graph.zero_grad()
        clip_gradients(list(model.parameters()), 0.5)
        optimiser.step()
    with torch.no_grad():
        objective.portions = lambda batch, number: [portion(rows)]  # type: ignore[method-assign]
        validated, _ = step.losses(SimpleNamespace(place=None))  # type: ignore[arg-type]
    state = state_of(towers, optimiser)
    weights = whole_weights(towers) if shards else {k: v.clone() for k, v in model.state_dict().items()}
    kept = copy.deepcopy(state["model"])
    restore(towers, optimiser, state)  # which may put parts in the place of what it is given
    again = state_of(towers, optimiser)
    assert all(torch.equal(again["model"][name], kept[name]) for name in kept)
    return {"losses": losses, "validated": validated, "gradients": gradients, "weights": weights}


def _graph() -> GraphContrast:
    """Three regions, each with a point of interest of one of two categories."""
    facts = [("a", "cateOf", "x"), ("b", "cateOf", "y"), ("c", "cateOf", "x")]
    facts += [("a", "locateAt", "r0"), ("b", "locateAt", "r1"), ("c", "locateAt", "r2")]
    kinds = {"a": "poi", "b": "poi", "c": "poi", "x": "category", "y": "category"}
    kinds |= dict.fromkeys(("r0", "r1", "r2"), "region")
    names = sorted(kinds)
    regions = [name if name.startswith("r") else None for name in names]
    entities = pd.DataFrame({"entity": names, "kind": [kinds[name] for name in names], "region_id": regions})
    graph = Graph.of(pd.DataFrame(facts, columns=["head", "relation", "tail"]), entities)
    rows = graph.rows_of(pd.Series(["r0", "r1", "r2"]))
    torch.manual_seed(0)
    vectors = torch.randn(len(names), 6)
    return GraphContrast(vectors, graph, rows, 0.7, 32, {f"i{n}": int(row) for n, row in enumerate(rows)})


def _whole(tensor: Any) -> Tensor:
    whole: Tensor = tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
    return whole.clone()


def _run_all() -> None:
    """What each of the two processes does."""
    with join_world("cpu") as world:
        for number, (_, pairing, portions, shards) in enumerate(_CASES):
            found = _train(pairing, portions, shards, world)
            if world.first:
                torch.save(found, Path(sys.argv[1]) / f"{number}.pt")


def _torchrun(*command: str, timeout: float = 3600) -> None:
    paths = os.pathsep.join((str(_HERE), str(_HERE.parents[1] / "src")))
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    process = subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        _, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        process.terminate()  # and with it the processes it started, which kill would orphan
        _, errors = process.communicate()
    assert process.returncode == 0, errors[-3000:]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    _torchrun(str(Path(__file__)), str(folder))
    return folder


@pytest.mark.parametrize("number", range(len(_CASES)), ids=[name for name, *_ in _CASES])
def test_two_processes_are_one(two: Path, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(_HERE))
    expected = _train(_CASES[number][1], 1, False, World())
    found = torch.load(two / f"{number}.pt", weights_only=True)
    for ours, theirs in zip(found["losses"], expected["losses"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-6)
    assert found["validated"] == pytest.approx(expected["validated"], rel=1e-5)
    for what in ("gradients", "weights"):  # gradients to 1e-5 of a tensor's largest, weights to 1e-6
        assert {name.removeprefix("model.") for name in found[what]} == expected[what].keys()
        for name, tensor in found[what].items():
            wanted = expected[what][name.removeprefix("model.")]
            atol = 1e-6 if what == "weights" else max(1e-5 * wanted.abs().max().item(), 1e-7)
            torch.testing.assert_close(tensor, wanted, rtol=0, atol=atol, msg=lambda m, n=name, w=what: f"{w} {n}: {m}")


#: The command line with a small model without batch norms, which would see one process's images alone.
_PROGRAM = """
from chorograph.models.coca import towers as coca
model = coca.SMALL["coca-small"]
coca.SMALL["coca-small"] = {**model, "conv_stem": False, "vision_cfg": {**model["vision_cfg"], "image_size": 32}}
from chorograph.cli import main
main()
"""


def test_the_same_command_under_torchrun(colours: Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes, one writes: the history and weights of one process."""
    asked = {
        "area": colours.path, "batch_size": 9, "epochs": 2, "device": "cpu", "holdout": "0.25", "checkpoint_every": "2",
        "lr": 1e-4,
    }  # fmt: skip
    model = coca.SMALL["coca-small"]
    small = {**model, "conv_stem": False, "vision_cfg": {**model["vision_cfg"], "image_size": 32}}
    with monkeypatch.context() as patched:
        patched.setitem(coca.SMALL, "coca-small", small)
        alone = pretrain(colours, configure(PretrainConfig, {**asked, "out": tmp_path / "one"}))
    program, both = tmp_path / "program.py", tmp_path / "both"
    program.write_text(_PROGRAM)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in asked.items() if name != "area"]
    _torchrun(str(program), "pretrain", str(colours.path), "--out", str(both), *options)
    together = [json.loads(line) for line in (both / "history.jsonl").read_text().splitlines()]
    for ours, theirs in zip(together, alone.history, strict=True):
        assert ours.keys() == theirs.keys()
        for name in ("train_loss", "val_loss", "val_captioning", "mean_recall", "logit_scale"):
            assert ours[name] == pytest.approx(theirs[name], rel=1e-4), name
    weights = load_file(both / "model.safetensors")
    for name, tensor in load_file(alone.folder / "model.safetensors").items():
        torch.testing.assert_close(weights[name], tensor, rtol=1e-3, atol=3e-4)
    described = json.loads((alone.folder / "config.json").read_text())
    assert json.loads((both / "manifest.json").read_text())["counts"] == described["counts"]
    assert not list(tmp_path.glob("*.resume"))


def test_a_world_of_one_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(_HERE))
    from test_step import objective_of, tiny

    world = World()
    rows = torch.arange(6.0).view(3, 2)
    assert torch.equal(world.gather(rows, world.sizes(3, rows.device)), rows)
    assert torch.equal(world.sum(rows), rows)
    assert world.told("a") == "a"
    assert world.all("a") == ["a"]
    objective = objective_of(build(tiny(), 0), PAIRINGS["clip"])
    assert spread(objective, world, shards=False) is objective.module


if __name__ == "__main__":
    _run_all()
