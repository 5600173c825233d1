from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import numpy as np
import open_clip
import pytest
import simplejpeg
import torch
from PIL import Image

from chorograph.area.images import read_rgb
from chorograph.ground.errors import ImageError, InputError, UnknownNameError
from chorograph.models.checkpoint import save_checkpoint
from chorograph.models.encoders.open_clip import OpenClipEncoder, load_open_clip, load_open_clip_encoder, new_model
from chorograph.models.encoders.registry import load_encoder
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


@pytest.mark.parametrize("shape", [(256, 256), (300, 500), (777, 224), (100, 90), (224, 224), (1024, 1024)])
def test_scaled_decoding_is_near_to_open_clips_transform(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
    picture = np.asarray(coarse.resize(shape[::-1], Image.Resampling.BICUBIC))
    data = simplejpeg.encode_jpeg(picture, quality=92, colorspace="RGB")
    settings = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)}
    for size, mode in ((224, "shortest"), (224, "squash"), (96, "longest"), ((96, 128), "shortest")):
        preprocessing = Preprocessing.of({"size": size, "resize_mode": mode, **settings})
        found, expected = preprocessing.decode(data), preprocessing.pixels(read_rgb(data))
        assert found.shape == expected.shape
        difference = np.abs(found.astype(int) - expected)
        assert difference.mean() < 3
        assert np.percentile(difference, 99) <= 25


def test_scaled_decoding_takes_every_image_and_says_what_is_wrong() -> None:
    preprocessing = Preprocessing.of({"size": 32, "mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.4)})
    with io.BytesIO() as file:
        Image.new("RGBA", (90, 40), (255, 0, 0, 128)).save(file, "PNG")
        assert preprocessing.decode(file.getvalue()).tolist() == [[[255, 127, 127]] * 32] * 32
    jpeg = simplejpeg.encode_jpeg(np.zeros((64, 64, 3), np.uint8), colorspace="RGB")
    for data, reason in ((jpeg[:200], "truncated"), (b"no image", "not an image"), (b"", "empty")):
        with pytest.raises(ImageError) as caught:
            preprocessing.decode(data)
        assert caught.value.reason == reason
    with io.BytesIO() as file:
        Image.new("L", (9000, 9000)).save(file, "PNG")
        with pytest.raises(ImageError, match="too large"):
            preprocessing.decode(file.getvalue())


def test_bfloat16_is_near_and_says_so_in_name_and_fingerprint(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    save_checkpoint(folder, new_model("clip-small", seed=0, captions=_CAPTIONS), facts={}, card="", history=[])
    exact = cast(OpenClipEncoder, load_encoder(str(folder)))
    half = cast(OpenClipEncoder, load_encoder(f"{folder}@bf16"))
    assert half.name == f"{folder}@bf16"
    assert half.fingerprint != exact.fingerprint
    for found, expected in (
        (half.encode(_images()), exact.encode(_images())),
        (half.encode_texts(_CAPTIONS), exact.encode_texts(_CAPTIONS)),
    ):
        assert found.dtype == np.float32
        assert not np.array_equal(found, expected)
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
        assert (found * expected).sum(1).min() > 0.999
    with pytest.raises(InputError, match="bfloat16"):
        load_encoder("colour@bf16")


def test_prepared_images_give_the_same_vectors() -> None:
    encoder = OpenClipEncoder("small", new_model("clip-small", seed=0, captions=_CAPTIONS))
    images = _images()
    prepared = [encoder.prepare(image) for image in images]
    np.testing.assert_array_equal(encoder.encode(prepared), encoder.encode(images))
