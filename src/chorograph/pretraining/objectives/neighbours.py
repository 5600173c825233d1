"""Neighbouring tiles alike, others apart: what an area's own imagery teaches without a label or a caption.

Tile2Vec's idea (Jean et al. 2019) with the contrast of SimCLR (Chen et al. 2020): a tile and one of its nearest tiles
are a pair, the other tiles of the batch are not. A layer is trained on vectors of an encoder that stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.area.splits.sphere import to_sphere
from chorograph.ground.arrays import Indices
from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.checkpoint import write_seen
from chorograph.models.graph.aligned import TowerFolder, VectorTower
from chorograph.models.graph.alignment import corrected_loss
from chorograph.pretraining.config import NeighboursConfig
from chorograph.pretraining.feeds.stream import DrawnBatches, WholeBatch
from chorograph.pretraining.loop.objective import Objective, Place
from chorograph.pretraining.loop.session import contents, session, states_of
from chorograph.pretraining.loop.world import World
from chorograph.pretraining.objectives.registry import Trainer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class TileBatch(WholeBatch):
    """Tiles (n,) by row and a neighbour of each."""

    tiles: Indices
    neighbours: Indices


class TileBatches(DrawnBatches):
    """The batches of tiles, each with one of its nearest tiles, drawn anew in every pass."""

    def __init__(self, nearest: Indices, config: NeighboursConfig, world: World) -> None:
        """`nearest` (n, k): rows of the tiles nearest to each of n tiles."""
        super().__init__(np.arange(len(nearest)), config.batch_size, config.seed, world)
        self._nearest = nearest

    def __getitem__(self, place: Place) -> TileBatch:
        tiles = self.rows_at(place)
        drawn = self.rng.integers(0, self._nearest.shape[1], len(tiles))
        return TileBatch(place, self.own(len(tiles)), tiles, self._nearest[tiles, drawn])


class NeighboursObjective(Objective[TileBatch]):
    """A tile is nearer to its neighbour than to the other tiles of the batch. Every process has the whole layer."""

    name, what, rows, alike = "neighbours", "learning from neighbouring tiles", "tiles", True

    def __init__(self, tower: VectorTower, vectors: Tensor) -> None:
        super().__init__()
        self.weights = {"contrastive": 1.0}
        self._vectors = vectors
        self.head = nn.ModuleDict({"tower": tower, "projector": nn.Linear(tower.width, tower.width // 2)})
        self._log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.1)))
        self.head.register_parameter("log_scale", self._log_scale)

    def contrast(self, batch: TileBatch, features: Sequence[Tensor], own: Sequence[slice]) -> dict[str, Tensor]:
        """Return the contrast of tiles and their neighbours."""
        one, other = (self._project(rows) for rows in (batch.tiles, batch.neighbours))
        return {"contrastive": corrected_loss(one, other, self._log_scale, batch.own)}

    def _project(self, rows: Indices) -> Tensor:
        projected: Tensor = self.head["projector"](self.head["tower"](self._vectors[torch.from_numpy(rows)]))  # type: ignore[index]
        return projected


def nearest_tiles(lon: NDArray[np.float64], lat: NDArray[np.float64], number: int) -> Indices:
    """Return (n, number) rows of the tiles nearest to each of n tiles, itself left out, by distance on the ground.

    Example: of three tiles in a row, the middle one is nearest to both others.

        >>> nearest_tiles(np.array([0.0, 0.1, 0.3]), np.zeros(3), 1).ravel().tolist()
        [1, 0, 1]
    """
    positions = to_sphere(lon, lat)
    found = cKDTree(positions).query(positions, number + 1)[1]
    # Of tiles at one place the tree may name another first: a tile is never its own neighbour.
    others = [row[row != tile][:number] for tile, row in enumerate(found)]
    return np.stack(others).astype(np.int64)


def neighbours_inputs(config: NeighboursConfig) -> list[Path]:
    """Return the files that are learnt from."""
    area = Area.open(config.area)
    return [area.table_path("images"), area.embeddings_path(config.vectors)]


def train_neighbours(config: NeighboursConfig, ledger: Ledger, progress: Progress = silent) -> list[Path]:
    """Train the layer into `config.out`, which the encoder `neighbours:FOLDER` loads; returns the files.

    Raises `InputError` where fewer tiles than a batch of two and their neighbours have a vector and a place.
    """
    area = Area.open(config.area)
    images, vectors = _placed(area, config, ledger)
    with session(config, states_of(config.out), progress) as around, torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        tower = VectorTower(vectors.shape[1], config.width)
        tower.standardise_by(vectors)
        nearest = nearest_tiles(images["lon"].to_numpy(float), images["lat"].to_numpy(float), config.nearest)
        objective = NeighboursObjective(tower, vectors)
        source = TileBatches(nearest, config, around.world)
        state = around.train(objective, source, config, config.lr, contents(neighbours_inputs(config)))
        ledger.facts["loss"] = {name: state.history[at]["train_loss"] for name, at in (("first", 0), ("last", -1))}
        ledger.facts["encoder"] = f"neighbours:{config.out}"
        if not around.world.first:
            return []
        made = TowerFolder(tower, tower.width, f"vectors:{config.vectors}", 1, plain(config), state.history)
        return [*made.write(config.out), write_seen(config.out, images["sha256"].dropna())]


def _placed(area: Area, config: NeighboursConfig, ledger: Ledger) -> tuple[pd.DataFrame, Tensor]:
    """Return the images that have a vector and a place, and their vectors."""
    given = Embeddings.read(area.embeddings_path(config.vectors))
    images = area.images.drop_duplicates("image_id").set_index("image_id").reindex(given.image_ids)
    placed = (images["view"].eq("satellite") & images["lon"].notna() & images["lat"].notna()).to_numpy(bool)
    ledger.drop("tile without a place", int((~placed).sum()))
    ledger.count("tiles", int(placed.sum()))
    if placed.sum() < max(3, config.nearest + 2):
        raise InputError(
            f"{area.path}: {int(placed.sum())} tiles have a vector and a place (lon, lat), too few to learn from "
            f"{config.nearest} neighbours each"
        )
    return images[placed], torch.from_numpy(given.vectors[placed])


NEIGHBOURS = Trainer(NeighboursConfig, neighbours_inputs, train_neighbours)
