"""From image files to model inputs: resized once to uint8, normalised on the device."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image
from torch import Tensor
from torch.nn import functional

from chorograph.area.images import read_rgb
from chorograph.ground.arrays import Pixels


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
        if image.shape[:2] == self.size:
            return image
        resized = Image.fromarray(image)
        for step in _steps(self):
            resized = step(resized)
        return np.asarray(resized)

    def decode(self, encoded: bytes | Path) -> Pixels:
        """Read an image file at the model's (height, width, 3), a large JPEG scaled as it is decoded.

        Several times faster than decoding all of it, and not the same: open_clip's transform of the whole image differs
        by one to two grey levels of 255 on average (benchmarks/shard_reading.py). `ImageError` as `read_rgb`.
        """
        image = read_rgb(encoded, at_least=self.size)
        height, width = image.shape[:2]
        side = self.size[0]
        if (height, width) == self.size:
            return image
        usual = self.size == (side, side) and self.resize_mode == "shortest" and self.interpolation == "bicubic"
        if not usual or not image.flags.writeable:  # what Pillow decoded may only be read
            return self.pixels(image)
        # Torch resizes bytes with the processor's vector units: to one grey level of Pillow, in a fifth of its time.
        channels = torch.from_numpy(image).permute(2, 0, 1)[None]
        size = [side * height // min(height, width), side * width // min(height, width)]
        resized = functional.interpolate(channels, size=size, mode="bicubic", antialias=True)[0]
        top, left = (round((length - side) / 2) for length in size)
        return resized[:, top : top + side, left : left + side].permute(1, 2, 0).contiguous().numpy()

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


@lru_cache(maxsize=8)
def _steps(preprocessing: Preprocessing) -> tuple[Callable[[Image.Image], Image.Image], ...]:
    """Return what open_clip's transform does before the conversion to floats."""
    return tuple(image_transform_v2(PreprocessCfg(**asdict(preprocessing)), is_train=False).transforms[:-2])
