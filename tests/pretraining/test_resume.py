from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from chorograph.area.folder import Area
from chorograph.ground.errors import ChorographError, InputError
from chorograph.ground.settings import configure
from chorograph.models.coca import towers as coca
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds import pairs as pairs_module
from chorograph.pretraining.feeds.feed import Batch
from chorograph.pretraining.loop.loop import Loop
from chorograph.pretraining.loop.resume import Interval, Resume
from chorograph.pretraining.run import PretrainResult, pretrain

#: The command line with the small model at 32 px, as in these tests' own process; a slow step leaves time to kill it.
_PROGRAM = """
import os, time
from chorograph.models.coca import towers as coca
from chorograph.pretraining.loop.loop import Loop
model = coca.SMALL["coca-small"]
coca.SMALL["coca-small"] = {**model, "vision_cfg": {**model["vision_cfg"], "image_size": 32}}
learn = Loop.learn
def slowly(training, batch):
    learn(training, batch)
    print(*training.state.place, *batch.rows.tolist(), flush=True)
    time.sleep(float(os.environ["SLEEP"]))
Loop.learn = slowly
from chorograph.cli import main
main()
"""


@pytest.fixture(autouse=True)
def _small_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    model = coca.SMALL["coca-small"]
    monkeypatch.setitem(coca.SMALL, "coca-small", {**model, "vision_cfg": {**model["vision_cfg"], "image_size": 32}})


def _config(area: Area, name: str, **settings: Any) -> PretrainConfig:
    asked = {"batch_size": 8, "epochs": 3, "device": "cpu", "holdout": "0.25", "checkpoint_every": "2"}
    return configure(PretrainConfig, {"area": area.path, "out": area.path.parent / name, **asked, **settings})


def _timeless(result: PretrainResult) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_s")} for row in result.history]


def _weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_run_that_was_killed_goes_on_bit_for_bit(colours: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    """SIGKILL in the middle of an epoch, the same command again: order and weights of a run never interrupted."""
    whole: list[str] = []
    learn = Loop.learn

    def noted(training: Loop[Batch], batch: Batch) -> None:
        learn(training, batch)
        whole.append(" ".join(map(str, [*training.state.place, *batch.rows.tolist()])))

    monkeypatch.setattr(Loop, "learn", noted)
    expected = pretrain(colours, _config(colours, "whole"))
    out = colours.path.parent / "killed"
    command = [
        sys.executable, "-c", _PROGRAM, "pretrain", str(colours.path), "--out", str(out), "--batch-size", "8",
        "--epochs", "3", "--device", "cpu", "--holdout", "0.25", "--checkpoint-every", "2",
    ]  # fmt: skip
    # Sums are taken in another order by another number of threads.
    environment = {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    states = colours.path.parent / "killed.resume"
    process = subprocess.Popen(
        command, env={**environment, "SLEEP": "0.3"}, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    deadline = time.monotonic() + 600
    while not list(states.glob("step-000000004.pt")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    before = process.stdout.read().splitlines()
    assert process.wait() == -signal.SIGKILL
    assert not out.exists()
    done = subprocess.run(command, env={**environment, "SLEEP": "0"}, capture_output=True, text=True, check=True)
    after = [line for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert before == whole[: len(before)]
    assert after == whole[-len(after) :]
    assert len(after) < len(whole) <= len(before) + len(after)  # what followed the last state is done again
    assert _weights(out) == _weights(expected.folder)
    assert not states.exists()
    described = json.loads((out / "config.json").read_text())
    assert described["dropped"] == json.loads((expected.folder / "config.json").read_text())["dropped"]


def _stopped(area: Area, name: str, at: int, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
    """Run until step `at`, then fail as a crash would."""
    learn = Loop.learn

    def crash(training: Loop[Batch], batch: Batch) -> None:
        if training.state.step == at:
            raise KeyboardInterrupt
        learn(training, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "learn", crash)
        with pytest.raises(KeyboardInterrupt):
            pretrain(area, _config(area, name, **settings))


@pytest.mark.parametrize("at", [1, 3, 5, 6])
def test_wherever_it_stops(colours: Area, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Before the first state, at one, between two, at the end of an epoch; the best epoch's weights included."""
    whole = pretrain(colours, _config(colours, "whole", keep="best"))
    _stopped(colours, "stopped", at, monkeypatch, keep="best")
    states = sorted(p.name for p in (colours.path.parent / "stopped.resume").glob("*.pt"))
    assert len(states) == min(at // 2, 2)
    again = pretrain(colours, _config(colours, "stopped", keep="best"))
    assert _weights(again.folder) == _weights(whole.folder)
    assert _timeless(again) == _timeless(whole)
    assert not (colours.path.parent / "stopped.resume").exists()


def test_workers_change_nothing(colours: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs_module, "_MEMORY_BYTES", 0)
    results = [pretrain(colours, _config(colours, f"w{number}", epochs=2, workers=number)) for number in (0, 2)]
    assert _weights(results[0].folder) == _weights(results[1].folder)
    assert _timeless(results[0]) == _timeless(results[1])
    described = json.loads((results[1].folder / "config.json").read_text())
    assert described["dropped"]["image not an image"] == 1
    # A run that one number of workers began, another goes on with.
    _stopped(colours, "stopped", 5, monkeypatch, epochs=2, workers=0)
    again = pretrain(colours, _config(colours, "stopped", epochs=2, workers=2))
    assert _weights(again.folder) == _weights(results[0].folder)


def test_an_unfinished_run_of_other_settings_is_not_thrown_away(colours: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    _stopped(colours, "out", 3, monkeypatch)
    with pytest.raises(InputError, match=r"lr was None and is 0\.5") as caught:
        pretrain(colours, _config(colours, "out", lr=0.5))
    assert "remove the folder" in str(caught.value)
    colours.write("captions", colours.captions[colours.captions["image_id"] != "t00"])
    with pytest.raises(InputError, match="data was"):
        pretrain(colours, _config(colours, "out"))


def test_a_state_that_cannot_be_read_gives_way_to_the_one_before(tmp_path: Path) -> None:
    resume = Resume(tmp_path / "states", Interval(steps=1), {"seed": 0})
    assert resume.load() is None
    for step in (1, 2, 3):
        resume.save(step, {"step": step, "tensor": torch.ones(2)})
    assert sorted(p.name for p in resume.folder.iterdir()) == ["step-000000002.pt", "step-000000003.pt"]
    (resume.folder / ".step-000000004.pt.chorograph-0123456789ab.pt").write_bytes(b"half")
    found = resume.load()
    assert found is not None
    assert found["step"] == 3
    assert not list(resume.folder.glob(".*"))
    path = resume.folder / "step-000000003.pt"
    path.write_bytes(path.read_bytes()[:100])
    found = resume.load()
    assert found is not None
    assert found["step"] == 2


def test_a_loss_that_is_no_number_is_not_saved(colours: Area, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ChorographError, match="lower --lr"):
        pretrain(colours, _config(colours, "out", lr=1e30, schedule="constant", warmup=0.0, checkpoint_every="1"))
    for path in (colours.path.parent / "out.resume").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        assert state["state"]["step"] <= 2


@pytest.mark.parametrize(
    ("text", "steps", "seconds"), [("500", 500, None), ("90s", None, 90), ("10m", None, 600), ("1.5h", None, 5400)]
)
def test_intervals(text: str, steps: int | None, seconds: float | None) -> None:
    interval = Interval.parse(text)
    assert interval == Interval(steps, seconds)
    assert interval.due(500, 1e6) or steps not in (None, 500)
    assert not interval.due(501, 1)


@pytest.mark.parametrize("text", ["", "0", "-3", "2.5", "10 days", "0s"])
def test_no_intervals(text: str) -> None:
    with pytest.raises(InputError, match="checkpoint_every"):
        Interval.parse(text)
