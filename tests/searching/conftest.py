"""An encoder that needs no training: the mean colour of an image, and the names of colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image


class ColourWords:
    """Images are their mean colour, sentences the colours they name."""

    name, dim, fingerprint = "colour-words", 3, "colour-words-1"

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image in images)
        return self._unit(np.array([image.mean(axis=(0, 1)) + 1.0 for image in images]))

    def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> NDArray[np.float32]:
        return self._unit(np.array([[word in text for word in ("red", "green", "blue")] for text in texts], float))

    def _unit(self, vectors: NDArray[np.float64]) -> NDArray[np.float32]:
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def encoder() -> ColourWords:
    return ColourWords()


@pytest.fixture
def known_encoder(encoder: ColourWords, monkeypatch: pytest.MonkeyPatch) -> ColourWords:
    """Let every model's name stand for the encoder."""
    monkeypatch.setattr(
        "chorograph.models.encoders.registry.load_image_text_encoder", lambda name, device="cpu": encoder
    )
    return encoder


def green_with_red(height: int, width: int, row: int, column: int, side: int = 200) -> NDArray[np.uint8]:
    """Return a green picture with one red square from (row, column)."""
    pixels = np.full((height, width, 3), (30, 160, 40), np.uint8)
    pixels[row : row + side, column : column + side] = (220, 20, 20)
    return pixels


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    return green_with_red(900, 1300, 500, 800)


@pytest.fixture
def png(picture: NDArray[np.uint8], tmp_path: Path) -> Path:
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    return path
