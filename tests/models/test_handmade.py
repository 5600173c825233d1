from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from chorograph.ground.errors import InputError, MissingExtraError, UnknownNameError
from chorograph.models.encoders.colour import Colour, downsize
from chorograph.models.encoders.rcf import RandomConvolutions
from chorograph.models.encoders.registry import JoinedEncoder, load_encoder, parts_of, resolve


def _images(number: int, seed: int = 0, size: tuple[int, int] = (256, 256)) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (number, 16, 16, 3), dtype=np.uint8)
    return [np.asarray(Image.fromarray(tile).resize(size[::-1], Image.Resampling.BICUBIC)) for tile in coarse]


def test_colour_is_finite_on_any_size_and_flat_images() -> None:
    images = [
        *_images(2),
        *_images(1, size=(300, 200)),
        np.zeros((64, 64, 3), np.uint8),
        np.full((1, 1, 3), 255, np.uint8),
    ]
    vectors = Colour().encode(images)
    assert vectors.shape == (5, Colour().dim)
    assert vectors.dtype == np.float32
    assert np.isfinite(vectors).all()
    assert Colour().encode([]).shape == (0, Colour().dim)


def test_colour_histograms_equal_numpys() -> None:
    (image,) = _images(1)
    pixels = np.asarray(downsize(image))
    expected = np.concatenate([np.histogram(pixels[..., c], 16, (0, 256))[0] for c in range(3)]) / 128**2
    assert np.allclose(Colour().encode([image])[0, :48], expected)


def test_a_quarter_turn_changes_little() -> None:
    (image,) = _images(1)
    here, turned = Colour().encode([image, np.rot90(image).copy()])
    assert np.allclose(here[:96], turned[:96], atol=0.01)
    assert np.abs(here - turned).mean() < 0.05 * np.abs(here).mean()


def test_rcf_equals_torch_convolution() -> None:
    images = _images(20)
    encoder = RandomConvolutions(16).fit(images, seed=1)
    pixels = np.asarray(downsize(images[0]), dtype=np.float32)
    patches = torch.nn.functional.unfold(torch.tensor(pixels).permute(2, 0, 1)[None], 6, stride=2)[0].T.numpy()
    centred = patches - patches.mean(1, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(1, keepdims=True) + 10)
    answer = normal @ encoder.weights_ - encoder.offset_
    expected = np.r_[np.maximum(answer - 1, 0).mean(0), np.maximum(-answer - 1, 0).mean(0)]
    assert np.allclose(encoder.encode(images[:1])[0], expected, atol=1e-4)


def test_whitened_patches_are_white() -> None:
    images = _images(60)
    encoder = RandomConvolutions(64).fit(images)
    vectors = encoder.encode(images)
    assert vectors.shape == (60, 64)
    assert np.isfinite(vectors).all()
    assert (vectors.std(0) > 0).all()


def test_rcf_state_round_trip_and_fingerprints() -> None:
    images = _images(20)
    fitted = RandomConvolutions(16).fit(images, seed=1)
    restored = RandomConvolutions(16).restore(dict(fitted.state()))
    assert restored.fingerprint == fitted.fingerprint
    assert np.array_equal(restored.encode(images[:3]), fitted.encode(images[:3]))
    assert RandomConvolutions(16).fit(images, seed=1).fingerprint == fitted.fingerprint
    assert RandomConvolutions(16).fit(images, seed=2).fingerprint != fitted.fingerprint
    with pytest.raises(InputError, match="do not fit rcf:32"):
        RandomConvolutions(32).restore(dict(fitted.state()))


def test_rcf_needs_fitting_and_enough_patches() -> None:
    with pytest.raises(InputError, match="must be fitted"):
        RandomConvolutions(16).encode(_images(1))
    with pytest.raises(InputError, match="even number"):
        RandomConvolutions(15)
    with pytest.raises(InputError, match="needs 512 patches"):
        RandomConvolutions(1024).fit(_images(1))


def test_names() -> None:
    assert resolve("default+colour").endswith("+colour")
    joined = load_encoder("colour+rcf:32")
    assert isinstance(joined, JoinedEncoder)
    assert joined.name == "colour+rcf:32"
    assert joined.dim == Colour().dim + 32
    assert [part.name for part in parts_of(joined)] == ["colour", "rcf:32"]
    with pytest.raises(UnknownNameError, match="did you mean 'colour'"):
        load_encoder("color")
    with pytest.raises(InputError, match="for example rcf:256"):
        load_encoder("rcf:many")
    with pytest.raises(InputError, match="neither an encoder's name nor a checkpoint"):
        load_encoder("some/folder")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "open_clip", None)
    for name in [name for name in sys.modules if name.startswith("chorograph.models.")]:
        if name.rsplit(".", 1)[1] in ("open_clip", "towers", "checkpoint", "weights", "tokenizer", "decoding"):
            monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"chorograph\[models\]"):
        load_encoder("open_clip:ViT-B-32")
