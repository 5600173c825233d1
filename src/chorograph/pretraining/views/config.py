"""What `pretrain-views` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting


@dataclass(frozen=True)
class ViewsConfig:
    """Settings of `chorograph pretrain-views`: UrbanVLP's towers, tiles and the street views around them."""

    area: Path = setting(help="the area folder, with tiles, captions and street views")
    out: Path = setting(help="folder to write: weights, configuration, history")
    model: str = setting(
        "clip-small", help="clip-small, or an open_clip architecture: NAME or NAME/TAG (TAG is downloaded)"
    )
    init: Path | None = setting(
        None, help="start from a folder written here, for any area; model, fusion and place are then its own"
    )
    street_views: int = setting(
        25, help="street views of a tile (those of its region) in a step, drawn anew each time; 0: tiles alone"
    )
    fusion: str = setting("gated", help="how the streets are added to the tile", choices=("gated", "sum"))
    location_hidden: int = setting(
        256, help="width of the networks that encode a street view's place; published: 1024; 0: no place"
    )
    alpha: float = setting(0.5, help="what the contrast of fused vectors and tiles' captions counts")
    beta: float = setting(0.5, help="what the contrast of street views and their captions, token by token, counts")
    epochs: int = setting(
        20, help="passes over the tiles, another caption of each drawn each time; 0: only encode, with --init"
    )
    batch_size: int = setting(32, help="tiles a step")
    lr: float | None = setting(None, help="peak learning rate; unset: 1e-3 from scratch, 3e-5 from trained weights")
    weight_decay: float = setting(0.05, help="decoupled weight decay; none on biases, norms and scales")
    holdout: str = setting("0.1", help="share of the regions kept for validation, or a split")
    name: str = setting("urbanvlp", help="name of the tiles' vectors that are written into the area")
    seed: int = setting(0, help="decides weights, hold-out, order, captions, augmentation and which views are drawn")
    device: str = setting("auto", help="torch device: auto, cpu, cuda")
    precision: str = setting(
        "auto", help="fp32 or bf16 autocast; auto: bf16 on cuda, fp32 on cpu", choices=("auto", "fp32", "bf16")
    )
