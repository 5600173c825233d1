"""Images, texts and a knowledge graph in one loop."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.loss import ClipLoss
from torch.nn.functional import normalize

pytest.importorskip("torch_geometric")

from chorograph.area.folder import Area
from chorograph.ground.errors import InputError
from chorograph.ground.settings import configure
from chorograph.models.coca import towers as coca
from chorograph.models.graph.alignment import region_contrast
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds.feed import Batch
from chorograph.pretraining.loop.loop import Loop
from chorograph.pretraining.run import PretrainResult, pretrain


def _features(number: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(number, 5, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_with_one_image_a_region_it_is_open_clips_loss() -> None:
    images, told = _features(6, 0), _features(6, 1)
    owner = torch.tensor([3, 1, 0, 5, 4, 2])
    ours = region_contrast(images, 7.0 * told, owner, slice(0, 6))
    theirs = ClipLoss()(images, told[owner], 7.0)
    assert float(ours) == pytest.approx(float(theirs), rel=1e-6)


def test_all_images_of_a_region_are_right() -> None:
    """Equation 2 of Khosla et al. 2020, written out, with regions as anchors; images without a region stay out."""
    images, told = _features(7, 2), 4.0 * _features(3, 3)
    owner = torch.tensor([0, 0, 2, -1, 1, 2, 2])
    held = owner >= 0
    scores = (images[held] @ told.T).exp().double()
    own = owner[held]
    backward = 0.0
    for region in range(3):
        positives = (own == region).nonzero()[:, 0]
        mean = -torch.log(scores[positives, region] / scores[:, region].sum()).mean()
        backward += float(mean) * len(positives)
    forward = float(-torch.log(scores[range(6), own] / scores.sum(1)).sum())
    whole = region_contrast(images, told, owner, slice(0, 7))
    assert float(whole) == pytest.approx((forward + backward) / 12, rel=1e-6)
    parts = [region_contrast(images, told, owner, part) for part in (slice(0, 3), slice(3, 7))]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-6)


@pytest.fixture
def area(city: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Area:
    """The city of hues, to be changed, and a small model."""
    model = coca.SMALL["coca-small"]
    monkeypatch.setitem(coca.SMALL, "coca-small", {**model, "vision_cfg": {**model["vision_cfg"], "image_size": 32}})
    return Area.open(shutil.copytree(city, tmp_path / "city"))


def _run(area: Area, name: str, **settings: Any) -> PretrainResult:
    asked = {
        "batch_size": 32, "epochs": 2, "device": "cpu", "holdout": "published", "graph": "TuckER-16",
        "checkpoint_every": "2", **settings,
    }  # fmt: skip
    return pretrain(area, configure(PretrainConfig, {"area": area.path, "out": area.path.parent / name, **asked}))


def _weights(result: PretrainResult) -> bytes:
    return (result.folder / "model.safetensors").read_bytes()


def test_regions_unseen_in_training_are_found_by_their_facts(area: Area) -> None:
    """Their own vectors are not read, and their facts were not trained on."""
    result = _run(area, "joint", epochs=12, holdout="0.2")
    last = result.last
    chance = np.log(16)  # of the held-out regions, in one batch
    assert last["val_graph"] < 0.8 * chance
    assert last["train_loss"] == pytest.approx(
        last["train_contrastive"] + last["train_captioning"] + last["train_graph"], abs=1e-4
    )
    assert "beside the knowledge graph (TuckER-16)" in (result.folder / "card.md").read_text()


def test_facts_of_regions_that_are_not_trained_on_change_nothing(area: Area) -> None:
    expected = _weights(_run(area, "whole"))
    triples, tested = area.triples, area.split("published").query("role == 'test'")["region_id"]
    points = triples.loc[(triples["relation"] == "locateAt") & triples["tail"].isin(tested), "head"]
    moved = triples["head"].isin(points) & (triples["relation"] == "locateAt")
    turned = dict(zip(tested, np.roll(tested, 1), strict=True))
    triples.loc[moved, "tail"] = triples.loc[moved, "tail"].map(turned)
    area.write("triples", triples)
    assert _weights(_run(area, "other facts")) == expected
    trained = triples["tail"].isin(set(area.regions["region_id"]) - set(tested))
    triples.loc[trained, "tail"] = np.roll(triples.loc[trained, "tail"], 3)
    area.write("triples", triples)
    assert _weights(_run(area, "trained facts")) != expected


@pytest.mark.parametrize("portions", [1, 2])
def test_a_run_that_stopped_goes_on_bit_for_bit(area: Area, monkeypatch: pytest.MonkeyPatch, portions: int) -> None:
    whole = _run(area, "whole", accumulate=portions)
    learn = Loop.learn

    def crash(training: Loop[Batch], batch: Batch) -> None:
        if training.state.step == 5:
            raise KeyboardInterrupt
        learn(training, batch)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Loop, "learn", crash)
        _run(area, "stopped", accumulate=portions)
    assert _weights(_run(area, "stopped", accumulate=portions)) == _weights(whole)


def test_what_cannot_be(area: Area) -> None:
    with pytest.raises(InputError, match="graph embed"):
        _run(area, "a", graph="absent")
    with pytest.raises(InputError, match="graph_weight must be above 0"):
        _run(area, "b", graph_weight=0.0)
    with pytest.raises(InputError, match="--fsdp"):
        _run(area, "c", fsdp=True, keep="last")
    area.write("images", area.images.assign(region_id=None))
    with pytest.raises(InputError, match="no image to train on has a region with facts"):
        _run(area, "d", holdout="0")
