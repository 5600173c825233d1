"""What moved a region's prediction: its tiles, areas within a tile, and words that go with the indicator.

Every explanation is of a held-out prediction: the probe that is asked was never shown the region's label. Effects are
in the fitted unit; differences in the indicator's own unit are the caller's to take. No model is loaded here: an
encoder arrives as a callable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.area.splits import Folds
from chorograph.ground.arrays import Matrix, Pixels, Vector
from chorograph.ground.errors import InputError
from chorograph.metrics.regression import BlockBootstrap, spearman
from chorograph.prediction.crossfit import Fused, ProbeMaker
from chorograph.prediction.modalities import context_features

if TYPE_CHECKING:
    import geopandas as gpd


#: Brings values of the fitted unit to another one.
Unit = Callable[[Vector], Vector]

POOLINGS = ("mean", "mean+std")


@dataclass(frozen=True)
class PooledTiles:
    """The tiles that a region's imagery is pooled from.

    `vectors` (t, width); `region` (t,) the row of each tile's region; `share` (n,) how much of each region's
    surroundings (modality `context`) is its own imagery, zeros where a run does not look at surroundings.
    """

    vectors: Matrix
    region: NDArray[np.int64]
    share: Vector
    pooling: str = "mean"

    def __post_init__(self) -> None:
        if self.pooling not in POOLINGS:
            raise InputError(
                f"tiles can be explained under pooling {' or '.join(POOLINGS)}, not {self.pooling!r}; what attention "
                "weighed is in tile_weights.csv of the run"
            )

    def of(self, region: int) -> NDArray[np.int64]:
        """Return the rows of a region's tiles."""
        return np.flatnonzero(self.region == region)


@dataclass(frozen=True)
class HeldOutModel:
    """The probes of a run: one a fold and one of all labels, each asked only about regions whose label it has not seen.

    `fold` (n,): -1 for regions without a label, -2 for those that cannot be explained (a modality is lacking, or
    no fold tests the label).
    """

    fused: Fused
    fold: NDArray[np.int64]
    probes: Mapping[int, Any]

    @property
    def explained(self) -> NDArray[np.int64]:
        """The rows of the regions that can be explained."""
        return np.flatnonzero(self.fold >= -1)

    def predict(self, region: int, tiles: PooledTiles, pooled: Matrix) -> Vector:
        """Predict one region (fitted unit) as if its pooled imagery were each row of `pooled` (m, width)."""
        rows = []
        for name, block in self.fused.blocks.items():
            held = np.broadcast_to(block[region], (len(pooled), block.shape[1]))
            if name == "image":
                held = pooled
            elif name == "context":
                # Surroundings are a weighted mean in which the region itself takes part.
                held = held + tiles.share[region] * (pooled - self.fused.blocks["image"][region])
            rows.append(held)
        return np.asarray(self.probes[int(self.fold[region])].predict(np.hstack(rows)), dtype=np.float64)


def own_share(regions: gpd.GeoDataFrame, pooled: Matrix) -> Vector:
    """Return the weight (n,) of each region's own imagery in its `context`, which is linear in the pooled imagery.

    Takes n x n numbers at once: 200 MB for 5,000 regions.
    """
    seen = np.asarray(np.isfinite(pooled).all(1))
    one_each = np.where(seen[:, None], np.eye(len(pooled)), np.nan)
    return np.nan_to_num(np.diagonal(context_features(one_each, regions)))


def fit_held_out(
    fused: Fused,
    target: Vector,
    folds: Folds,
    make_probe: ProbeMaker,
    *,
    keep: NDArray[np.bool_] | None = None,
) -> HeldOutModel:
    """Fit the probes of a run again, on the same training regions (those of `keep`, a mask of n, where given).

    `target` (n,) is NaN where unlabelled; `folds` parts the labelled rows, in their order.
    """
    labelled = np.flatnonzero(np.isfinite(target))
    complete = np.asarray(fused.present.all(1))
    fold = np.full(len(target), -1, dtype=np.int64)
    fold[labelled] = np.where(folds.fold >= 0, folds.fold, -2)
    fold[~complete] = -2
    usable = complete if keep is None else complete & keep
    names = tuple(fused.blocks)
    probes = {}
    jobs = [(number, labelled[train]) for number, train, _ in folds] + [(-1, labelled)]
    for number, train in jobs:
        mask = np.zeros(len(target), dtype=bool)
        mask[train] = usable[train]
        if (fold == number).any():
            probe = make_probe(fused.columns(names), int(mask.sum()))
            probes[number] = probe.fit(fused.stacked(names, mask), target[mask])
    return HeldOutModel(fused, fold, probes)


def pool(vectors: Matrix, pooling: str) -> Vector:
    """Pool the vectors (t, width) of one region's tiles, as `modalities.image_features` does."""
    mean = vectors.mean(0)
    if pooling == "mean":
        return np.asarray(mean)
    return np.concatenate([mean, np.sqrt(np.maximum((vectors**2).mean(0) - mean**2, 0.0))])


def tile_influence(model: HeldOutModel, tiles: PooledTiles, unit: Unit = np.asarray) -> Vector:
    """Return how much each tile (t,) moves its region's prediction: with all tiles, minus without that one.

    A positive influence: the tile raises the prediction. NaN for a region's only tile, without which nothing is left to
    pool, and for tiles of regions that cannot be explained. `unit` converts predictions before the difference is taken.
    """
    influence = np.full(len(tiles.region), np.nan)
    for region in model.explained:
        rows = tiles.of(region)
        if len(rows) < 2:
            continue
        vectors = tiles.vectors[rows]
        without = [pool(np.delete(vectors, row, axis=0), tiles.pooling) for row in range(len(rows))]
        answers = unit(model.predict(region, tiles, np.stack([pool(vectors, tiles.pooling), *without])))
        influence[rows] = answers[0] - answers[1:]
    return influence


def occluded(tile: Pixels, grid: int) -> list[Pixels]:
    """Return grid x grid copies of a tile, row by row, each with one cell painted in the tile's mean colour."""
    height, width = tile.shape[:2]
    down, across = (
        np.linspace(0, height, grid + 1).round().astype(int),
        np.linspace(0, width, grid + 1).round().astype(int),
    )
    colour = tile.reshape(-1, 3).mean(0).round().astype(np.uint8)
    copies = []
    for row in range(grid):
        for column in range(grid):
            copy = tile.copy()
            copy[down[row] : down[row + 1], across[column] : across[column + 1]] = colour
            copies.append(copy)
    return copies


def occlusion_effects(
    model: HeldOutModel, tiles: PooledTiles, row: int, encoded: Matrix, unit: Unit = np.asarray
) -> Vector:
    """Return how much each cell of the tile in `row` moves its region's prediction (Zeiler and Fergus 2014).

    `encoded` (1 + cells, width): the vectors of the tile as it is and of its occluded copies. Prediction with the tile
    as it is, minus with the copy: a positive effect means that what the cell shows raises the prediction.
    """
    region = int(tiles.region[row])
    rows = tiles.of(region)
    place = int(np.flatnonzero(rows == row)[0])
    pooled = []
    for vector in encoded:
        vectors = tiles.vectors[rows].copy()
        vectors[place] = vector
        pooled.append(pool(vectors, tiles.pooling))
    answers = model.predict(region, tiles, np.stack(pooled))
    return np.asarray(answers[0] - answers[1:])


def telling_tiles(influence: Vector, region: NDArray[np.int64], number: int) -> list[int]:
    """Return the rows of `number` tiles: half that raise a prediction most, half that lower it most, a region each."""
    chosen: list[int] = []
    for sign, wanted in ((1.0, (number + 1) // 2), (-1.0, number)):
        for row in np.argsort(-sign * influence, kind="stable"):
            if len(chosen) == wanted:
                break
            # NaN compares false: tiles without an influence are passed over.
            if sign * influence[row] > 0 and region[row] not in region[chosen]:
                chosen.append(int(row))
    return chosen


def concept_similarity(tiles: PooledTiles, texts: Matrix, regions: int) -> Matrix:
    """Return the mean cosine similarity of each region's tiles to each text, (regions, texts); NaN without tiles."""
    unit = tiles.vectors / np.maximum(np.linalg.norm(tiles.vectors, axis=1, keepdims=True), 1e-12)
    words = texts / np.maximum(np.linalg.norm(texts, axis=1, keepdims=True), 1e-12)
    sums, counts = np.zeros((regions, len(texts))), np.zeros(regions)
    np.add.at(sums, tiles.region, unit @ words.T)
    np.add.at(counts, tiles.region, 1.0)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(counts[:, None] > 0, sums / counts[:, None], np.nan))


def concept_correlations(
    words: Sequence[str], similarity: Matrix, target: Vector, groups: NDArray[np.int64], bootstrap: BlockBootstrap
) -> pd.DataFrame:
    """Return, a row a word, Spearman's correlation over labelled regions of similarity and indicator.

    Columns: concept, spearman, lower, upper (95 %, whole blocks of regions resampled), regions. `groups` (n,): blocks.
    """
    rows = np.isfinite(target) & np.isfinite(similarity).all(1)
    table = []
    for word, column in zip(words, similarity[rows].T, strict=True):
        found = bootstrap.estimate(spearman, target[rows], column, groups[rows])
        table.append((word, found.value, found.lower, found.upper, int(rows.sum())))
    return pd.DataFrame(table, columns=["concept", "spearman", "lower", "upper", "regions"])
