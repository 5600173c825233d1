from __future__ import annotations

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from chorograph.area.errors import InputError, UnknownNameError
from chorograph.models.openclip import OpenClipEncoder, load_open_clip, load_open_clip_encoder, new_model
from chorograph.models.preprocessing import Preprocessing

_CAPTIONS = ["a road and a roof", "two roofs beside a road", "a lake"]


def _images(seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for height, width in ((64, 64), (40, 90), (7, 5))]


@pytest.mark.parametrize("resize_mode", ["shortest", "squash", "longest"])
def test_preprocessing_is_open_clips_transform(resize_mode: str) -> None:
    settings = {"size": 48, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4), "resize_mode": resize_mode}
    ours = Preprocessing.of(settings)
    theirs = open_clip.transform.image_transform(
        48, False, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), resize_mode=resize_mode
    )
    images = _images()
    expected = torch.stack([theirs(Image.fromarray(image)) for image in images])
    torch.testing.assert_close(ours.normalise(ours.batch(images)), expected, rtol=1e-6, atol=1e-6)
    assert Preprocessing.of(ours.settings()) == ours


def test_features_have_unit_length_and_do_not_depend_on_the_batch() -> None:
    encoder = OpenClipEncoder("small", new_model("coca-small", seed=0, captions=_CAPTIONS), batch_size=2)
    vectors = encoder.encode(_images())
    assert vectors.shape == (3, encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    one_by_one = np.concatenate([encoder.encode([image]) for image in _images()])
    np.testing.assert_allclose(vectors, one_by_one, atol=1e-5)
    texts = encoder.encode_texts(_CAPTIONS)
    assert texts.shape == (3, encoder.dim)
    np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, rtol=1e-5)
    assert encoder.encode([]).shape == (0, encoder.dim)


def test_fingerprints_follow_the_weights() -> None:
    first, same, other = (
        OpenClipEncoder("small", new_model("clip-small", seed=seed, captions=_CAPTIONS)).fingerprint
        for seed in (0, 0, 1)
    )
    assert first == same
    assert first != other


def test_image_features_are_open_clips() -> None:
    loaded = load_open_clip("RN50-quickgelu" if False else "ViT-B-32", seed=4)
    image = _images()[0]
    _, _, transform = open_clip.create_model_and_transforms("ViT-B-32", pretrained=None)
    with torch.inference_mode():
        expected = loaded.model.encode_image(transform(Image.fromarray(image))[None], normalize=True)
        found = loaded.encode_pixels(loaded.preprocessing.batch([image]))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert loaded.tokenizer("a road").shape == (1, 77)


def test_names_that_cannot_be_loaded() -> None:
    with pytest.raises(UnknownNameError, match="ViT-B-32"):
        load_open_clip("ViT-B-3")
    with pytest.raises(UnknownNameError, match="openai"):
        load_open_clip("ViT-B-32/opena")
    with pytest.raises(InputError, match="pretrain"):
        load_open_clip_encoder("coca-small")
