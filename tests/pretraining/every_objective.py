"""Every objective on made-up data, small enough for a few steps a second; started by test_every_objective.

python every_objective.py kills FOLDER        each is killed at random steps, and gone on with
torchrun ... every_objective.py shares FOLDER  each is trained by all processes together
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import tiny_hf
from chorograph.graph.facts import Graph, both_ways
from chorograph.models.captioners import blip2
from chorograph.models.coca import towers
from chorograph.models.coca.contrast import with_bias
from chorograph.models.diffusion import pipeline
from chorograph.models.encoders.open_clip import new_model
from chorograph.models.graph.aligned import PixelTower, VectorTower
from chorograph.models.graph.alignment import Alignment, GraphTower
from chorograph.models.graph.compgcn import CompGcn
from chorograph.models.graph.links import CompGcnLinks
from chorograph.models.graph.tucker import TuckER
from chorograph.models.views.multi_granularity import MultiGranularity
from chorograph.pretraining.config import AlignConfig, LoopSettings, NeighboursConfig, ViewsConfig
from chorograph.pretraining.feeds.facts import ReadFacts
from chorograph.pretraining.feeds.feed import Batches
from chorograph.pretraining.feeds.pairs import InMemory, Pairs
from chorograph.pretraining.loop.loop import Loop
from chorograph.pretraining.loop.resume import Interval, Resume
from chorograph.pretraining.loop.world import World, join_world
from chorograph.pretraining.objectives.blip2 import Blip2Objective
from chorograph.pretraining.objectives.diffusion import DiffusionConfig, DiffusionObjective
from chorograph.pretraining.objectives.knowcl import KnowclObjective, RegionBatches, Regions
from chorograph.pretraining.objectives.links import (
    CompGcnObjective,
    FactBatches,
    PairBatches,
    TuckerObjective,
)
from chorograph.pretraining.objectives.neighbours import NeighboursObjective, TileBatches, nearest_tiles
from chorograph.pretraining.objectives.pairs import PAIRINGS, PairObjective
from chorograph.pretraining.objectives.views import Scene, SceneBatches, ViewsObjective

WORDS = ("red", "green", "blue", "field", "road", "water", "house", "tree")
#: A gentle optimiser: the first steps of AdamW turn rounding errors of tiny gradients into full steps.
_ASKED: dict[str, Any] = {"epochs": 2, "batch_size": 6, "device": "cpu", "epsilon": 1e-3, "checkpoint_every": "1"}
SETTINGS = LoopSettings(**_ASKED)
Made = tuple[Any, Any, LoopSettings]

_VISION = {"image_size": 32, "patch_size": 16, "width": 16, "head_width": 8, "layers": 1, "mlp_ratio": 1.0}
_TEXT = {"context_length": 12, "width": 16, "heads": 2, "layers": 1, "mlp_ratio": 1.0, "vocab_size": 64}


def shrink() -> None:
    """Make the small models smaller, and without batch norms, which would see one process's images alone."""
    for name, config in towers.SMALL.items():
        vision, text = {**config["vision_cfg"], **_VISION}, {**config["text_cfg"], **_TEXT}
        small = {**config, "embed_dim": 16, "conv_stem": False, "vision_cfg": vision, "text_cfg": text}
        if "multimodal_cfg" in config:
            small["multimodal_cfg"] = {
                key: _TEXT[key] for key in ("context_length", "vocab_size", "width", "heads", "layers")
            }
            vision |= {"attn_pooler_queries": 3, "attn_pooler_heads": 2}
        towers.SMALL[name] = small


def pairs_of(number: int, side: int = 32, seed: int = 0) -> Pairs:
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.integers(0, 256, (number, 3, side, side), dtype=np.uint8))
    said = rng.integers(0, len(WORDS), (number, 2, 3))
    captions = tuple(tuple(" ".join(WORDS[word] for word in row) for row in rows) for rows in said)
    return Pairs(tuple(f"i{seed}-{row}" for row in range(number)), InMemory(pixels), captions)


def _pair(name: str) -> Callable[[World, Path], Made]:
    def make(world: World, folder: Path) -> Made:
        model = "coca-small" if PAIRINGS[name].captioning else "clip-small"
        loaded = new_model(model, seed=0, captions=list(WORDS) * 2)
        if name == "siglip":
            with_bias(loaded.model)
        pairs, held = pairs_of(13), pairs_of(4, seed=1)
        objective = PairObjective(PAIRINGS[name], loaded, pairs=pairs, held=held, batch_size=6)
        return objective, Batches(pairs, 6, 0, world, held), SETTINGS

    return make


def _norms(world: World, folder: Path) -> Made:
    """A tower with a batch norm, which sees the rows of all processes."""
    objective, source, settings = _pair("clip")(world, folder)
    tower = objective.loaded.model.visual
    tower.conv1 = torch.nn.Sequential(tower.conv1, torch.nn.BatchNorm2d(tower.conv1.out_channels))
    return objective, source, replace(settings, sync_batchnorm=True)


def _graph() -> Graph:
    facts = [(f"p{n}", "cateOf", f"c{n % 3}") for n in range(24)] + [
        (f"p{n}", "locateAt", f"r{n % 8}") for n in range(24)
    ]
    names = sorted({name for head, _, tail in facts for name in (head, tail)})
    kind = {"p": "poi", "c": "category", "r": "region"}
    entities = pd.DataFrame({"entity": names, "kind": [kind[name[0]] for name in names]})
    entities["region_id"] = [name if name[0] == "r" else None for name in names]
    return Graph.of(pd.DataFrame(facts, columns=["head", "relation", "tail"]), entities)


def _views(world: World, folder: Path) -> Made:
    loaded = new_model("clip-small", seed=0, captions=list(WORDS) * 2)
    config = ViewsConfig(area=folder, out=folder, street_views=2, location_hidden=4, **_ASKED)
    torch.manual_seed(0)
    model = MultiGranularity(loaded, "gated", 4)
    of_tile = tuple(np.arange(3 * (row // 2), 3 * (row // 2) + 3) for row in range(16))
    places = torch.from_numpy(np.random.default_rng(2).random((24, 2), dtype=np.float32))
    tiles, streets = pairs_of(16), pairs_of(24, seed=3)
    scene = Scene(
        tiles, streets, places, of_tile, np.arange(12), np.arange(12, 16), np.arange(18), np.arange(18, 24), ""
    )
    return ViewsObjective(loaded, model, scene, config), SceneBatches(scene, config, True, world), config


def _knowcl(on_pixels: bool) -> Callable[[World, Path], Made]:
    def make(world: World, folder: Path) -> Made:
        graph, rng = _graph(), np.random.default_rng(4)
        config = AlignConfig(area=folder, out=folder, images=2, lr=1e-2, **_ASKED)
        rows = graph.rows_of(pd.Series([f"r{n}" for n in range(8)]))
        regions = Regions(
            np.array([f"r{n}" for n in range(8)], dtype=object),
            rows,
            tuple(np.arange(3 * n, 3 * n + 3) for n in range(8)),
        )
        torch.manual_seed(0)
        given = torch.from_numpy(rng.integers(0, 256, (24, 3, 16, 16), dtype=np.uint8))
        tower: Any = VectorTower(5, 8)
        if on_pixels:
            tower = PixelTower("resnet10t")
            tower.network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 8))  # no batch norms
            tower.width = 8
        else:
            given = torch.from_numpy(rng.standard_normal((24, 5), dtype=np.float32))
        network = CompGcn(graph.number_of_relations, 6)
        is_region = torch.tensor([value is not None for value in graph.region_ids])
        model = Alignment(tower, 8, GraphTower(torch.randn(graph.number_of_entities, 6), is_region, network, dim=4))
        source = RegionBatches(regions, np.arange(8), ReadFacts.of(graph, 2), config, world)
        return KnowclObjective(model, given, published=False, world=world), source, config

    return make


def _neighbours(world: World, folder: Path) -> Made:
    rng = np.random.default_rng(0)
    vectors = torch.from_numpy(rng.normal(size=(20, 6)).astype(np.float32))
    nearest = nearest_tiles(rng.random(20), rng.random(20), 3)
    config = NeighboursConfig(area=folder, out=folder, **_ASKED)
    torch.manual_seed(0)
    return NeighboursObjective(VectorTower(6, 8), vectors), TileBatches(nearest, config, world), config


def _tucker(world: World, folder: Path) -> Made:
    graph = _graph()
    both = both_ways(graph.facts, graph.number_of_relations)
    source = PairBatches(both, graph.number_of_entities, 2 * graph.number_of_relations, 12, 16, 0, world)
    torch.manual_seed(0)
    return TuckerObjective(TuckER(graph.number_of_entities, 2 * graph.number_of_relations, 6)), source, SETTINGS


def _compgcn(world: World, folder: Path) -> Made:
    graph = _graph()
    torch.manual_seed(0)
    objective = CompGcnObjective(CompGcnLinks(graph, CompGcn(graph.number_of_relations, 6), 6))
    return objective, FactBatches(graph, graph.facts, 4, 2, 16, 0, world), SETTINGS


def _blip2(world: World, folder: Path) -> Made:
    plain = blip2.load_blip2(folder / "blip2")
    adapted = blip2.adapt(plain, rank=4, alpha=4, dropout=0.0, targets=(), seed=0)
    pairs, held = pairs_of(13), pairs_of(4, seed=1)
    return Blip2Objective(adapted, 0), Batches(pairs, 6, 0, world, held), SETTINGS


def _diffusion(large: bool) -> Callable[[World, Path], Made]:
    def make(world: World, folder: Path) -> Made:
        loaded = pipeline.load_diffusion(str(folder / ("sdxl" if large else "sd")))
        for part in (loaded.pipeline.vae, loaded.pipeline.text_encoder):
            part.requires_grad_(False)
        if not large:
            pipeline.adapt(loaded, rank=4, alpha=4, dropout=0.0, targets=(), seed=0)
        config = DiffusionConfig(area=folder, out=folder, ema=0.9, **_ASKED)
        pairs, held = pairs_of(13, 16), pairs_of(4, 16, seed=1)
        return DiffusionObjective(loaded, config), Batches(pairs, 6, 0, world, held), config

    return make


OBJECTIVES: dict[str, Callable[[World, Path], Made]] = {
    **{name: _pair(name) for name in PAIRINGS},
    "clip, batch norms": _norms,
    "views": _views,
    "knowcl": _knowcl(False),
    "knowcl on pixels": _knowcl(True),
    "neighbours": _neighbours,
    "tucker": _tucker,
    "compgcn": _compgcn,
    "blip2": _blip2,
    "diffusion": _diffusion(False),
    "diffusion whole": _diffusion(True),
}


def build(folder: Path) -> None:
    """Build the tiny models of Hugging Face."""
    tiny_hf.blip2(folder / "blip2", list(WORDS))
    tiny_hf.diffusion(folder / "sd", list(WORDS))
    tiny_hf.diffusion(folder / "sdxl", list(WORDS), large=True, prediction="v_prediction")


def run(name: str, folder: Path, world: World, resume: Resume | None = None, on_step: Any = None) -> dict[str, Tensor]:
    """Train an objective, and return its weights."""
    objective, source, settings = OBJECTIVES[name](world, folder)
    torch.manual_seed(1)
    Loop(objective, source, settings, settings.lr or 1e-2, on_step or _silent, world, resume).run()
    return {**objective.module.state_dict(), **{f"head.{k}": v for k, v in objective.head.state_dict().items()}}


def _silent(what: str, done: int, total: int) -> None:
    pass


def _child(name: str, folder: Path, states: Path, out: Path, to: int) -> None:
    """Train in this process, and tell each step."""

    def step(what: str, done: int, total: int) -> None:
        os.write(to, b".")

    weights = run(name, folder, World(), Resume(states, Interval(steps=1), {"name": name}), step)
    torch.save(weights, out)


def kills(folder: Path) -> dict[str, list[int]]:
    """Kill each objective at two random steps, go on, and save what it ends with; returns the steps.

    Children are forked: what takes long is to import.
    """
    rng, told = np.random.default_rng(), {}
    for number, name in enumerate(OBJECTIVES):
        told[name] = []
        for again in (True, True, False):
            wait = int(rng.integers(0, 3)) if again else 1000
            near, far = os.pipe()
            child = os.fork()
            if not child:
                status = 1
                try:
                    os.close(near)
                    _child(name, folder, folder / f"states-{number}", folder / f"killed-{number}.pt", far)
                    status = 0
                finally:
                    os._exit(status)
            os.close(far)
            seen = 0
            while seen <= wait and os.read(near, 1):
                seen += 1
            if again:
                os.kill(child, signal.SIGKILL)
                told[name].append(seen)
            _, code = os.waitpid(child, 0)
            os.close(near)
            if not again and code:
                raise RuntimeError(f"{name} ended with {code}")
    return told


def main() -> None:
    shrink()
    torch.set_num_threads(1)
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "kills":
        build(folder)
        told = kills(folder)
        for number, name in enumerate(OBJECTIVES):
            torch.save(run(name, folder, World()), folder / f"whole-{number}.pt")
        (folder / "kills.json").write_text(json.dumps(told))
        return
    with join_world("cpu") as world:
        for number, name in enumerate(OBJECTIVES):
            weights = run(name, folder, world)
            if world.first:
                torch.save(weights, folder / f"shared-{number}.pt")


if __name__ == "__main__":
    main()
