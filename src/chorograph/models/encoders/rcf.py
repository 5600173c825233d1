"""Random convolutional features: filters cut from the area's own images, nothing trained."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from chorograph.ground.arrays import Pixels, Vectors
from chorograph.ground.errors import InputError
from chorograph.models.encoders.colour import SIDE, downsize

_VERSION = "rcf-1"
_PATCH = 6
_STRIDE = 2
#: Patches looked at in each image while fitting.
_PATCHES_AN_IMAGE = 64
#: Added to variances before dividing, in squared grey levels: flat patches are not blown up to noise.
_FLAT = 10.0
#: Added to eigenvalues before whitening (Coates and Ng 2012, section 4.2).
_WHITEN = 0.1
_THRESHOLD = 1.0


class RandomConvolutions:
    """K features from K / 2 whitened patches of the area's images (Rolf et al. 2021, MOSAIKS; Coates and Ng 2012).

    An image is averaged to 128 x 128 px; every second 6 x 6 patch is contrast-normalised, ZCA-whitened and compared
    with each filter by dot product w; the features are the image's means of max(w - 1, 0) and max(-w - 1, 0).

    Fitted: `weights_` (108, K / 2) and `offset_` (K / 2,), whitening included.
    """

    def __init__(self, features: int) -> None:
        if features < 2 or features % 2:
            raise InputError(f"rcf needs an even number of features from 2, for example rcf:256, not {features}")
        self.features = features
        self.weights_: Vectors | None = None
        self.offset_: Vectors | None = None

    @property
    def name(self) -> str:
        """The name that makes another one like it."""
        return f"rcf:{self.features}"

    @property
    def dim(self) -> int:
        """The number of features."""
        return self.features

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the filters and of what is done with them."""
        weights, offset = self._fitted()
        return hashlib.sha256(_VERSION.encode() + weights.tobytes() + offset.tobytes()).hexdigest()

    def fit(self, images: Sequence[Pixels], seed: int = 0) -> Self:
        """Cut the filters from a sample of uint8 (height, width, 3) images; no labels are involved."""
        rng = np.random.default_rng(seed)
        drawn = []
        for image in images:
            patches = _patches(image, stride=1)
            drawn.append(patches[rng.choice(len(patches), _PATCHES_AN_IMAGE, replace=False)])
        sample = _normalise(np.concatenate(drawn)).astype(np.float64)
        filters = self.features // 2
        if len(sample) < filters:
            raise InputError(f"{self.name} needs {filters} patches, {len(images)} images gave {len(sample)}")
        mean = sample.mean(0)
        eigenvalues, vectors = np.linalg.eigh(np.cov((sample - mean).T))
        whiten = (vectors / np.sqrt(np.maximum(eigenvalues, 0) + _WHITEN)) @ vectors.T
        chosen = (sample[rng.choice(len(sample), filters, replace=False)] - mean) @ whiten
        chosen /= np.maximum(np.linalg.norm(chosen, axis=1, keepdims=True), 1e-9)
        # Whitening a patch and taking the dot product is one product with the whitened filter.
        self.weights_ = np.ascontiguousarray(whiten @ chosen.T, dtype=np.float32)
        self.offset_ = np.asarray(mean @ self.weights_, dtype=np.float32)
        return self

    def state(self) -> Mapping[str, Vectors]:
        """Return what `fit` learnt."""
        weights, offset = self._fitted()
        return {"weights": weights, "offset": offset}

    def restore(self, state: Mapping[str, Vectors]) -> Self:
        """Take up the filters of another fit; `InputError` where they are of another size."""
        expected = (_PATCH * _PATCH * 3, self.features // 2)
        if set(state) != {"weights", "offset"} or state["weights"].shape != expected:
            raise InputError(f"the stored filters do not fit {self.name}; remove them to fit anew")
        self.weights_, self.offset_ = state["weights"], state["offset"]
        return self

    def encode(self, images: Sequence[Pixels]) -> Vectors:
        """Return (n, K) float32 for n uint8 (height, width, 3) images of any size."""
        weights, offset = self._fitted()
        vectors = np.empty((len(images), self.features), dtype=np.float32)
        half = self.features // 2
        for row, image in enumerate(images):
            answer = _normalise(_patches(image, _STRIDE)) @ weights - offset
            vectors[row, :half] = np.maximum(answer - _THRESHOLD, 0).mean(0)
            vectors[row, half:] = np.maximum(-answer - _THRESHOLD, 0).mean(0)
        return vectors

    def _fitted(self) -> tuple[Vectors, Vectors]:
        if self.weights_ is None or self.offset_ is None:
            raise InputError(f"{self.name} must be fitted on images first")
        return self.weights_, self.offset_


def _patches(image: Pixels, stride: int) -> Vectors:
    """Return (number, 108) float32 patches of the downsized image."""
    pixels = np.asarray(downsize(image, SIDE), dtype=np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (_PATCH, _PATCH), axis=(0, 1))[::stride, ::stride]
    return windows.reshape(-1, 3 * _PATCH * _PATCH)


def _normalise(patches: Vectors) -> Vectors:
    """Bring each patch to mean 0 and about unit variance."""
    centred = patches - patches.mean(1, keepdims=True)
    spread = np.sqrt(np.einsum("ij,ij->i", centred, centred) / centred.shape[1] + _FLAT)
    return np.asarray(centred / spread[:, None])
