"""From image files to model inputs: resized once to uint8, normalised on the device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Preprocessing:
    """What a tower expects of its images: open_clip's evaluation transform, cut in two.

    `pixels` is the part before the conversion to floats, done once an image and kept as uint8 (a quarter of the
    memory); `normalise` is the rest, done a batch at a time where the model lives. Together they give exactly what
    open_clip's transform of the same settings gives.
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Preprocessing:
        """Take over open_clip's settings, or those that a checkpoint holds."""
        size = settings["size"]
        return cls(
            size=(int(size), int(size)) if isinstance(size, int) else (int(size[0]), int(size[1])),
            mean=tuple(float(value) for value in settings["mean"]),
            std=tuple(float(value) for value in settings["std"]),
            interpolation=str(settings.get("interpolation", "bicubic")),
            resize_mode=str(settings.get("resize_mode", "shortest")),
            fill_color=int(settings.get("fill_color", 0)),
        )

    def pixels(self, image: Pixels) -> Pixels:
        """Resize and crop a uint8 (height, width, 3) image of any size to the model's (height, width, 3)."""
        resized = Image.fromarray(image)
        for step in image_transform_v2(PreprocessCfg(**asdict(self)), is_train=False).transforms[:-2]:
            resized = step(resized)
        return np.asarray(resized)

    def batch(self, images: Iterable[Pixels]) -> Tensor:
        """Return the images as one uint8 tensor (n, 3, height, width)."""
        return torch.from_numpy(np.stack([self.pixels(image) for image in images])).permute(0, 3, 1, 2).contiguous()

    def normalise(self, pixels: Tensor, device: torch.device | str = "cpu") -> Tensor:
        """Move a uint8 batch (n, 3, height, width) to `device` and return it as normalised float32."""
        mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=device).view(1, 3, 1, 1)
        return pixels.to(device, torch.float32).div_(255).sub_(mean).div_(std)

    def settings(self) -> dict[str, Any]:
        """Return the settings as JSON-ready values."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
