from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from chorograph.area.folder import Area
from chorograph.ground.settings import configure
from chorograph.models.coca import towers as coca
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds import pairs as pairs_module
from chorograph.pretraining.feeds.feed import Batches, feed
from chorograph.pretraining.feeds.pairs import InMemory, OnDisk, Pairs
from chorograph.pretraining.loop.loop import places as places_of
from chorograph.pretraining.loop.world import World
from chorograph.pretraining.run import pretrain
from chorograph.shards.write import ShardWriter
from chorograph.verbs.pretrain import run as stage


def _decode(row: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((4, 4, 3), row, dtype=np.uint8)


def _pairs(number: int, *, on_disk: bool = False) -> Pairs:
    pixels = torch.arange(number, dtype=torch.uint8).view(-1, 1, 1, 1).expand(number, 3, 4, 4)
    captions = tuple((f"{row}", f"again {row}") for row in range(number))
    return Pairs(tuple(map(str, range(number))), OnDisk(_decode, (4, 4)) if on_disk else InMemory(pixels), captions)


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_every_sample_once_an_epoch_over_all_ranks(ranks: int) -> None:
    for epoch in range(2):
        shares = [Batches(_pairs(31), 8, 0, World(rank, ranks)) for rank in range(ranks)]
        seen: list[int] = []
        for place in places_of(2, shares[0].an_epoch):
            if place[0] == epoch:
                parts = [every[place] for every in shares]
                # Side by side, the shares are the batch of one process.
                whole = Batches(_pairs(31), 8, 0, World())[place]
                assert np.concatenate([part.rows for part in parts]).tolist() == whole.rows.tolist()
                assert np.concatenate([part.places for part in parts]).tolist() == list(range(whole.whole))
                assert [text for part in parts for text in part.texts] == whole.texts
                seen += whole.rows.tolist()
        assert sorted(seen) == list(range(31))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_read_the_same_batches_in_the_same_order(workers: int) -> None:
    every = Batches(_pairs(31, on_disk=True), 8, 0, World())
    places = list(places_of(3, every.an_epoch, (1, 2)))
    assert places[0] == (1, 2)
    assert len(places) == 2 + 4
    expected = [every[place] for place in places]
    found = list(feed(every, places, workers))
    assert [batch.place for batch in found] == places
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.rows.tolist() == theirs.rows.tolist() == ours.pixels[:, 0, 0, 0].tolist()
        assert torch.equal(ours.pixels, theirs.pixels)
        assert ours.texts == theirs.texts


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_folder_and_its_tar_copy_give_the_same_loss(
    colours: Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_memory: bool
) -> None:
    if not in_memory:
        monkeypatch.setattr(pairs_module, "_MEMORY_BYTES", 0)
    model = coca.SMALL["coca-small"]
    monkeypatch.setitem(coca.SMALL, "coca-small", {**model, "vision_cfg": {**model["vision_cfg"], "image_size": 32}})
    images = colours.images[~colours.images["image_id"].isin(["t05", "t06", "t07"])].sort_values("image_id")
    first = colours.captions[colours.captions["rank"] == 0]
    text = first.set_index("image_id")["caption"]
    with ShardWriter(tmp_path / "tars", max_samples=10) as writer:
        for image_id, uri in zip(images["image_id"], images["uri"], strict=True):
            writer.write(image_id, {"jpg": colours.resolve(uri).read_bytes(), "txt": text[image_id]})
    (colours.path / "regions.parquet").unlink()
    colours.write("images", images)
    colours.write("captions", first[first["image_id"].isin(images["image_id"])])
    asked = {"batch_size": 8, "epochs": 2, "device": "cpu", "holdout": "0.2", "workers": 0 if in_memory else 1}
    folder = pretrain(
        Area.open(colours.path), configure(PretrainConfig, {**asked, "area": colours.path, "out": tmp_path / "folder"})
    )
    outcome = stage(
        configure(PretrainConfig, {**asked, "area": tmp_path / "tars", "out": tmp_path / "tar"}), lambda *step: None
    )
    history = [json.loads(line) for line in (tmp_path / "tar" / "history.jsonl").read_text().splitlines()]
    for ours, theirs in zip(history, folder.history, strict=True):
        for name in theirs.keys() - {"seconds", "images_per_s"}:
            assert ours[name] == theirs[name], name
    assert (tmp_path / "tar" / "model.safetensors").read_bytes() == (folder.folder / "model.safetensors").read_bytes()
    assert outcome.manifest["counts"]["images trained on"] == 23
    assert len(outcome.manifest["inputs"]) == 3
    assert "3 shards" in (tmp_path / "tar" / "card.md").read_text()
