"""Explanations of predictions whose cause was planted."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from chorograph.area.splits import Folds
from chorograph.ground.errors import InputError
from chorograph.metrics.regression import BlockBootstrap
from chorograph.prediction.crossfit import Fused, cross_fit
from chorograph.prediction.modalities import context_features, image_features
from chorograph.prediction.probes.ridge import RidgePath
from chorograph.study.attribution import (
    HeldOutModel,
    PooledTiles,
    concept_correlations,
    concept_similarity,
    fit_held_out,
    occluded,
    occlusion_effects,
    own_share,
    pool,
    telling_tiles,
    tile_influence,
)

REGIONS, TILES, WIDTH, PLANTED = 120, 4, 5, 2


def _ridge(columns: object, rows: int) -> RidgePath:
    return RidgePath()


def _folds(number: int = REGIONS) -> Folds:
    fold = (np.arange(number) % 5).astype(np.int64)
    return Folds(fold, np.arange(number) // 4, tuple(np.zeros(number, dtype=bool) for _ in range(5)))


def _planted(seed: int = 0) -> tuple[PooledTiles, Fused, NDArray[np.float64], NDArray[np.int64]]:
    """PooledTiles of which one a region, at a drawn place, alone holds what the label is made of."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(REGIONS, TILES, WIDTH))
    vectors[:, :, PLANTED] = 0.0
    place = rng.integers(TILES, size=REGIONS)
    cause = rng.choice([-1.0, 1.0], REGIONS) * rng.uniform(2, 6, REGIONS)
    vectors[np.arange(REGIONS), place, PLANTED] = cause
    tiles = PooledTiles(vectors.reshape(-1, WIDTH), np.repeat(np.arange(REGIONS), TILES), np.zeros(REGIONS))
    return tiles, Fused({"image": vectors.mean(1)}), cause + rng.normal(0, 0.1, REGIONS), place


def _fit(fused: Fused, target: NDArray[np.float64]) -> HeldOutModel:
    return fit_held_out(fused, target, _folds(), _ridge)


def test_a_planted_tile_is_found_first() -> None:
    tiles, fused, target, place = _planted()
    influence = tile_influence(_fit(fused, target), tiles).reshape(REGIONS, TILES)
    found = np.abs(influence).argmax(1)
    assert (found == place).mean() > 0.97
    planted = influence[np.arange(REGIONS), place]
    assert np.corrcoef(planted, target)[0, 1] > 0.98
    rows = telling_tiles(influence.ravel(), tiles.region, 6)
    assert len(set(tiles.region[rows].tolist())) == 6
    assert all(influence.ravel()[rows[:3]] > 0)
    assert all(influence.ravel()[rows[3:]] < 0)
    assert rows[0] == int(np.argmax(influence))


def test_permuted_labels_explain_otherwise_and_halves_explain_alike() -> None:
    tiles, fused, target, _ = _planted()
    true = tile_influence(_fit(fused, target), tiles)
    first = np.arange(REGIONS) % 2 == 0
    halves = [
        tile_influence(fit_held_out(fused, target, _folds(), _ridge, keep=keep), tiles) for keep in (first, ~first)
    ]
    assert spearmanr(*halves)[0] > 0.9
    rng = np.random.default_rng(1)
    found = [spearmanr(true, tile_influence(_fit(fused, rng.permutation(target)), tiles))[0] for _ in range(5)]
    assert abs(np.mean(found)) < 0.4
    assert max(np.abs(found)) < 0.75


def test_the_model_is_that_of_the_run() -> None:
    tiles, fused, target, _ = _planted()
    target[:7] = np.nan
    folds = _folds(REGIONS - 7)
    fused.blocks["image"][3] = np.nan
    run = cross_fit(fused, target, folds, _ridge)
    model = fit_held_out(fused, target, folds, _ridge)
    assert sorted(set(range(REGIONS)) - set(model.explained.tolist())) == [3]
    for region in (0, 6, 7, 50, REGIONS - 1):
        here = model.predict(region, tiles, fused.blocks["image"][region][None])
        assert here[0] == pytest.approx(run.predicted[region], rel=1e-9)
    assert np.isnan(tile_influence(model, tiles)[tiles.region == 3]).all()


def test_a_label_that_no_fold_tests_is_not_explained() -> None:
    _, fused, target, _ = _planted()
    fold = np.where(np.arange(REGIONS) < 30, 0, -1).astype(np.int64)
    model = fit_held_out(fused, target, Folds(fold, fold, (np.zeros(REGIONS, dtype=bool),)), _ridge)
    assert model.explained.tolist() == list(range(30))


def test_an_only_tile_has_no_influence_but_can_be_looked_into() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(REGIONS, WIDTH))
    tiles = PooledTiles(vectors, np.arange(REGIONS), np.zeros(REGIONS))
    model = _fit(Fused({"image": vectors}), vectors[:, 0])
    assert np.isnan(tile_influence(model, tiles)).all()
    assert telling_tiles(np.full(REGIONS, np.nan), tiles.region, 4) == []
    moved = np.tile(vectors[5], (3, 1))
    moved[2, 0] -= 1
    assert occlusion_effects(model, tiles, 5, moved) == pytest.approx([0, 1], abs=0.05)


@pytest.mark.parametrize("pooling", ["mean", "mean+std"])
def test_pooling_is_that_of_predict(pooling: str) -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, 3)).astype(np.float32)
    ids = np.array([f"t{k}" for k in range(6)], dtype=object)
    images = pd.DataFrame({"image_id": ids, "region_id": ["a", "a", "a", "b", "b", "b"]})
    expected = image_features(images, ids, vectors, pd.Series(["a", "b"]), pooling)
    assert pool(vectors[3:].astype(np.float64), pooling) == pytest.approx(expected[1], abs=1e-6)


def test_pooling_by_attention_is_refused() -> None:
    with pytest.raises(InputError, match="mean or mean"):
        PooledTiles(np.zeros((1, 1)), np.zeros(1, dtype=np.int64), np.zeros(1), "attention")


def test_the_surroundings_move_with_the_region_by_its_share() -> None:
    import geopandas as gpd
    from shapely.geometry import box

    rng = np.random.default_rng(0)
    cells = [box(0.01 * (k % 5), 0.01 * (k // 5), 0.01 * (k % 5 + 1), 0.01 * (k // 5 + 1)) for k in range(25)]
    regions = gpd.GeoDataFrame(geometry=cells, crs=4326)
    pooled = rng.normal(size=(25, 2))
    pooled[7] = np.nan
    share = own_share(regions, pooled)
    moved = pooled.copy()
    moved[12] += 1.0
    change = context_features(moved, regions)[12] - context_features(pooled, regions)[12]
    assert change == pytest.approx([share[12], share[12]], rel=1e-9)
    assert 0.05 < share[12] < 1
    assert share[7] == 0


def test_occlusion_finds_the_square_that_the_encoder_reads() -> None:
    tile = np.zeros((31, 40, 3), dtype=np.uint8)
    tile[8:15, 20:30, 0] = 255
    copies = occluded(tile, 4)
    assert len(copies) == 16
    assert all(copy.shape == tile.shape for copy in copies)
    changed = np.stack([(copy != tile).any(2) for copy in copies])
    assert changed.any(0)[tile[..., 0] > 0].all()
    assert (changed.sum(0) <= 1).all()

    def encode(images: list[NDArray[np.uint8]]) -> NDArray[np.float64]:
        return np.array([[image[..., 0].mean(), 1.0] for image in images])

    vectors = np.random.default_rng(0).normal(50, 20, (REGIONS, 2))
    tiles = PooledTiles(vectors, np.arange(REGIONS), np.zeros(REGIONS))
    model = _fit(Fused({"image": vectors}), vectors[:, 0])
    effects = occlusion_effects(model, tiles, 0, encode([tile, *copies]))
    assert int(effects.argmax()) == 1 * 4 + 2
    assert effects.max() > 3 * np.abs(np.delete(effects, 6)).max()


def test_concepts_against_scipy() -> None:
    rng = np.random.default_rng(0)
    tiles = PooledTiles(rng.normal(size=(90, 6)), np.arange(90) % 30, np.zeros(31))
    texts = rng.normal(size=(2, 6))
    similarity = concept_similarity(tiles, texts, 31)
    assert np.isnan(similarity[30]).all()
    unit = tiles.vectors / np.linalg.norm(tiles.vectors, axis=1, keepdims=True)
    assert similarity[4, 1] == pytest.approx((unit[tiles.region == 4] @ texts[1] / np.linalg.norm(texts[1])).mean())
    target = np.r_[similarity[:30, 0] + rng.normal(0, 0.05, 30), np.nan]
    table = concept_correlations(["a", "b"], similarity, target, np.arange(31) // 3, BlockBootstrap(200))
    for row, word in enumerate("ab"):
        assert table["concept"][row] == word
        assert table["spearman"][row] == pytest.approx(spearmanr(similarity[:30, row], target[:30])[0])
    assert table["lower"][0] > 0.5
    assert table["regions"].tolist() == [30, 30]
