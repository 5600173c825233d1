"""Tiny BLIP-2 and Stable Diffusion pipelines: trained on a few images, written, loaded, merged, drawn from."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")

from PIL import Image  # noqa: E402

import tiny_hf  # noqa: E402
from chorograph.acquisition.layouts.rsicd import import_rsicd  # noqa: E402
from chorograph.area.folder import Area  # noqa: E402
from chorograph.evaluation.examples.layouts import read_captioned  # noqa: E402
from chorograph.evaluation.suites.generated import clip_score, frechet_distance  # noqa: E402
from chorograph.generation.pictures import read_made  # noqa: E402
from chorograph.ground.errors import InputError  # noqa: E402
from chorograph.ground.recipe_file import find_recipe  # noqa: E402
from chorograph.ground.settings import configure  # noqa: E402
from chorograph.ground.stage import Ledger, silent  # noqa: E402
from chorograph.models.captioners.blip2 import load_adapted, load_blip2  # noqa: E402
from chorograph.models.diffusion.pipeline import load_diffusion  # noqa: E402
from chorograph.pretraining.config import PretrainConfig  # noqa: E402
from chorograph.recipe.run import read_recipe, run_recipe  # noqa: E402
from chorograph.verbs.caption import Settings as CaptionSettings  # noqa: E402
from chorograph.verbs.caption import run as caption  # noqa: E402
from chorograph.verbs.generate import Settings as GenerateSettings  # noqa: E402
from chorograph.verbs.generate import run as generate  # noqa: E402
from chorograph.verbs.pretrain import run as pretrain  # noqa: E402


@pytest.fixture(scope="module")
def toy(real_data: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of RSICD as an area, a BLIP-2 and a Stable Diffusion of their words."""
    folder = tmp_path_factory.mktemp("toy")
    source = real_data("rsicd")
    rows = json.loads((source / "captions.json").read_text())[::250]
    (folder / "rsicd" / "images").mkdir(parents=True)
    for row in rows:
        shutil.copy(source / "images" / row["image"], folder / "rsicd" / "images")
    (folder / "rsicd" / "captions.json").write_text(json.dumps(rows))
    import_rsicd(folder / "rsicd", folder / "area", Ledger())
    words = [text for row in rows for text in row["captions"]]
    tiny_hf.blip2(folder / "blip2", words)
    tiny_hf.diffusion(folder / "sd", words)
    return folder


def _train(toy: Path, name: str, **settings: Any) -> list[dict[str, float]]:
    asked = {"area": toy / "area", "out": toy / name, "device": "cpu", "holdout": "0", "batch_size": 12, **settings}
    pretrain(configure(PretrainConfig, {"schedule": "constant", **asked}), silent)
    return [json.loads(line) for line in (toy / name / "history.jsonl").read_text().splitlines()]


@pytest.mark.real
def test_blip2_by_lora(toy: Path) -> None:
    """The loss falls by a fiftieth; only the named layers change; the adapter is small, comes back, and merges.

    The language model is random and frozen: little can be learnt.
    """
    losses = _train(
        toy, "lora", objective="blip2", init=toy / "blip2", adapter="lora", adapter_rank=16, lr=0.01, epochs=60,
        augment="none",
    )  # fmt: skip
    told = [row["train_loss"] for row in losses]
    # Every caption of an image is shown in five epochs.
    assert np.mean(told[-5:]) < 0.98 * np.mean(told[:5]), told
    weights = toy / "lora" / "adapter_model.safetensors"
    assert weights.stat().st_size < 2**20
    plain, adapted = load_blip2(toy / "blip2"), load_adapted(f"{toy / 'blip2'}+{toy / 'lora'}")
    before, after = plain.model.state_dict(), adapted.plain.state_dict()
    trained = {name for name in after if "lora_" in name}
    assert trained
    assert all("self_attn.qkv" in name or "self_attn.projection" in name for name in trained)
    kept = {name.replace(".base_layer", ""): tensor for name, tensor in after.items() if name not in trained}
    assert kept.keys() == before.keys()
    assert all(torch.equal(kept[name], before[name]) for name in before)
    again = load_adapted(f"{toy / 'blip2'}+{toy / 'lora'}").plain.state_dict()
    assert all(torch.equal(after[name], again[name]) for name in after)
    images = torch.rand(2, 3, 32, 32)
    ids, written = adapted.tokens(["many planes", "a road"])
    with torch.no_grad():
        told = adapted.caption_loss(images, ids, written)
        assert not torch.isclose(told, plain.caption_loss(images, ids, written))
        merged = load_adapted(f"{toy / 'blip2'}+{toy / 'lora'}")
        merged = dataclasses.replace(merged, model=merged.model.merge_and_unload())
        assert float(merged.caption_loss(images, ids, written)) == pytest.approx(float(told), rel=1e-6)
        given = {"pixel_values": images.double(), "input_ids": ids, "attention_mask": torch.ones_like(ids)}
        apart, together = (one.model.double()(**given).logits for one in (adapted, merged))
        torch.testing.assert_close(together, apart, rtol=0, atol=1e-6)
    settings = configure(CaptionSettings, {"area": toy / "area", "captioner": f"hf:{toy / 'blip2'}+{toy / 'lora'}"})
    caption(dataclasses.replace(settings, per_image=1), silent)
    captions = Area.open(toy / "area").captions
    own = captions[captions["origin"].str.startswith("model:hf:")]
    assert len(own) > 6
    assert (captions["origin"] == "human").sum() >= 60


@pytest.mark.real
def test_diffusion_by_lora(toy: Path) -> None:
    """The loss falls by a tenth, only the named layers change, the adapter comes back and merges, seeds decide."""
    losses = _train(
        toy, "rs-sd", objective="diffusion", init=toy / "sd", adapter="lora", adapter_rank=8, lr=0.02, epochs=60,
        set=["min_snr=5"],
    )  # fmt: skip
    first, last = (np.mean([row["train_loss"] for row in rows]) for rows in (losses[:5], losses[-5:]))
    assert last < 0.9 * first
    assert (toy / "rs-sd" / "pytorch_lora_weights.safetensors").stat().st_size < 2**20
    name = f"{toy / 'sd'}+{toy / 'rs-sd'}"
    plain, trained = load_diffusion(str(toy / "sd")), load_diffusion(name)
    before, after = plain.unet.state_dict(), trained.unet.state_dict()
    added = {key for key in after if "lora_" in key}
    assert added
    assert all(any(f".{target}." in key for target in ("to_q", "to_k", "to_v", "to_out.0")) for key in added)
    kept = {key.replace(".base_layer", ""): tensor for key, tensor in after.items() if key not in added}
    assert all(torch.equal(kept[key], before[key]) for key in before)
    again = load_diffusion(name).unet.state_dict()
    assert all(torch.equal(after[key], again[key]) for key in after)
    noisy, times, words = torch.randn(2, 4, 8, 8), torch.tensor([10, 500]), torch.randn(2, 24, 16)
    with torch.no_grad():
        told = trained.unet(noisy, times, words).sample
        assert not torch.allclose(told, plain.unet(noisy, times, words).sample, atol=1e-4)
        # In float64 the two ways differ by its rounding alone; in float32 by that of a 1000 times larger unit.
        given = noisy.double(), times, words.double()
        exact = trained.unet.double()(*given).sample
        trained.pipeline.fuse_lora()
        torch.testing.assert_close(trained.unet(*given).sample, exact, rtol=0, atol=1e-6)
        merged = load_diffusion(name)
        merged.pipeline.fuse_lora()
        found = merged.unet(noisy, times, words).sample
        assert float((found - told).norm() / told.norm()) < 1e-6
    asked = {"prompt": "a harbour", "model": name, "steps": 3, "number": 2, "device": "cpu", "area": toy / "drawn"}
    for out in ("one", "two"):
        generate(configure(GenerateSettings, {**asked, "out": toy / out}), silent)
        shutil.rmtree(toy / "drawn") if out == "one" else None
    files = sorted(path.name for path in (toy / "one").iterdir())
    assert files == ["0000.png", "0001.png", "contact-sheet.png", "manifest.json", "pictures.json"]
    assert all((toy / "one" / file).read_bytes() == (toy / "two" / file).read_bytes() for file in files[:2])
    made = read_made(toy / "one" / "0001.png")
    assert made is not None
    assert (made.model, made.prompt, made.seed) == (name, "a harbour", 1)
    with Image.open(toy / "one" / "0000.png") as image:
        assert "synthetic" in image.info["Source"]
        assert image.info["DigitalSourceType"].endswith("trainedAlgorithmicMedia")
    assert (Area.open(toy / "drawn").images["source"] == "generated").all()
    for place in (toy / "drawn", toy / "one"):
        with pytest.raises(InputError, match="generated"):
            read_captioned(place, Ledger())


def test_the_distance_is_the_formula_of_two_normals() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((500, 4)), 2 * rng.standard_normal((400, 4)) + 1
    means, spreads = [x.mean(0) for x in (one, other)], [np.cov(x.T) for x in (one, other)]
    from scipy.linalg import sqrtm

    expected = ((means[0] - means[1]) ** 2).sum() + np.trace(sum(spreads) - 2 * sqrtm(spreads[0] @ spreads[1]).real)
    assert frechet_distance(one.astype(np.float32), other.astype(np.float32)) == pytest.approx(expected, rel=1e-3)
    unit = np.eye(3, dtype=np.float32)
    assert clip_score(unit, unit[[0, 2, 1]]) == pytest.approx(100 / 3)


@pytest.mark.real
def test_the_recipe_of_blip2_runs(toy: Path, tmp_path: Path) -> None:
    """Whole, on a tiny BLIP-2 and the twelve images; the published base is another folder."""
    recipe = read_recipe(
        find_recipe("zhang2024_blip2"), {"data": str(toy / "rsicd"), "blip2": str(toy / "blip2")}, tmp_path
    )
    told: list[str] = []
    run_recipe(recipe, tmp_path, silent, lambda name, outcome: told.append(name))
    assert told == ["area import", "pretrain", "caption"]
    asked = json.loads((tmp_path / "blip2-lora" / "adapter_config.json").read_text())
    assert (asked["r"], asked["lora_alpha"], asked["lora_dropout"]) == (16, 16, 0.05)
    assert set(asked["target_modules"]) == {"self_attn.qkv", "self_attn.projection"}
    captions = Area.open(tmp_path / "rsicd").captions
    assert captions["origin"].str.startswith("model:hf:").any()


@pytest.mark.real
def test_the_recipe_of_rs_sd_runs(toy: Path, tmp_path: Path) -> None:
    """Whole, on a tiny Stable Diffusion; the published base is another folder."""
    recipe = read_recipe(find_recipe("zhang2024_rssd"), {"data": str(toy / "area"), "sd": str(toy / "sd")}, tmp_path)
    run_recipe(recipe, tmp_path, silent, lambda name, outcome: None)
    assert len(list((tmp_path / "pictures").glob("0*.png"))) == 8
    made = read_made(tmp_path / "pictures" / "0007.png")
    assert made is not None
    assert (made.prompt, made.seed) == ("a harbour with docks", 7)
