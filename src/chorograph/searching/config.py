"""What `localize` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting


@dataclass(frozen=True)
class LocalizeConfig:
    """Settings of `chorograph localize`."""

    image: Path = setting(help="the image: GeoTIFF (read by windows), JPEG or PNG")
    text: str = setting(help="what to look for, in a sentence")
    model: str = setting(help="an encoder of images and texts: open_clip:NAME/TAG, or a checkpoint folder")
    out: Path = setting(help="folder for the heat map, the overlay, the peaks and the manifest")
    steps: list[int] = setting([256, 512, 768], help="sides of the windows, in pixels")
    level: float = setting(0.75, help="a peak is a part of the map at this share of its maximum or above")
    compat: bool = setting(False, help="the published arithmetic: windows of 256 px, a map of 8 bits, median of 251 px")
    device: str = setting("cpu", help="torch device of the model: cpu, cuda")
