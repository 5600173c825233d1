"""What `caption` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting


@dataclass(frozen=True)
class CaptionConfig:
    """Settings of `chorograph caption`."""

    area: Path = setting(help="the area folder")
    captioner: str = setting("template", help="who writes: template (facts into sentences)", choices=("template",))
    per_image: int = setting(2, help="captions an image")
    seed: int = setting(0, help="decides the wording")
