from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
import tiny
from numpy.typing import NDArray

from chorograph.evaluation.examples.checks import check_encoder, check_pixels
from chorograph.ground.errors import InputError
from chorograph.models.encoders.colour import Colour
from chorograph.models.encoders.open_clip import OpenClipEncoder, new_model
from chorograph.models.preprocessing import Preprocessing

_IMAGES = [tiny.picture(seed) for seed in range(6)]


@dataclass(frozen=True)
class Strange:
    """An encoder that does what `how` does, given a matrix of pixel means in 0..1."""

    how: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    name: str = "strange"
    dim: int = 3
    fingerprint: str = ""

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self.how(np.stack([image.mean((0, 1)) for image in images]).astype(np.float32) / 255)


def _clip(mean: tuple[float, ...], std: tuple[float, ...]) -> OpenClipEncoder:
    loaded = new_model("clip-small", seed=0, captions=["a road"])
    settings = {**loaded.preprocessing.settings(), "mean": mean, "std": std}
    return OpenClipEncoder("clip", type(loaded)(loaded.architecture, loaded.config, loaded.model,
                                                Preprocessing.of(settings), loaded.tokenizer))  # fmt: skip


def test_sound_encoders_pass_and_say_their_preprocessing() -> None:
    sound = _clip((0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    found = check_encoder(sound, _IMAGES)
    assert found["preprocessing"][0]["mean"] == [0.48, 0.46, 0.41]
    assert found["distance from black"] > 0.01
    assert check_encoder(Colour(), _IMAGES)["preprocessing"] is None
    assert check_encoder(Strange(lambda means: means), _IMAGES[:1])


def test_constants_of_images_in_0_to_255_are_refused() -> None:
    with pytest.raises(InputError, match="divide them by 255"):
        check_encoder(_clip((123.7, 116.3, 103.5), (58.4, 57.1, 57.4)), _IMAGES)


def test_an_input_divided_twice_is_refused() -> None:
    with pytest.raises(InputError, match="divided by 255 twice"):
        check_encoder(Strange(lambda means: means / 255 / 255 + 1), _IMAGES)
    # As a model sees it: pixels of 0 and 1 of 255, normalised as if they were of the whole range.
    sound = _clip((0.48, 0.46, 0.41), (0.27, 0.26, 0.28))
    dark = [image // 255 for image in _IMAGES]
    with pytest.raises(InputError, match="divided by 255 twice"):
        check_encoder(sound, dark)


def test_vectors_that_change_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="a second time"):
        check_encoder(Strange(lambda means: means + rng.standard_normal(means.shape).astype(np.float32)), _IMAGES)
    with pytest.raises(InputError, match="alone"):
        check_encoder(Strange(lambda means: means - 0.5 * means.mean(0)), _IMAGES)


def test_vectors_that_are_none_are_refused() -> None:
    with pytest.raises(InputError, match="not finite"):
        check_encoder(Strange(lambda means: means * np.nan), _IMAGES)
    with pytest.raises(InputError, match=r"\(6, 2\)"):
        check_encoder(Strange(lambda means: means[:, :2]), _IMAGES)

    class Long(Strange):
        def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> NDArray[np.float32]:
            return np.ones((len(texts), 3), dtype=np.float32)

    with pytest.raises(InputError, match="length"):
        check_encoder(Long(lambda means: means + 1), _IMAGES)


def test_images_that_are_nearly_black_are_refused() -> None:
    assert check_pixels(np.array([2, 200]), "here") == {"brightest values, median": 101}
    with pytest.raises(InputError, match=r"at most 12 of 255 \(for example a\.tif\)"):
        check_pixels(np.array([1, 12]), "a.tif")
