"""Models in every published format load by path, and are the models that they are."""

from __future__ import annotations

import numpy as np
import open_clip
import pytest
import tiny
import torch
from PIL import Image

from chorograph.models.encoders.registry import load_image_text_encoder

_FORMATS = ("georsclip", "remoteclip", "skyclip", "lightning", "nested", "openai")
_TEXTS = ["a road beside a river", "a roof"]


def test_one_model_in_many_formats_is_one_model(models: dict[str, str]) -> None:
    encoders = [load_image_text_encoder(models[name]) for name in _FORMATS]
    assert len({encoder.fingerprint for encoder in encoders}) == 1
    assert len({encoder.name for encoder in encoders}) == len(_FORMATS)


@pytest.mark.parametrize("name", ["georsclip", "urbanclip"])
def test_features_are_open_clips(models: dict[str, str], name: str) -> None:
    """What open_clip itself computes with the same file, as RS5M's and UrbanCLIP's scripts load it."""
    encoder = load_image_text_encoder(models[name])
    architecture, _, file = models[name].removeprefix("open_clip:").partition("/")
    theirs, _, transform = open_clip.create_model_and_transforms(architecture)
    theirs.load_state_dict(torch.load(file, weights_only=True))
    theirs.eval()
    image = tiny.picture(0, size=50)
    with torch.inference_mode():
        expected = theirs.encode_image(transform(Image.fromarray(image))[None], normalize=True).numpy()
        texts = theirs.encode_text(open_clip.get_tokenizer(architecture)(_TEXTS)).numpy()
    np.testing.assert_allclose(encoder.encode([image]), expected, atol=1e-5)
    if name == "georsclip":
        # The published arithmetic takes means of prompts at their own length.
        np.testing.assert_allclose(encoder.encode_texts(_TEXTS, unit=False), texts, atol=1e-5)
    unit = texts / np.linalg.norm(texts, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode_texts(_TEXTS), unit, atol=1e-5)


def test_a_tag_decides_the_activation(models: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's weights were trained with QuickGELU, whatever the architecture's name says."""
    file = models["georsclip"].partition("/")[2]
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda name, tag: {"url": "", "quick_gelu": tag == "openai"})
    monkeypatch.setattr(open_clip, "download_pretrained", lambda config: file)
    image = tiny.picture(0)
    quick, plain = (load_image_text_encoder(f"open_clip:tiny-clip/{tag}") for tag in ("openai", "laion"))
    theirs, _, transform = open_clip.create_model_and_transforms("tiny-clip", force_quick_gelu=True)
    theirs.load_state_dict(torch.load(file, weights_only=True))
    with torch.inference_mode():
        expected = theirs.eval().encode_image(transform(Image.fromarray(image))[None], normalize=True).numpy()
    np.testing.assert_allclose(quick.encode([image]), expected, atol=1e-6)
    assert np.abs(plain.encode([image]) - expected).max() > 1e-4
    assert quick.fingerprint != plain.fingerprint
