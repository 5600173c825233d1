from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from chorograph.area.splits import Folds
from chorograph.prediction.crossfit import Fused, cross_fit
from chorograph.prediction.modalities import image_features
from chorograph.prediction.probes.attention import AttentionPooling, Tiles, tile_weights, with_attention
from chorograph.prediction.probes.registry import make_probe_maker

torch = pytest.importorskip("torch")

TILES, WIDTH = 8, 6


def _planted(number: int = 200, seed: int = 0) -> tuple[Tiles, Fused, np.ndarray, np.ndarray]:
    """Regions of 8 tiles, one of which is marked (column 0) and holds the label (column 1); the others mislead."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=number)
    vectors = rng.normal(size=(number, TILES, WIDTH))
    vectors[..., 1] *= 1.5
    vectors[..., 0] = rng.normal(-1, 0.2, (number, TILES))
    marked = rng.integers(0, TILES, number)
    vectors[np.arange(number), marked, 0] = rng.normal(3, 0.2, number)
    vectors[np.arange(number), marked, 1] = target + rng.normal(0, 0.1, number)
    ids = [f"r{k}" for k in range(number)]
    image_ids = np.array([f"{region}-{tile}" for region in ids for tile in range(TILES)], dtype=object)
    # Tiles in any order, and one of no region.
    order = rng.permutation(number * TILES)
    images = pd.DataFrame({"image_id": [*image_ids, "stray"], "region_id": [*np.repeat(ids, TILES), None]})
    given = np.r_[image_ids[order], ["stray"]].astype(object)
    flat = np.r_[vectors.reshape(-1, WIDTH)[order], np.zeros((1, WIDTH))].astype(np.float32)
    tiles = Tiles.of(images, given, flat, pd.Series(ids))
    fused = Fused({"image": image_features(images, given, flat, pd.Series(ids), "mean")})
    return tiles, fused, target, np.array([f"r{k}-{m}" for k, m in enumerate(marked)], dtype=object)


def _folds(number: int) -> Folds:
    fold = np.arange(number) % 4
    return Folds(fold, fold, (np.zeros(number, dtype=bool),) * 4)


def _r2(target: np.ndarray, predicted: np.ndarray) -> float:
    return 1 - float(((target - predicted) ** 2).mean() / target.var())


def _run(tiles: Tiles, fused: Fused, target: np.ndarray, probe: str = "ridge") -> Any:
    features, make = with_attention(fused, make_probe_maker(probe, seed=0), tiles, seed=0)
    return cross_fit(features, target, _folds(len(target)), make)


def test_attention_finds_the_planted_tile() -> None:
    tiles, fused, target, marked = _planted()
    by_mean = cross_fit(fused, target, _folds(len(target)), make_probe_maker("ridge", seed=0)).predicted
    by_attention = _run(tiles, fused, target).predicted
    assert _r2(target, by_mean) < 0.3
    assert _r2(target, by_attention) > 0.7
    weights = tile_weights(tiles, target, seed=0)
    assert np.allclose(weights.groupby("row")["weight"].sum(), 1.0)
    heaviest = weights.loc[weights.groupby("row")["weight"].idxmax(), "image_id"].to_numpy()
    assert (heaviest == marked).mean() > 0.95


def test_permuted_labels_give_nothing() -> None:
    tiles, fused, target, _ = _planted()
    permuted = np.random.default_rng(5).permutation(target)
    for probe in ("ridge", "gp"):
        assert _r2(permuted, _run(tiles, fused, permuted, probe).predicted) <= 0.03


def test_a_tested_label_reaches_neither_pooling_nor_probe() -> None:
    tiles, fused, target, _ = _planted(80)
    fold = _folds(80).fold
    before = _run(tiles, fused, target).predicted
    after = _run(tiles, fused, np.where(fold == 1, target + 50.0, target)).predicted
    assert np.array_equal(before[fold == 1], after[fold == 1])


def test_training_rows_are_pooled_by_networks_that_did_not_learn_their_labels() -> None:
    tiles, fused, _, _ = _planted(60)
    target = fused.blocks["image"][:, 2]  # easily learnt, so that the last epoch is the best of each
    before = AttentionPooling(tiles, epochs=5).fit(np.arange(60), target)
    learnt, others = np.flatnonzero(before.part_ != 0), np.flatnonzero(before.part_ == 0)
    for swapped, same in ((others[:2], True), (learnt[:2], False)):
        changed = target.copy()
        changed[swapped] = target[swapped[::-1]]
        after = AttentionPooling(tiles, epochs=5).fit(np.arange(60), changed)
        assert after.best_epoch_[0] == before.best_epoch_[0] == 4
        assert torch.allclose(after.networks_["w"][0], before.networks_["w"][0], atol=1e-6) == same


def test_other_modalities_and_regions_without_tiles() -> None:
    tiles, fused, target, _ = _planted(90)
    bare = np.arange(90) % 10 == 3
    kept = ~np.isin(tiles.region, np.flatnonzero(bare))
    fewer = Tiles(tiles.image_ids[kept], tiles.vectors[kept], tiles.region[kept], 90)
    place = np.random.default_rng(0).normal(size=(90, 3))
    image = np.where(bare[:, None], np.nan, fused.blocks["image"])
    features, make = with_attention(
        Fused({"context": image * 0 + 1.0, "image": image, "location": place}),
        make_probe_maker("gp", seed=0),
        fewer,
        seed=0,
    )
    assert features.present.tolist() == Fused({"c": image, "image": image, "l": place}).present.tolist()
    probe = make(features.columns(("context", "image", "location")), 60)
    assert probe.base.groups == {"context": slice(0, 6), "image": slice(6, 12), "location": slice(12, 15)}
    assert clone(probe).pooling.tiles is fewer
    run = cross_fit(features, target, _folds(90), make)
    assert np.isfinite(run.predicted).all()
    assert set(run.basis[bare]) == {"location"}
    assert (run.scale != 1).all()  # the Gaussian process inside says how sure it is
    only_place = Fused({"location": place})
    assert with_attention(only_place, make, tiles, seed=0) == (only_place, make)


def test_even_weights_are_mean_pooling_and_a_lone_tile_weighs_one() -> None:
    tiles, fused, target, _ = _planted(40)
    pooling = AttentionPooling(tiles, epochs=1).fit(np.arange(30), target[:30])
    rows = np.array([35, 31])
    found, weights = pooling.weights(rows)
    assert np.allclose(weights, 1 / TILES)
    assert np.allclose(pooling.pool(rows, found, weights), fused.blocks["image"][rows], atol=1e-6)
    lone = Tiles(tiles.image_ids[::TILES], tiles.vectors[::TILES], tiles.region[::TILES], 40)
    _, weights = AttentionPooling(lone, epochs=20).fit(np.arange(30), target[:30]).weights(rows)
    assert np.allclose(weights, 1.0)
