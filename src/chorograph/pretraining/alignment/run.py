"""Contrastive pretraining of an image tower against the knowledge graph: KnowCL's first stage, for any area."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from chorograph.area.embeddings import Embeddings
from chorograph.graph.facts import Graph, Indices
from chorograph.graph.inverses import inverse_of, without_regions
from chorograph.graph.vectors import GraphEmbeddings
from chorograph.ground.errors import ChorographError, InputError
from chorograph.ground.files import atomic_path, write_json, write_json_lines
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage, silent
from chorograph.models.graph.aligned import ALIGNED_FORMAT, PixelTower, VectorTower, to_pixels
from chorograph.models.graph.alignment import Alignment, GraphTower, corrected_loss, published_loss
from chorograph.models.graph.compgcn import CompGcn
from chorograph.pretraining.alignment.facts import ReadFacts, entity_vectors
from chorograph.pretraining.feeds.sets import draw_sets

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.area.folder import Area
    from chorograph.pretraining.alignment.config import AlignConfig


@dataclass(frozen=True)
class Regions:
    """The regions that have images and facts: their entities, and the rows of their images among all."""

    ids: NDArray[np.object_]
    entities: Indices
    images: tuple[Indices, ...]


@dataclass(frozen=True)
class Aligned:
    """A trained alignment: features of every image (n, width) and of every region of the graph (m, dim)."""

    model: Alignment
    image_ids: NDArray[np.object_]
    image_features: NDArray[np.float32]
    region_ids: NDArray[np.object_]
    region_features: NDArray[np.float32]
    history: list[dict[str, float]]


def align(area: Area, config: AlignConfig, ledger: Ledger, progress: Progress = silent) -> Aligned:
    """Train, and return the tower with what it makes of every image; held-out regions are never trained on.

    Raises `InputError` where no region has both an image and a fact.
    """
    graph = Graph.read(area)
    graph = graph.canonical(inverse_of(graph))
    entities = entity_vectors(area, config.graph, graph)
    ids, pixels = _images(area, config)
    region_of = area.images.set_index("image_id")["region_id"].reindex(ids)
    regions = _regions(graph, area.regions["region_id"], region_of)
    kept, training = graph, np.arange(len(regions.ids))
    if config.inductive is not None:
        table = area.split(config.inductive)
        out = table.loc[table["role"] == "test", "region_id"]
        kept = without_regions(graph, graph.rows_of(out))
        training = np.flatnonzero(~np.isin(regions.ids, out.to_numpy(object)))
        ledger.count("regions held out", len(regions.ids) - len(training))
    # A region whose every fact led to a held-out one has nothing left to be told by.
    training = training[np.isin(regions.entities[training], kept.facts[:, [0, 2]])]
    ledger.count("regions trained on", len(training))
    ledger.count("images", len(ids))
    if len(training) < 2:
        raise InputError(f"{area.path}: fewer than two regions have both an image and a fact to learn from")
    torch.manual_seed(config.seed)
    tower, width = _tower(config, pixels, np.concatenate([regions.images[row] for row in training]))
    is_region = torch.from_numpy(np.array([value is not None for value in graph.region_ids], dtype=bool))
    network = CompGcn(
        graph.number_of_relations, entities.shape[1], config.layers, config.composition, compat=config.compat
    )
    graph_tower = GraphTower(entities, is_region, network, inductive=config.inductive is not None)
    model = Alignment(tower, width, graph_tower, attention=config.pooling == "attention")
    history = _train(model, pixels, regions, training, kept, config, progress)
    features = _encode_images(model.tower, pixels)
    with torch.no_grad():
        told = model.eval().graph(ReadFacts.of(graph, config.layers, compat=config.compat).edges)
    return Aligned(model, ids, features, regions.ids, told[torch.from_numpy(regions.entities)].numpy(), history)


def align_stage(config: AlignConfig, progress: Progress) -> Outcome:
    """Run `graph align`: the tower into `config.out`, the regions' vectors into the area as `graph:NAME`."""
    from chorograph.area.folder import Area

    area = Area.open(config.area)
    entities = area.embeddings_path(config.graph).with_suffix(".safetensors")

    def work(ledger: Ledger) -> None:
        found = align(area, config, ledger, progress)
        ledger.outputs += _write(found, config)
        vectors = GraphEmbeddings(
            config.name,
            hashlib.sha256(found.region_features.tobytes()).hexdigest(),
            found.region_ids,
            found.region_features,
            "aligned with imagery; labels were never seen"
            + (f"; inductive, split {config.inductive}" if config.inductive else "; transductive"),
        )
        ledger.outputs.append(vectors.write(area.embeddings_path(config.name)))
        ledger.facts["loss"] = {"first": found.history[0]["loss"], "last": found.history[-1]["loss"]}
        ledger.facts["encoder"] = f"knowcl:{config.out}"

    inputs = [area.table_path(name) for name in ("triples", "entities", "images", "regions")] + [entities]
    if config.tower.startswith("vectors:"):
        inputs.append(area.embeddings_path(config.tower.removeprefix("vectors:")))
    if config.init is not None:
        inputs.append(config.init)
    manifest = config.out / "manifest.json"
    return run_stage("graph align", manifest=manifest, config=plain(config), inputs=inputs, work=work)


def _write(found: Aligned, config: AlignConfig) -> list[Path]:
    config.out.mkdir(parents=True, exist_ok=True)
    weights, said, history = (config.out / name for name in ("model.safetensors", "config.json", "history.jsonl"))
    with atomic_path(weights) as temporary:
        save_file({k: v.detach().contiguous().clone() for k, v in found.model.tower.state_dict().items()}, temporary)
    facts = {
        "format": ALIGNED_FORMAT,
        "tower": config.tower,
        "size": config.size,
        "width": found.image_features.shape[1],
    }
    write_json(said, {**facts, "trained": plain(config)})
    write_json_lines(history, found.history)
    return [weights, said, history]


def _train(
    model: Alignment,
    pixels: Tensor,
    regions: Regions,
    training: Indices,
    graph: Graph,
    config: AlignConfig,
    progress: Progress,
) -> list[dict[str, float]]:
    rng = np.random.default_rng(config.seed)
    facts = ReadFacts.of(graph, config.layers, compat=config.compat)
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=config.lr, fused=True)
    model.train()
    history: list[dict[str, float]] = []
    for epoch in range(config.epochs):
        for group in optimiser.param_groups:
            group["lr"] = config.lr * 0.5 * (1 + math.cos(math.pi * epoch / config.epochs))
        total = 0.0
        order = rng.permutation(training)
        parts = np.array_split(order, -(-len(order) // config.batch_size))
        for chosen in parts:
            rows, held = draw_sets(regions.images, chosen, config.images, rng)
            images = model.images_of_regions(pixels[torch.from_numpy(rows)], torch.from_numpy(held))
            told = facts.told(model.graph, regions.entities[chosen], rng)
            a, b = model.image_projector(images), model.graph.projector(told)
            loss = published_loss(a @ b.T) if config.loss == "published" else corrected_loss(a, b, model.log_scale)
            value = float(loss.detach())
            if not math.isfinite(value):
                raise ChorographError(f"the loss is {value}; lower --lr (now {config.lr:g}), or use --loss corrected")
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            total += value * len(chosen)
        history.append({"epoch": epoch + 1, "loss": round(total / len(training), 6)})
        progress("aligning images with the graph", epoch + 1, config.epochs)
    model.eval()
    return history


def _images(area: Area, config: AlignConfig) -> tuple[NDArray[np.object_], Tensor]:
    """Return ids, and pixels (n, 3, size, size) uint8 or vectors (n, width), of the view's images."""
    images = area.images
    view = set(images.loc[images["view"] == config.view, "image_id"])
    if config.tower.startswith("vectors:"):
        given = Embeddings.read(area.embeddings_path(config.tower.removeprefix("vectors:")))
        held = np.array([name in view for name in given.image_ids], dtype=bool)
        return given.image_ids[held], torch.from_numpy(given.vectors[held])
    return _read_pixels(area, images[images["image_id"].isin(view) & images["uri"].notna()], config.size)


def _read_pixels(area: Area, images: pd.DataFrame, size: int) -> tuple[NDArray[np.object_], Tensor]:
    pixels = torch.stack([to_pixels(area.read_image(uri), size) for uri in images["uri"]])
    return images["image_id"].to_numpy(object), pixels


def _tower(config: AlignConfig, given: Tensor, training: Indices) -> tuple[nn.Module, int]:
    """Return an untrained tower for what is given of each image, and the width of its features."""
    if config.tower.startswith("vectors:"):
        tower = VectorTower(given.shape[1])
        tower.standardise_by(given[torch.from_numpy(training)])
        return tower, tower.width
    pixels = PixelTower(config.tower)
    if config.init is not None:
        pixels.start_from_simclr(config.init)
    return pixels, pixels.width


def _encode_images(tower: nn.Module, given: Tensor) -> NDArray[np.float32]:
    with torch.no_grad():
        return torch.cat([tower(given[start : start + 256]) for start in range(0, len(given), 256)]).numpy()


def _regions(graph: Graph, ids: pd.Series[str], region_of: pd.Series[str]) -> Regions:
    rows = graph.rows_of(ids)
    told = (rows >= 0) & np.isin(rows, graph.facts[:, [0, 2]])
    groups = region_of.reset_index(drop=True).groupby(region_of.to_numpy()).indices
    chosen = [place for place, name in enumerate(ids) if told[place] and name in groups]
    images = tuple(np.asarray(groups[ids.iloc[place]], dtype=np.int64) for place in chosen)
    return Regions(ids.to_numpy(object)[chosen], rows[chosen], images)
