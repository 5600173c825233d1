"""What `embed` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting


@dataclass(frozen=True)
class EmbedConfig:
    """Settings of `chorograph embed`."""

    area: Path = setting(help="the area folder")
    model: str = setting(
        "default", help="encoder: default, colour, rcf:K, open_clip:NAME/TAG, a checkpoint folder, a+b"
    )
    of: str = setting(
        "images",
        help="what is encoded: images, or their captions (by lsa:K, or a model with a text tower)",
        choices=("images", "captions"),
    )
    view: str = setting("satellite", help="which images", choices=("satellite", "street"))
    device: str = setting("auto", help="torch device for encoders that use one: auto, cpu, cuda")
    seed: int = setting(0, help="decides which images an encoder is fitted on")
