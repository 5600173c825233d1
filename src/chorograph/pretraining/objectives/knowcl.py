"""Images of regions against their place in the knowledge graph: KnowCL's first stage, for any area."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.graph.facts import Graph
from chorograph.graph.inverses import inverse_of, without_regions
from chorograph.graph.vectors import GraphEmbeddings
from chorograph.ground.arrays import Indices
from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.graph.aligned import PixelTower, TowerFolder, VectorTower, to_pixels
from chorograph.models.graph.alignment import Alignment, GraphTower, corrected_loss, published_loss
from chorograph.models.graph.compgcn import CompGcn
from chorograph.pretraining.config import AlignConfig
from chorograph.pretraining.feeds.facts import Drawn, ReadFacts, entity_vectors
from chorograph.pretraining.feeds.sets import draw_sets
from chorograph.pretraining.feeds.stream import DrawnBatches, WholeBatch
from chorograph.pretraining.loop.objective import Objective, Output, Place, Portion
from chorograph.pretraining.loop.session import Session, contents, session, states_of
from chorograph.pretraining.loop.world import World
from chorograph.pretraining.objectives.registry import Trainer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Regions:
    """The regions that have images and facts: their entities, and the rows of their images among all."""

    ids: NDArray[np.object_]
    entities: Indices
    images: tuple[Indices, ...]


@dataclass(frozen=True)
class RegionBatch(WholeBatch):
    """Regions: images (n, most) by row, of which `held` are there, and the facts that tell of them."""

    images: Indices
    held: NDArray[np.bool_]
    facts: Drawn


class RegionBatches(DrawnBatches):
    """The batches of regions in training, with the images and facts that each step draws."""

    def __init__(
        self, regions: Regions, training: Indices, facts: ReadFacts, config: AlignConfig, world: World
    ) -> None:
        super().__init__(training, config.batch_size, config.seed, world)
        self._regions, self._facts, self._most = regions, facts, config.images

    def __getitem__(self, place: Place) -> RegionBatch:
        chosen = self.rows_at(place)
        rows, held = draw_sets(self._regions.images, chosen, self._most, self.rng)
        facts = self._facts.draw(self._regions.entities[chosen], self.rng)
        return RegionBatch(place, self.own(len(chosen)), rows, held, facts)


class _ImageSide(nn.Module):
    def __init__(self, model: Alignment) -> None:
        super().__init__()
        self.tower, self.pool, self.projector = model.tower, model.pool, model.image_projector
        self._alignment = [model]  # not a part: what is around it is not trained here

    def forward(self, images: Tensor, held: Tensor, *, ahead: bool = False) -> Output:
        return (self.projector(self._alignment[0].images_of_regions(images, held)),), {}


class KnowclObjective(Objective[RegionBatch]):
    """A region's images and its place in the graph, in one space.

    The graph tower is small, and every process has all of it. So has it a tower on vectors, whose dropout would
    otherwise differ; one on pixels is worked on in portions and shares.
    """

    name, what, rows, alike = "knowcl", "aligning images with the graph", "regions", True

    def __init__(self, model: Alignment, given: Tensor, *, published: bool, world: World) -> None:
        super().__init__()
        self.weights = {"contrastive": 1.0}
        self._model, self._given, self._published, self._world = model, given, published, world
        side = _ImageSide(model)
        graph = nn.ModuleDict({"graph": model.graph})
        graph.register_parameter("log_scale", model.log_scale)
        self._on_pixels = isinstance(model.tower, PixelTower)
        if self._on_pixels:
            self.module, self.head = side, graph
        else:
            self.head = nn.ModuleList([side, graph])

    def portions(self, batch: RegionBatch, number: int) -> list[Portion]:
        """Return the images of this process's regions, where they go through a tower on pixels."""
        if not self._on_pixels:
            return []
        return [
            self._images(batch, part) for part in np.array_split(np.arange(batch.own.start, batch.own.stop), number)
        ]

    def contrast(self, batch: RegionBatch, features: Sequence[Tensor], own: Sequence[slice]) -> dict[str, Tensor]:
        """Return the contrast of images and graph."""
        model = self._model
        images = features[0] if features else self.head[0](*self._images(batch, slice(None)))[0][0]  # type: ignore[index]
        of_facts = model.graph.projector(batch.facts.encode(model.graph))
        if self._published:
            return {"contrastive": published_loss(images @ of_facts.T, batch.own)}
        return {"contrastive": corrected_loss(images, of_facts, model.log_scale, batch.own)}

    def _images(self, batch: RegionBatch, rows: Any) -> Portion:
        return self._given[torch.from_numpy(batch.images[rows])], torch.from_numpy(batch.held[rows])


@dataclass(frozen=True)
class Aligned:
    """A trained alignment: features of every image (n, width) and of every region of the graph (m, dim)."""

    model: Alignment
    image_ids: NDArray[np.object_]
    image_features: NDArray[np.float32]
    region_ids: NDArray[np.object_]
    region_features: NDArray[np.float32]
    history: list[dict[str, Any]]


def align(area: Area, config: AlignConfig, ledger: Ledger, around: Session | None = None) -> Aligned:
    """Train, and return the tower with what it makes of every image; held-out regions are never trained on.

    Raises `InputError` where no region has both an image and a fact.
    """
    around = around or Session()
    graph = Graph.read(area)
    graph = graph.canonical(inverse_of(graph))
    entities = entity_vectors(area, config.graph, graph)
    ids, given = _images(area, config)
    region_of = area.images.set_index("image_id")["region_id"].reindex(ids)
    regions = _regions(graph, area.regions["region_id"], region_of)
    kept, training = graph, np.arange(len(regions.ids))
    if config.inductive is not None:
        table = area.split_of_regions(config.inductive)
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _model(config, graph, entities, given, np.concatenate([regions.images[row] for row in training]))
        facts = ReadFacts.of(kept, config.layers, compat=config.compat)
        source = RegionBatches(regions, training, facts, config, around.world)
        objective = KnowclObjective(model, given, published=config.loss == "published", world=around.world)
        state = around.train(objective, source, config, config.lr, contents(align_inputs(config)))
    features = _encode_images(model.tower, given)
    with torch.no_grad():
        encoded = model.eval().graph(ReadFacts.of(graph, config.layers, compat=config.compat).edges)
    of_regions = encoded[torch.from_numpy(regions.entities)].numpy()
    return Aligned(model, ids, features, regions.ids, of_regions, state.history)


def align_inputs(config: AlignConfig) -> list[Path]:
    """Return the files that an alignment is learnt from."""
    area = Area.open(config.area)
    inputs = [area.table_path(name) for name in ("triples", "entities", "images", "regions")]
    inputs.append(area.embeddings_path(config.graph).with_suffix(".safetensors"))
    if config.tower.startswith("vectors:"):
        inputs.append(area.embeddings_path(config.tower.removeprefix("vectors:")))
    return inputs if config.init is None else [*inputs, config.init]


def train_alignment(config: AlignConfig, ledger: Ledger, progress: Progress = silent) -> list[Path]:
    """Train: the tower into `config.out`, the regions' vectors into the area as `graph:NAME`; returns the files."""
    area = Area.open(config.area)
    with session(config, states_of(config.out), progress) as around:
        found = align(area, config, ledger, around)
        ledger.facts["loss"] = {name: found.history[at]["train_loss"] for name, at in (("first", 0), ("last", -1))}
        ledger.facts["encoder"] = f"knowcl:{config.out}"
        vectors = GraphEmbeddings(
            config.name,
            hashlib.sha256(found.region_features.tobytes()).hexdigest(),
            found.region_ids,
            found.region_features,
            "aligned with imagery; labels were never seen"
            + (f"; inductive, split {config.inductive}" if config.inductive else "; transductive"),
        )
        written = []
        if around.world.first:
            width = found.image_features.shape[1]
            made = TowerFolder(found.model.tower, width, config.tower, config.size, plain(config), found.history)
            written = [*made.write(config.out), vectors.write(area.embeddings_path(config.name))]
        return written


def _images(area: Area, config: AlignConfig) -> tuple[NDArray[np.object_], Tensor]:
    """Return ids, and pixels (n, 3, size, size) uint8 or vectors (n, width), of the view's images."""
    images = area.images
    view = set(images.loc[images["view"] == config.view, "image_id"])
    if config.tower.startswith("vectors:"):
        given = Embeddings.read(area.embeddings_path(config.tower.removeprefix("vectors:")))
        held = np.array([name in view for name in given.image_ids], dtype=bool)
        return given.image_ids[held], torch.from_numpy(given.vectors[held])
    images = images[images["image_id"].isin(view) & images["uri"].notna()]
    pixels = torch.stack([to_pixels(area.read_image(uri), config.size) for uri in images["uri"]])
    return images["image_id"].to_numpy(object), pixels


def _model(config: AlignConfig, graph: Graph, entities: Tensor, given: Tensor, training: Indices) -> Alignment:
    tower: PixelTower | VectorTower
    if config.tower.startswith("vectors:"):
        tower = VectorTower(given.shape[1])
        tower.standardise_by(given[torch.from_numpy(training)])
    else:
        tower = PixelTower(config.tower)
        if config.init is not None:
            tower.start_from_simclr(config.init)
    relations, width = graph.number_of_relations, entities.shape[1]
    network = CompGcn(relations, width, config.layers, config.composition, compat=config.compat)
    are_regions = torch.from_numpy(graph.are_regions)
    graph_tower = GraphTower(entities, are_regions, network, inductive=config.inductive is not None)
    return Alignment(tower, tower.width, graph_tower, attention=config.pooling == "attention")


def _encode_images(tower: nn.Module, given: Tensor) -> NDArray[np.float32]:
    with torch.no_grad():
        return torch.cat([tower(given[start : start + 256]) for start in range(0, len(given), 256)]).numpy()


def _regions(graph: Graph, ids: pd.Series[str], region_of: pd.Series[str]) -> Regions:
    rows = graph.rows_of(ids)
    known = (rows >= 0) & np.isin(rows, graph.facts[:, [0, 2]])
    groups = region_of.reset_index(drop=True).groupby(region_of.to_numpy()).indices
    chosen = [place for place, name in enumerate(ids) if known[place] and name in groups]
    images = tuple(np.asarray(groups[ids.iloc[place]], dtype=np.int64) for place in chosen)
    return Regions(ids.to_numpy(object)[chosen], rows[chosen], images)


KNOWCL = Trainer(AlignConfig, align_inputs, train_alignment)
