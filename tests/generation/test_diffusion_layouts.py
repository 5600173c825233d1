"""The three layouts of Stable Diffusion, trained by the command and drawn from; what decides its losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from diffusers.training_utils import compute_snr  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

import tiny_hf  # noqa: E402
from chorograph.ground.settings import configure  # noqa: E402
from chorograph.ground.stage import silent  # noqa: E402
from chorograph.models.diffusion.pipeline import load_diffusion  # noqa: E402
from chorograph.pretraining.config import PretrainConfig  # noqa: E402
from chorograph.pretraining.feeds.feed import Batch  # noqa: E402
from chorograph.pretraining.objectives.diffusion import DiffusionConfig, DiffusionObjective  # noqa: E402
from chorograph.verbs.generate import Settings as GenerateSettings  # noqa: E402
from chorograph.verbs.generate import run as generate  # noqa: E402
from chorograph.verbs.pretrain import run as pretrain  # noqa: E402

#: By name: whether it is an XL, and what it predicts, as the published ones do (SD 2.1 at 768 px: the velocity).
LAYOUTS = {"1.5": (False, "epsilon"), "2.1": (False, "v_prediction"), "XL": (True, "epsilon")}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for name, (large, prediction) in LAYOUTS.items():
        tiny_hf.diffusion(folder / name, ["a road"], large=large, prediction=prediction)
    return folder


def _train(init: Path, out: Path, **settings: Any) -> None:
    asked = {"area": "synthetic:8", "objective": "diffusion", "init": init, "out": out, "device": "cpu"}
    sizes = {"batch_size": 4, "epochs": 2, "holdout": "0", "lr": 0.01}
    pretrain(configure(PretrainConfig, {**asked, **sizes, **settings}), silent)


@pytest.mark.parametrize("adapter", ["lora", "none"])
@pytest.mark.parametrize("name", list(LAYOUTS))
def test_every_layout_is_trained_and_drawn_from(models: Path, tmp_path: Path, name: str, adapter: str) -> None:
    before = {path: path.read_bytes() for path in sorted((models / name).rglob("*.safetensors"))}
    _train(models / name, tmp_path / "trained", adapter=adapter, adapter_rank=2)
    both = f"{models / name}+{tmp_path / 'trained'}"
    asked = {"prompt": "a road", "model": both, "number": 1, "steps": 2, "device": "cpu"}
    for out in ("one", "two"):
        generate(configure(GenerateSettings, {**asked, "out": tmp_path / out}), silent)
    one, two = ((tmp_path / out / "0000.png").read_bytes() for out in ("one", "two"))
    assert one == two
    with Image.open(tmp_path / "one" / "0000.png") as image:
        assert image.size == (16, 16)
        assert json.loads(image.info["chorograph"])["synthetic"]
    plain, trained = load_diffusion(str(models / name)), load_diffusion(both)
    assert plain.large == LAYOUTS[name][0]
    changed = {
        key
        for key, tensor in trained.unet.state_dict().items()
        if not torch.equal(tensor, plain.unet.state_dict().get(key, torch.zeros(0)))
    }
    assert any("lora_" in key for key in changed) == (adapter == "lora")
    assert all(path.read_bytes() == data for path, data in before.items())  # the base is left as it was


def test_the_average_is_what_is_written(models: Path, tmp_path: Path) -> None:
    for name, ema in (("plain", 0.0), ("average", 0.99)):
        _train(models / "1.5", tmp_path / name, ema=ema)
    plain, average = (
        load_file(tmp_path / name / "unet" / "diffusion_pytorch_model.safetensors") for name in ("plain", "average")
    )
    first = load_file(models / "1.5" / "unet" / "diffusion_pytorch_model.safetensors")
    moved, kept = (sum(float((end[key] - first[key]).norm()) for key in first) for end in (plain, average))
    assert 0 < kept < moved
    losses = [(tmp_path / name / "history.jsonl").read_text().splitlines()[0] for name in ("plain", "average")]
    one, other = (json.loads(line)["train_loss"] for line in losses)
    assert one == other  # what is learnt from is the same


def _objective(folder: Path, **settings: Any) -> DiffusionObjective:
    asked = DiffusionConfig(area=Path("x"), out=Path("x"), device="cpu", **settings)
    return DiffusionObjective(load_diffusion(str(folder)), asked)


@pytest.mark.parametrize("name", ["1.5", "2.1"])
def test_steps_count_by_min_snr(models: Path, name: str) -> None:
    """As diffusers' training script has it."""
    objective = _objective(models / name, min_snr=5.0)
    times = torch.arange(0, 1000, 37)
    ratio = compute_snr(load_diffusion(str(models / name)).pipeline.scheduler, times)
    below = ratio if name == "1.5" else ratio + 1
    expected = torch.stack([ratio, 5.0 * torch.ones_like(times)], 1).min(1)[0] / below
    torch.testing.assert_close(objective._weight(times), expected, rtol=1e-4, atol=1e-7)
    assert _objective(models / name, min_snr=None)._weight(times).eq(1).all()


def test_a_share_of_the_prompts_is_left_out(models: Path) -> None:
    rows = np.arange(400)
    pixels = torch.zeros(400, 3, 16, 16, dtype=torch.uint8)
    texts = ["a road"] * 400

    def said(place: tuple[int, int] | None, **settings: Any) -> list[bool]:
        batch = Batch(place, rows, rows, 400, pixels, texts, [])
        return _objective(models / "1.5", **settings)._draws(batch).prompted

    share = np.mean(said((0, 0), prompt_dropout=0.1))
    assert 0.85 < share < 0.95
    assert all(said((0, 0), prompt_dropout=0.0))
    assert all(said(None, prompt_dropout=0.9))  # validation hears every word
    assert said((0, 0), prompt_dropout=0.1) == said((0, 0), prompt_dropout=0.1) != said((0, 1), prompt_dropout=0.1)
