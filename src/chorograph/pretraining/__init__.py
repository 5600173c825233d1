"""Training towers on image-text pairs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chorograph.area.folder import Area
    from chorograph.ground.stage import Progress


def pretrain(area: Area | Path, out: Path | str, *, progress: Progress | None = None, **settings: Any) -> Any:
    """Train CoCa or CLIP on the images and captions of an area or of shards, and write a checkpoint folder to `out`.

    `settings` are those of `PretrainConfig`. Needs the `models` extra.
    """
    from chorograph.ground.settings import configure
    from chorograph.ground.stage import silent
    from chorograph.pretraining.config import PretrainConfig
    from chorograph.pretraining.run import pretrain as run

    config = configure(PretrainConfig, {"area": getattr(area, "path", area), "out": out, **settings}, where="pretrain")
    return run(area, config, progress=progress or silent)
