"""What an encoder can do: the few abilities that the rest of the library asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Pixels, Vectors

#: In a checkpoint folder, SHA-256 of each image trained on, a line each.
SEEN = "seen.txt"


class ImageEncoder(Protocol):
    """Turns images into vectors."""

    @property
    def name(self) -> str:
        """The full name that loads it again."""

    @property
    def dim(self) -> int:
        """The width of its vectors."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vector of any image would (weights, filters, preprocessing): the key of the cache."""

    def encode(self, images: Sequence[Pixels]) -> Vectors:
        """Return (n, dim) finite float32 for n uint8 (height, width, 3) images of any size."""


class TextEncoder(Protocol):
    """Turns texts into vectors."""

    @property
    def name(self) -> str:
        """The full name that loads it again."""

    @property
    def fingerprint(self) -> str:
        """Changes whenever the vector of any text would."""

    def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> Vectors:
        """Return (n, dim) finite float32 for n texts; without `unit`, at the length that the tower gives them."""


class ImageTextEncoder(ImageEncoder, Protocol):
    """Turns images and texts into vectors of one space, of unit length: their dot product is a similarity."""

    def encode_texts(self, texts: Sequence[str], *, unit: bool = True) -> Vectors:
        """Return (n, dim) finite float32 for n texts; without `unit`, at the length that the tower gives them."""


@runtime_checkable
class FittedEncoder(Protocol):
    """An encoder that must see some of an area's images first, and can be kept as arrays."""

    @property
    def name(self) -> str:
        """The full name that loads it again."""

    def fit(self, images: Sequence[Pixels], seed: int = 0) -> Self:
        """Learn from a sample of images; returns itself."""

    def state(self) -> Mapping[str, NDArray[np.float32]]:
        """Return what `fit` learnt."""

    def restore(self, state: Mapping[str, NDArray[np.float32]]) -> Self:
        """Take up what another `fit` learnt; returns itself."""
