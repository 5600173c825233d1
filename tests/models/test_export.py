"""Checkpoints as open_clip and transformers load them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from torch.nn.functional import normalize

from chorograph.ground.errors import InputError
from chorograph.models.checkpoint import save_checkpoint
from chorograph.models.coca import towers
from chorograph.models.coca.towers import build
from chorograph.models.encoders.open_clip import ImageTextModel, new_model
from chorograph.models.preprocessing import Preprocessing
from chorograph.verbs.export import Settings, run


def _loaded(name: str, **changes: Any) -> ImageTextModel:
    """An architecture of open_clip with few and narrow layers, and open_clip's tokenizer."""
    config = towers.architecture(name)
    config["embed_dim"] = 32
    config["vision_cfg"] |= {"image_size": 32, "patch_size": 16, "width": 64, "layers": 2, "head_width": 32}
    config["text_cfg"] |= {"width": 32, "heads": 2, "layers": 2}
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= {"width": 32, "heads": 2, "layers": 1}
        config["vision_cfg"] |= {"attn_pooler_queries": 4, "attn_pooler_heads": 2}
    settings = {"size": 32, "mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    config |= changes
    return ImageTextModel(name, config, build(config, 0), Preprocessing.of(settings), open_clip.get_tokenizer(name))


def _saved(loaded: ImageTextModel, folder: Path) -> Path:
    save_checkpoint(folder, loaded, facts={}, card="# A card\n", history=[])
    return folder


@pytest.mark.parametrize("name", ["ViT-B-32", "coca_ViT-B-32"])
def test_open_clip_loads_it(tmp_path: Path, name: str) -> None:
    loaded = _loaded(name)
    checkpoint = _saved(loaded, tmp_path / "checkpoint")
    assert (checkpoint / "model.safetensors").stat().st_mode & 0o044 == 0o044  # others may read it
    outcome = run(Settings(checkpoint=checkpoint, to="open_clip", out=tmp_path / "there"), lambda *told: None)
    assert outcome.manifest["facts"]["largest difference of features"] < 1e-5
    model, _, transform = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'there'}")
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    from PIL import Image

    with torch.no_grad():
        theirs = normalize(model.eval().encode_image(transform(Image.fromarray(image))[None]), dim=-1)
        ours = loaded.encode_pixels(loaded.preprocessing.batch([image]))
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)
    assert "# A card" in (tmp_path / "there" / "README.md").read_text()
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "there").iterdir())


@pytest.mark.parametrize("quick", [True, False])
def test_transformers_loads_it(tmp_path: Path, quick: bool) -> None:
    pytest.importorskip("transformers")
    from transformers import CLIPModel

    checkpoint = _saved(_loaded("ViT-B-32", quick_gelu=quick), tmp_path / "checkpoint")
    outcome = run(Settings(checkpoint=checkpoint, to="huggingface", out=tmp_path / "there"), lambda *told: None)
    assert outcome.manifest["facts"]["largest difference of features"] < 1e-5
    assert CLIPModel.from_pretrained(tmp_path / "there").config.projection_dim == 32


def test_what_others_have_no_class_for(tmp_path: Path) -> None:
    small = new_model("clip-small", seed=0, captions=["a red place", "a red place"])
    plain = replace(small, config={**small.config, "conv_stem": False})
    coca = _loaded("coca_ViT-B-32")
    for loaded, to, why in (
        (small, "open_clip", "convolutional stem"),
        (plain, "open_clip", "--tokenizer open_clip"),
        (coca, "huggingface", "no CoCa"),
    ):
        from chorograph.models.export import EXPORTS

        with pytest.raises(InputError, match=why):
            EXPORTS[to](loaded, tmp_path, "")
    assert not list(tmp_path.iterdir())
