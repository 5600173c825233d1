"""Neighbouring tiles alike: what is learnt, where, and how it is loaded again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.neighbors import BallTree

torch = pytest.importorskip("torch")

from chorograph.area.embeddings import Embeddings  # noqa: E402
from chorograph.area.folder import Area  # noqa: E402
from chorograph.ground.errors import InputError  # noqa: E402
from chorograph.ground.stage import Ledger, silent  # noqa: E402
from chorograph.models.encoders.registry import images_seen, load_encoder  # noqa: E402
from chorograph.pretraining.config import PretrainConfig  # noqa: E402
from chorograph.pretraining.objectives.neighbours import nearest_tiles  # noqa: E402
from chorograph.synthetic import SyntheticCityConfig, build_synthetic  # noqa: E402
from chorograph.verbs.pretrain import run as pretrain  # noqa: E402


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Area:
    folder = tmp_path_factory.mktemp("neighbours") / "city"
    area = build_synthetic(SyntheticCityConfig(regions=12, tiles_per_region=4, seed=3), folder)
    images = area.images[area.images["view"] == "satellite"]
    encoder = load_encoder("colour")
    pixels = [area.read_image(uri) for uri in images["uri"]]
    ids = images["image_id"].to_numpy(object)
    made = Embeddings("colour", encoder.fingerprint, ids, images["sha256"].to_numpy(object), encoder.encode(pixels))
    made.write(area.embeddings_path("colour"))
    return area


def test_nearest_tiles_are_those_of_scikit_learn_on_the_sphere() -> None:
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(179.9, 180.1, 60) - 360, rng.uniform(59.9, 60.1, 60)
    tree = BallTree(np.radians(np.column_stack([lat, lon])), metric="haversine")
    expected = tree.query(np.radians(np.column_stack([lat, lon])), 5)[1][:, 1:]
    assert (np.sort(nearest_tiles(lon, lat, 4)) == np.sort(expected)).all()


def test_tiles_at_one_place_are_never_their_own_neighbours() -> None:
    found = nearest_tiles(np.zeros(6), np.zeros(6), 2)
    assert found.shape == (6, 2)
    assert all(row not in found[row] for row in range(6))


def test_training_brings_neighbours_together_and_the_encoder_reads_it_again(city: Area, tmp_path: Path) -> None:
    out = tmp_path / "alike"
    asked = PretrainConfig(area=city.path, out=out, objective="neighbours", epochs=30, batch_size=24, device="cpu",
                           set_=("vectors=colour", "width=16"))  # fmt: skip
    outcome = pretrain(asked, silent)
    loss = outcome.manifest["facts"]["loss"]
    assert loss["last"] < 0.8 * loss["first"]
    encoder = load_encoder(f"neighbours:{out}")
    images = city.images[city.images["view"] == "satellite"]
    vectors = encoder.encode([city.read_image(uri) for uri in images["uri"]])
    assert vectors.shape == (len(images), 16)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = nearest_tiles(images["lon"].to_numpy(float), images["lat"].to_numpy(float), 4)
    beside = np.einsum("nd,nkd->nk", unit, unit[nearest]).mean()
    assert beside > (unit @ unit.T).mean() + 0.05
    assert images_seen(f"colour+neighbours:{out}") == set(images["sha256"])
    assert pretrain(asked, silent).skipped


def test_the_description_names_whose_vectors_are_read(city: Area, tmp_path: Path) -> None:
    asked = PretrainConfig(area=city.path, out=tmp_path / "alike", objective="neighbours", epochs=1, device="cpu",
                           set_=("vectors=colour",))  # fmt: skip
    pretrain(asked, silent)
    described = json.loads((tmp_path / "alike" / "config.json").read_text())
    assert (described["tower"], described["width"]) == ("vectors:colour", 256)


def test_tiles_without_a_place_are_counted_and_too_few_refused(city: Area, tmp_path: Path) -> None:
    from chorograph.pretraining.config import NeighboursConfig
    from chorograph.pretraining.objectives.neighbours import train_neighbours

    images = pd.read_parquet(city.path / "images.parquet")
    placed = images.copy()
    try:
        images.loc[3:, ["lon", "lat"]] = np.nan
        images.to_parquet(city.path / "images.parquet")
        ledger = Ledger()
        with pytest.raises(InputError, match="too few to learn from 4 neighbours"):
            train_neighbours(
                NeighboursConfig(area=city.path, out=tmp_path / "none", vectors="colour", device="cpu"), ledger
            )
        assert ledger.dropped["tile without a place"] == (images["view"] == "satellite").sum() - 3
    finally:
        placed.to_parquet(city.path / "images.parquet")
