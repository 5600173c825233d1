"""What who comes from open_clip's training command looks for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chorograph.area.folder import Area
from chorograph.ground.errors import InputError
from chorograph.ground.settings import configure
from chorograph.ground.stage import Ledger, silent
from chorograph.models.checkpoint import load_checkpoint
from chorograph.models.coca import towers as coca
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds.corpus import join
from chorograph.pretraining.feeds.feed import Batches, Draw
from chorograph.pretraining.feeds.pairs import InMemory, OnDisk, Pairs
from chorograph.pretraining.loop.optimiser import rate_factor
from chorograph.pretraining.loop.world import World
from chorograph.pretraining.run import PretrainResult, pretrain
from chorograph.shards.write import ShardWriter
from chorograph.verbs.pretrain import run as command


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, config in coca.SMALL.items():
        monkeypatch.setitem(coca.SMALL, name, {**config, "vision_cfg": {**config["vision_cfg"], "image_size": 32}})


def _run(place: Area | Path, out: Path, ledger: Ledger | None = None, **settings: Any) -> PretrainResult:
    asked = {"batch_size": 8, "epochs": 1, "device": "cpu", "objective": "clip", "model": "clip-small", **settings}
    where = place.path if isinstance(place, Area) else place
    return pretrain(place, configure(PretrainConfig, {"area": where, "out": out, **asked}), ledger=ledger)


def test_a_mixture_a_validation_place_and_kept_epochs(colours: Area, tmp_path: Path) -> None:
    ledger = Ledger()
    settings = {"also": [f"{colours.path}=3"], "samples": 24, "val": colours.path, "save_every": 1, "epochs": 2}
    result = _run(colours, tmp_path / "out", ledger, **settings)
    assert ledger.counts["images trained on"] == 2 * 29
    assert ledger.counts["images held out"] == 29
    assert "all of" in result.held_out
    assert "val_loss" in result.last
    kept = sorted(path.name for path in (tmp_path / "out.epochs").iterdir())
    assert kept == ["epoch-0001", "epoch-0002"]
    last = load_checkpoint(tmp_path / "out.epochs" / "epoch-0002").model.state_dict()
    assert all(torch.equal(last[name], tensor) for name, tensor in result.loaded.model.state_dict().items())
    with pytest.raises(InputError, match="--also"):
        _run(colours, tmp_path / "bad", also=[f"{colours.path}=-1"])


def test_shards_beside_an_area_and_shards_to_validate_on(colours: Area, tmp_path: Path) -> None:
    images = colours.images[~colours.images["image_id"].isin(["t05", "t06", "t07"])]
    text = colours.captions[colours.captions["rank"] == 0].set_index("image_id")["caption"]
    for name, rows in (("more", images[:12]), ("checked", images[12:20])):
        with ShardWriter(tmp_path / name, max_samples=6) as writer:
            for image_id, uri in zip(rows["image_id"], rows["uri"], strict=True):
                writer.write(image_id, {"jpg": colours.resolve(uri).read_bytes(), "txt": text[image_id]})
    ledger = Ledger()
    settings = {"also": [f"{tmp_path / 'more'}=2"], "replacement": True, "val": tmp_path / "checked"}
    result = _run(colours, tmp_path / "out", ledger, **settings)
    assert ledger.counts["images trained on"] == 29 + 12
    assert ledger.counts["images held out"] == 8
    assert result.last["val_loss"] > 0


def test_rows_are_drawn_by_their_weights() -> None:
    captions = tuple((str(row),) for row in range(4))
    pixels = torch.arange(4, dtype=torch.uint8).view(-1, 1, 1, 1).expand(4, 3, 2, 2)
    decoded = OnDisk(lambda row: np.full((2, 2, 3), 9 + row, dtype=np.uint8), (2, 2))
    both = join([Pairs(tuple("abcd"), InMemory(pixels), captions), Pairs(("e", "f"), decoded, captions[:2])])
    read, reasons = both.images.read(np.array([5, 0, 4, 3]))
    assert read[:, 0, 0, 0].tolist() == [10, 0, 9, 3]
    assert reasons == [None] * 4
    assert [both.captions[row] for row in (3, 4, 5)] == [("3",), ("0",), ("1",)]
    source = Batches(both, 50, 0, World(), None, Draw(np.array([0, 0, 0, 0, 0.25, 0.75]), 1000))
    rows = np.concatenate([source[(0, number)].rows for number in range(source.an_epoch)])
    assert len(rows) == 1000
    assert abs((rows == 5).mean() - 0.75) < 0.05
    assert source[(0, 3)].rows.tolist() == source[(0, 3)].rows.tolist() != source[(1, 3)].rows.tolist()


def test_a_teacher_half_precision_and_an_average(colours: Area, tmp_path: Path) -> None:
    teacher = _run(colours, tmp_path / "teacher", holdout="0").folder
    result = _run(
        colours, tmp_path / "student", distill=str(teacher), precision="fp16", ema=0.9, sync_batchnorm=True, epochs=2,
        tensorboard=tmp_path / "board", log_every=2, beta2=0.98, epsilon=1e-6, schedule="constant-cooldown",
    )  # fmt: skip
    losses = result.last
    assert losses["train_loss"] == pytest.approx(losses["train_contrastive"] + losses["train_distillation"], abs=1e-4)
    assert losses["train_gradient_norm"] > 0
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "board")).Reload()
    assert {"step/loss", "step/gradient_norm", "step/lr", "step/images_per_s"} <= set(board.Tags()["scalars"])
    assert [event.step for event in board.Scalars("step/loss")] == [2, 4, 6, 8]
    assert [event.step for event in board.Scalars("train/loss")] == [1, 2]


def test_made_up_pairs_measure_speed(tmp_path: Path) -> None:
    result = _run(Path("synthetic:20"), tmp_path / "out", objective="coca", model="coca-small")
    assert result.last["images_per_s"] > 0
    asked = {"area": "synthetic:20", "out": tmp_path / "by-command", "objective": "clip", "model": "clip-small"}
    command(configure(PretrainConfig, {**asked, "epochs": 1, "batch_size": 8, "device": "cpu"}), silent)
    assert (tmp_path / "by-command" / "manifest.json").is_file()
    with pytest.raises(InputError, match="number of made-up pairs"):
        _run(Path("synthetic:many"), tmp_path / "other")


def test_the_rate_cools_down() -> None:
    factors = [rate_factor(step, 100, 10, "constant-cooldown", 20) for step in range(100)]
    assert factors[9:81] == [1.0] * 72
    assert factors[-1] == pytest.approx(0.05)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_state_is_taken_up_by_name_or_never(
    colours: Area, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    """In half precision with its scaler as well, which begins too high and skips steps."""
    from chorograph.pretraining.loop.loop import Loop

    learn, seen = Loop.learn, [0]

    def crash(loop: Loop[Any], batch: Any) -> None:
        seen[0] += 1
        if loop.state.step == 3 and not (tmp_path / "again").exists():
            raise KeyboardInterrupt
        learn(loop, batch)

    monkeypatch.setattr(Loop, "learn", crash)
    with pytest.raises(KeyboardInterrupt):
        _run(colours, tmp_path / "out", checkpoint_every="1", precision=precision)
    state = tmp_path / "out.resume" / "step-000000003.pt"
    kept = state.rename(tmp_path / "state.pt")
    (tmp_path / "again").mkdir()
    seen[0] = 0
    result = _run(colours, tmp_path / "other", checkpoint_every="1", resume=str(kept), precision=precision)
    assert seen[0] == 1  # of four steps, three were behind it
    monkeypatch.setattr(Loop, "learn", learn)
    whole = _run(colours, tmp_path / "out", resume="never", precision=precision)
    assert (result.folder / "model.safetensors").read_bytes() == (whole.folder / "model.safetensors").read_bytes()
    with pytest.raises(InputError, match="--resume"):
        _run(colours, tmp_path / "third", resume=str(tmp_path / "absent.pt"))
