"""Small models and images for the tests of the evaluations: written in the formats that real ones are published in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from chorograph.models.encoders.open_clip import load_open_clip

_VISION = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}
_TEXT = {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}
CONFIGS = {
    "tiny-clip": {"embed_dim": 16, "vision_cfg": _VISION, "text_cfg": _TEXT},
    "tiny-coca": {
        "embed_dim": 32,
        "vision_cfg": {**_VISION, "attentional_pool": True, "attn_pooler_queries": 4, "attn_pooler_heads": 2,
                       "output_tokens": True},
        "text_cfg": {**_TEXT, "context_length": 76, "embed_cls": True, "output_tokens": True},
        "multimodal_cfg": {"context_length": 76, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
        "custom_text": True,
    },
}  # fmt: skip


def register(folder: Path) -> None:
    """Let open_clip know the tiny architectures, as it knows ViT-B-32."""
    for name, config in CONFIGS.items():
        path = folder / f"{name}.json"
        path.write_text(json.dumps(config))
        open_clip.add_model_config(path)


def state(name: str, seed: int = 3) -> dict[str, Tensor]:
    return load_open_clip(name, seed=seed).model.state_dict()


def write_published(folder: Path) -> dict[str, str]:
    """Write a model in each published format; returns the encoder names that load them."""
    plain, coca = state("tiny-clip"), state("tiny-coca")
    files = {
        "georsclip": ("tiny-clip", "RS5M_tiny.pt", plain),
        "remoteclip": ("tiny-clip", "RemoteCLIP-tiny.pt", {k: v.clone() for k, v in plain.items()}),
        "skyclip": (
            "tiny-clip",
            "epoch_20.pt",
            {
                "epoch": 20,
                "name": "SkyCLIP",
                "state_dict": {f"module.{k}": v for k, v in plain.items()},
                "optimizer": {"state": {}, "param_groups": [{"lr": 1e-9}]},
                "scaler": {"scale": 65536.0},
            },
        ),
        "urbanclip": ("tiny-coca", "best_model.bin", coca),
        "lightning": ("tiny-clip", "last.pt", {"state_dict": {f"model.{k}": v for k, v in plain.items()}}),
        "nested": ("tiny-clip", "nested.pt", {"model": {f"module.model.{k}": v for k, v in plain.items()}}),
        "openai": ("tiny-clip", "openai.pt", {**plain, "input_resolution": torch.tensor(32),
                                              "context_length": torch.tensor(77), "vocab_size": torch.tensor(49408)}),
    }  # fmt: skip
    names = {}
    for kind, (architecture, file, content) in files.items():
        torch.save(content, folder / file)
        names[kind] = f"open_clip:{architecture}/{folder / file}"
    return names


def picture(seed: int, size: int = 40, hue: int = 0) -> NDArray[np.uint8]:
    """Draw a smooth coloured image from a seed."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(20, 235, (6, 6, 3), dtype=np.uint8)
    coarse[..., hue % 3] = np.clip(coarse[..., hue % 3].astype(int) + 90, 0, 255)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def write_picture(path: Path, seed: int, size: int = 40, hue: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed, size, hue)).save(path)
    return path


def write_classes(folder: Path, classes: list[str], each: int, suffix: str = ".jpg") -> Path:
    for number, name in enumerate(classes):
        for image in range(each):
            write_picture(folder / name / f"{name.lower()}_{image}{suffix}", 100 * number + image, hue=number)
    return folder


def write_captions_csv(path: Path, images: int, folder: str, encoding: str, word: str = "river") -> Path:
    """Write five captions an image, some of them shared by images, and the images."""
    lines = ["filename,title"]
    for image in range(images):
        write_picture(path.parent / folder / f"{image}.tif", 1000 + image)
        lines += [f'{image}.tif,"a {word}, number {image // 2} and {caption}"' for caption in range(5)]
    path.write_bytes("\n".join(lines).encode(encoding))
    return path
