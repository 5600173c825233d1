"""Image towers aligned with a knowledge graph: the modules, and the encoder `knowcl:FOLDER` that loads one again."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import atomic_path, naming_damage, read_json, write_json, write_json_lines
from chorograph.models.described import read_described
from chorograph.models.weights import read_weights, weights_digest

if TYPE_CHECKING:
    from chorograph.models.encoders.protocols import ImageEncoder

ALIGNED_FORMAT = "chorograph-aligned-1"
_SHAPE = {"tower": str, "size": int, "width": int}
_WIDEST = 65_536
_BATCH = 64


class VectorTower(nn.Module):
    """An image tower on vectors that an encoder gave: standardised, one hidden layer of `width` features."""

    def __init__(self, given: int, width: int = 512, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(given))
        self.register_buffer("scale", torch.ones(given))
        self.hidden = nn.Linear(given, width)
        self.dropout = nn.Dropout(dropout)
        self.width = width

    def standardise_by(self, vectors: Tensor) -> None:
        """Take mean and spread of each column from training vectors (n, given)."""
        self.mean.copy_(vectors.mean(0))  # type: ignore[operator]
        self.scale.copy_(vectors.std(0).clamp(min=1e-6))  # type: ignore[operator]

    def forward(self, vectors: Tensor) -> Tensor:
        """Return features (n, width) of vectors (n, given)."""
        mean: Tensor = self.mean  # type: ignore[assignment]
        scale: Tensor = self.scale  # type: ignore[assignment]
        features: Tensor = nn.functional.gelu(self.hidden(self.dropout((vectors - mean) / scale)))
        return features


class PixelTower(nn.Module):
    """A network of timm on uint8 pixels (n, 3, height, width), scaled to 0..1 as KnowCL does; no classifier."""

    def __init__(self, name: str) -> None:
        super().__init__()
        import timm

        if not timm.is_model(name):
            raise UnknownNameError.of("network of timm", name, timm.list_models())
        self.name = name
        self.network = timm.create_model(name, pretrained=False, num_classes=0)
        self.width = int(self.network.num_features)  # type: ignore[arg-type]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (n, width)."""
        features: Tensor = self.network(pixels.float() / 255)
        return features

    def start_from_simclr(self, path: Path) -> None:
        """Take up the `encoder.` weights of a SimCLR checkpoint; `InputError` where they do not fit."""
        weights = read_weights(path)
        encoder = {
            name.removeprefix("encoder."): value for name, value in weights.items() if name.startswith("encoder.")
        }
        own = self.network.state_dict()
        missing = [name for name in own if name not in encoder and not name.endswith("num_batches_tracked")]
        if missing or any(encoder[name].shape != own[name].shape for name in own if name in encoder):
            raise InputError(
                f"{path} does not hold the weights of a {self.name} under `encoder.`; missing {missing[:3]}"
            )
        self.network.load_state_dict({name: encoder.get(name, value) for name, value in own.items()})


def to_pixels(image: NDArray[np.uint8], size: int) -> Tensor:
    """Return uint8 (3, size, size) of an image (height, width, 3)."""
    picture = Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(picture).transpose(2, 0, 1).copy())


@dataclass(frozen=True)
class AlignedEncoder:
    """The features of an aligned tower, before its projector; on vectors of `base` where the tower stands on those."""

    name: str
    tower: nn.Module
    dim: int
    size: int
    base: ImageEncoder | None = None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the weights, and of what they stand on."""
        under = self.base.fingerprint if self.base else str(self.size)
        return hashlib.sha256(f"{weights_digest(self.tower)}{under}".encode()).hexdigest()

    def encode(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Return (n, dim) float32 for n uint8 (height, width, 3) images of any size."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(images), _BATCH):
                some = images[start : start + _BATCH]
                given = torch.stack([to_pixels(image, self.size) for image in some]) if self.base is None else None
                if self.base is not None:
                    given = torch.from_numpy(self.base.encode(some))
                parts.append(self.tower(given).numpy())
        return np.concatenate(parts)


@dataclass(frozen=True)
class TowerFolder:
    """A trained tower as `load_aligned` reads it: what it stands on (`kind`), its images' side, its training."""

    tower: nn.Module
    width: int
    kind: str
    size: int
    trained: Mapping[str, Any]
    history: Sequence[Mapping[str, Any]]

    def write(self, folder: Path) -> list[Path]:
        """Write weights, description and history; returns the files."""
        folder.mkdir(parents=True, exist_ok=True)
        weights, said, history = (folder / name for name in ("model.safetensors", "config.json", "history.jsonl"))
        state = {name: tensor.detach().contiguous().clone() for name, tensor in self.tower.state_dict().items()}
        with atomic_path(weights) as temporary:
            save_file(state, temporary)
        facts = {"format": ALIGNED_FORMAT, "tower": self.kind, "size": self.size, "width": self.width}
        write_json(said, {**facts, "trained": self.trained})
        write_json_lines(history, self.history)
        return [weights, said, history]


def load_aligned(folder: Path, base: ImageEncoder | None = None, kind: str = "knowcl") -> AlignedEncoder:
    """Load what `graph align` wrote; `base` is the encoder whose vectors the tower reads, if it does."""
    path = folder / "config.json"
    said = read_described(path, ALIGNED_FORMAT, "what `chorograph graph align` writes", _SHAPE)
    if not (1 <= said["width"] <= _WIDEST and 1 <= said["size"] <= _WIDEST):
        raise InputError(f"{path}: width and size must lie between 1 and {_WIDEST}")
    weights = read_weights(folder / "model.safetensors")
    with naming_damage(path, "the description of a tower", "run `chorograph graph align` again"):
        on_vectors = said["tower"].startswith("vectors:")
        tower = VectorTower(len(weights["mean"]), said["width"]) if on_vectors else PixelTower(said["tower"])
        tower.load_state_dict(weights)
    return AlignedEncoder(f"{kind}:{folder}", tower.eval(), said["width"], said["size"], base)


def base_encoder_of(folder: Path) -> str | None:
    """Return the encoder whose vectors a tower reads, None for one on pixels."""
    said = read_json(folder / "config.json")
    tower = str(said.get("tower", "")) if isinstance(said, dict) else ""
    return tower.removeprefix("vectors:") if tower.startswith("vectors:") else None
