from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from chorograph.area.folder import Area
from chorograph.ground.errors import ChorographError, InputError, MissingExtraError
from chorograph.ground.settings import configure
from chorograph.ground.stage import Ledger
from chorograph.models.checkpoint import load_checkpoint, load_checkpoint_encoder
from chorograph.models.coca import towers as coca
from chorograph.models.coca.towers import PAD
from chorograph.models.encoders.open_clip import ImageTextModel, new_model
from chorograph.models.encoders.registry import images_seen, load_encoder
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds.augment import augment
from chorograph.pretraining.feeds.feed import Batch, Batches
from chorograph.pretraining.feeds.pairs import InMemory, Pairs
from chorograph.pretraining.loop.loop import Loop, validate
from chorograph.pretraining.loop.optimiser import rate_factor, warm_up_steps
from chorograph.pretraining.loop.step import Step
from chorograph.pretraining.loop.world import World
from chorograph.pretraining.objectives.pairs import PAIRINGS, PairObjective
from chorograph.pretraining.run import pretrain


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small models at 32 px, so that an epoch takes a moment."""
    for name, config in coca.SMALL.items():
        small = {**config, "vision_cfg": {**config["vision_cfg"], "image_size": 32}}
        monkeypatch.setitem(coca.SMALL, name, small)


def _config(area: Area, **settings: object) -> PretrainConfig:
    out = area.path.parent / "out"
    return configure(
        PretrainConfig, {"area": area.path, "out": out, "batch_size": 8, "epochs": 3, "device": "cpu", **settings}
    )


def _pairs(loaded: ImageTextModel, number: int = 10) -> Pairs:
    rng = np.random.default_rng(0)
    size = loaded.preprocessing.size
    pixels = torch.from_numpy(rng.integers(0, 256, (number, 3, *size), dtype=np.uint8))
    names = ["red", "green", "blue"]
    return Pairs(
        tuple(map(str, range(number))),
        InMemory(pixels),
        tuple((f"a {names[n % 3]} place", "a place") for n in range(number)),
    )


@pytest.mark.parametrize(
    ("objective", "model"),
    [("coca", "coca-small"), ("clip", "clip-small"), ("clip", "coca-small"), ("siglip", "clip-small")],
)
def test_a_run_leaves_a_checkpoint_that_loads(colours: Area, objective: str, model: str) -> None:
    ledger = Ledger()
    told: list[tuple[str, int, int]] = []
    config = _config(colours, objective=objective, model=model, holdout="0.25")
    result = pretrain(colours, config, ledger=ledger, progress=lambda *step: told.append(step))
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "card.md", "config.json", "history.jsonl", "model.safetensors", "seen.txt", "tokenizer.json",
    ]  # fmt: skip
    history = [json.loads(line) for line in (result.folder / "history.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert {"val_loss", "image_to_text_recall@1", "text_to_image_recall@10", "mean_recall"} <= history[0].keys()
    assert ("val_captioning" in history[0]) == (objective == "coca")
    described = json.loads((result.folder / "config.json").read_text())
    assert described["objective"] == objective
    assert described["settings"]["lr"] == 1e-3
    assert described["dropped"] == {
        "image known but not held": 1, "image not an image": 1, "image without a caption": 1,
    }  # fmt: skip
    card = (result.folder / "card.md").read_text()
    assert "synthetic" in card
    assert "CC0-1.0" in card
    assert told[-1][1] == told[-1][2] == 3 * 3
    encoder = load_checkpoint_encoder(result.folder)
    vectors = encoder.encode([colours.read_image(colours.images["uri"][0])])
    assert vectors.shape == (1, encoder.dim)
    assert ledger.facts["held out"] == result.held_out


def test_the_same_seed_gives_the_same_weights(colours: Area) -> None:
    first = pretrain(colours, _config(colours, epochs=1)).loaded.model.state_dict()
    again = pretrain(colours, _config(colours, epochs=1)).loaded.model.state_dict()
    other = pretrain(colours, _config(colours, epochs=1, seed=1)).loaded.model.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["visual.proj"], other["visual.proj"])


def test_held_out_images_never_reach_a_step(colours: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: set[str] = set()
    learn = Loop.learn

    def watch(training: Loop[Batch], batch: Batch) -> None:
        seen.update(batch.texts)
        learn(training, batch)

    monkeypatch.setattr(Loop, "learn", watch)
    pretrain(colours, _config(colours, holdout="0.25", epochs=3))
    captions = colours.captions.merge(colours.images, on="image_id")
    # The third caption names its tile; over three epochs every caption of a trained image is shown.
    tiles = {
        text: region for text, region in zip(captions["caption"], captions["region_id"], strict=True) if "tile" in text
    }
    shown = {tiles[text] for text in seen if text in tiles}
    assert len(shown) == 6
    trained = captions[captions["region_id"].isin(shown) & ~captions["image_id"].isin(["t05", "t06", "t07"])]
    assert set(trained["caption"]) == seen


def test_validation_weighs_every_sample_of_every_batch() -> None:
    """The reported loss is the sample-weighted mean over all batches."""
    loaded = new_model("coca-small", seed=0, captions=["a red place", "a green place", "a blue place", "a place"] * 2)
    loaded.model.eval()
    held = _pairs(loaded, 10)
    found = _validated(loaded, held, 4)
    expected = 0.0
    with torch.inference_mode():
        for rows in (range(0, 4), range(4, 7), range(7, 10)):
            tokens = loaded.tokenizer([held.captions[row][0] for row in rows])
            pixels, _ = held.images.read(np.array(rows))
            out: Any = loaded.model(loaded.preprocessing.normalise(pixels), tokens)
            loss = functional.cross_entropy(out["logits"].flatten(0, 1), out["labels"].flatten(), ignore_index=PAD)
            expected += loss.item() * len(rows) / 10
    assert found["val_captioning"] == pytest.approx(expected, rel=1e-5)


def test_training_goes_on_from_a_checkpoint_or_a_weights_file(colours: Area, tmp_path: Path) -> None:
    first = pretrain(colours, _config(colours, epochs=1))
    kept = tmp_path / "kept"
    first.folder.rename(kept)
    again = pretrain(colours, _config(colours, epochs=1, init=kept, lr=1e-9))
    described = json.loads((again.folder / "config.json").read_text())
    assert described["settings"]["init"] == str(kept)
    before, after = load_checkpoint(kept), again.loaded
    assert after.tokenizer == before.tokenizer
    torch.testing.assert_close(after.model.visual.proj, before.model.visual.proj, rtol=0, atol=1e-6)
    from_file = pretrain(colours, _config(colours, epochs=1, init=kept / "model.safetensors", lr=1e-9)).loaded
    torch.testing.assert_close(from_file.model.visual.proj, before.model.visual.proj, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="coca-small, not a clip-small"):
        pretrain(colours, _config(colours, init=kept, model="clip-small", objective="clip"))


def test_the_best_epoch_can_be_kept(colours: Area) -> None:
    config = _config(colours, holdout="0.25", keep="best", epochs=3, lr=0.02, schedule="constant")
    result = pretrain(colours, config)
    best = min(row["val_loss"] for row in result.history)
    held = _reload_held(colours, config, result.loaded)
    assert _validated(result.loaded, held, config.batch_size)["val_loss"] == pytest.approx(best, rel=1e-4)


def _reload_held(area: Area, config: PretrainConfig, loaded: ImageTextModel) -> Pairs:
    from chorograph.ground.stage import silent
    from chorograph.pretraining.feeds.pairs import load_pairs

    return load_pairs(
        area, loaded.preprocessing, view="satellite", holdout=config.holdout, seed=config.seed, ledger=Ledger(),
        progress=silent,
    )[1]  # fmt: skip


def _validated(loaded: ImageTextModel, held: Pairs, batch_size: int) -> dict[str, Any]:
    objective = PairObjective(PAIRINGS["coca"], loaded, held=held)
    return validate(Step(objective, objective.module), Batches(held, batch_size, 0, World(), held).held())


def test_wrong_settings_are_named_before_any_work(colours: Area) -> None:
    for settings, message in (
        ({"epochs": 0}, "epochs"),
        ({"batch_size": 1}, "batch_size"),
        ({"lr": -1.0}, "lr"),
        ({"objective": "coca", "model": "clip-small"}, "CoCa"),
        ({"init": colours.path / "nothing.pt"}, "does not exist"),
        ({"accumulate": 0}, "accumulate"),
        ({"clip_norm": 0.0}, "clip_norm"),
        ({"checkpoint_every": "often"}, "checkpoint_every"),
        ({"fsdp": True}, "torchrun"),
        ({"adapter": "lora", "freeze": "text"}, "adapter"),
    ):
        with pytest.raises(InputError, match=message):
            pretrain(colours, _config(colours, **settings))
    assert not (colours.path.parent / "out").exists()


def test_a_loss_that_is_no_number_stops_the_run() -> None:
    loaded = new_model("coca-small", seed=0, captions=["a red place", "a green place", "a blue place"] * 2)
    with torch.no_grad():
        loaded.model.visual.proj.fill_(float("nan"))
    pairs = _pairs(loaded)
    config = PretrainConfig(area=Path("a"), out=Path("b"), batch_size=4, epochs=1)
    with pytest.raises(ChorographError, match="lower --lr"):
        Loop(PairObjective(PAIRINGS["coca"], loaded), Batches(pairs, 4, 0, World()), config, lr=1e-3).run()


def test_the_rate_rises_then_falls() -> None:
    factors = [rate_factor(step, 100, 10, "cosine") for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == factors[10] == 1
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert factors[-1] < 0.01
    assert rate_factor(99, 100, 10, "constant") == 1
    assert [warm_up_steps(warmup, 200) for warmup in (0, 0.1, 1, 50)] == [1, 20, 200, 50]


def test_augmentation_only_turns_and_mirrors() -> None:
    pixels = torch.arange(4 * 4, dtype=torch.uint8).reshape(1, 1, 4, 4).expand(400, 3, 4, 4).contiguous()
    turned = augment(pixels, "auto", "satellite", (0, 0, 0))
    assert len({tuple(image[0].flatten().tolist()) for image in turned}) == 8
    assert all(sorted(image[0].flatten().tolist()) == list(range(16)) for image in turned)
    assert torch.equal(turned, augment(pixels, "auto", "satellite", (0, 0, 0)))
    street = augment(pixels, "auto", "street", (0, 0, 0))
    assert len({tuple(image[0].flatten().tolist()) for image in street}) == 2
    assert torch.equal(augment(pixels, "none", "satellite", (0, 0, 0)), pixels)
    places = np.array([3, 250, 17])
    assert torch.equal(augment(pixels[places], "auto", "satellite", (0, 0, 0), places, 400), turned[places])


def test_cuts_are_parts_of_the_image() -> None:
    columns = torch.linspace(0, 255, 64).to(torch.uint8).expand(200, 3, 64, 64)
    cut = augment(columns, "crop", "satellite", (0, 0, 0)).float()
    contrast = cut.amax((1, 2, 3)) - cut.amin((1, 2, 3))
    assert contrast.max() <= 255
    assert 255 * 0.5**0.5 - 8 < contrast.min() < 200  # half the area is 0.71 of the side
    assert torch.equal(augment(columns, "crop", "satellite", (0, 0, 0)), cut.to(torch.uint8))


@pytest.mark.parametrize("tower", ["image", "text"])
def test_a_frozen_tower_stays_as_it_is(colours: Area, tower: str) -> None:
    before = pretrain(colours, _config(colours, epochs=1, lr=1e-12)).folder
    kept = before.rename(before.with_name("kept"))
    result = pretrain(colours, _config(colours, epochs=1, lr=1e-2, freeze=tower, init=kept))
    old, new = load_checkpoint(kept).model.state_dict(), result.loaded.model.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert changed
    assert not any(name.startswith("visual." if tower == "image" else "text.") for name in changed)
    assert any(name.startswith("text_decoder.") for name in changed)


def test_captions_that_are_all_the_same_raise_an_alarm(colours: Area) -> None:
    ledger = Ledger()
    result = pretrain(colours, _config(colours, epochs=1, holdout="0.25", lr=1e-9), ledger=ledger)
    assert result.last["caption_collapse"] is True
    assert any("collapsed" in warning for warning in ledger.warnings)


def test_tensorboard_is_asked_for_by_name_and_missed_by_name(
    colours: Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install .chorograph\[tensorboard"):
        pretrain(colours, _config(colours, tensorboard=tmp_path / "board"))
    written: list[tuple[str, float, int]] = []

    class Writer:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def add_scalar(self, name: str, value: float, epoch: int) -> None:
            written.append((name, value, epoch))

        def flush(self) -> None:
            pass

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Writer))
    history = pretrain(colours, _config(colours, epochs=2, tensorboard=tmp_path / "board")).history
    assert ("train/loss", history[1]["train_loss"], 2) in written


@pytest.mark.parametrize("kind", ["lora", "bitfit", "prefix"])
def test_adapters_are_trained_apart_and_merged_where_they_can_be(colours: Area, kind: str) -> None:
    kept = pretrain(colours, _config(colours, epochs=1, lr=1e-12)).folder
    kept = kept.rename(kept.with_name("kept"))
    ledger = Ledger()
    settings = {"adapter": kind, "adapter_towers": ["image"], "adapter_rank": 4, "lr": 1e-2, "init": kept}
    result = pretrain(colours, _config(colours, epochs=2, **settings), ledger=ledger)
    old, new = load_checkpoint(kept).model.state_dict(), load_checkpoint(result.folder).model.state_dict()
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    assert old.keys() == new.keys()
    assert all(name.startswith("visual.") for name in changed)
    trained = sum(ledger.counts[name] for name in ledger.counts if name.startswith("parameters trained"))
    assert 0 < trained < sum(tensor.numel() for tensor in old.values()) / 10
    folder = result.folder.with_name(f"{result.folder.name}.adapter")
    assert {path.name for path in folder.iterdir()} == {"adapter.safetensors", "adapter.json", "seen.txt"}
    if kind == "prefix":
        assert not changed
        assert any("cannot be merged" in warning for warning in ledger.warnings)
    images = [colours.read_image(uri) for uri in colours.images["uri"].iloc[[0, 1, 2, 8]]]
    with_adapter, written = (load_encoder(name) for name in (f"adapter:{folder}", str(result.folder)))
    assert images_seen(with_adapter.name) == images_seen(written.name) != set()
    assert (with_adapter.fingerprint == written.fingerprint) == (kind == "bitfit")  # the same tensors of the same names
    # Merged, the written weights compute what the base with the adapter does; what cannot be merged, they are without.
    same = np.allclose(with_adapter.encode(images), written.encode(images), rtol=1e-4, atol=1e-5)
    assert same == (kind != "prefix")
