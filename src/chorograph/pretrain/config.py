"""What `pretrain` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.area.config import setting


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of `chorograph pretrain`."""

    area: Path = setting(help="the area folder, with images and captions")
    out: Path = setting(help="checkpoint folder to write; an earlier checkpoint there is replaced")
    objective: str = setting(
        "coca",
        help="what is learnt: coca (contrast and captions), clip (contrast), caption (captions alone)",
        choices=("coca", "clip", "caption"),
    )
    model: str = setting(
        "coca-small", help="coca-small, clip-small, or an open_clip architecture: NAME or NAME/TAG (TAG is downloaded)"
    )
    init: Path | None = setting(None, help="start from a checkpoint folder or a .safetensors, .pt or .bin file")
    lr: float | None = setting(None, help="peak learning rate; unset: 1e-3 from scratch, 3e-5 from trained weights")
    batch_size: int = setting(64, help="image-text pairs a step")
    epochs: int = setting(20, help="passes over the images; each pass draws another caption of each image")
    holdout: str = setting("0.1", help="share of the regions (images, without regions) kept for validation, or a split")
    seed: int = setting(0, help="decides weights, hold-out, order, captions and augmentation")
    device: str = setting("auto", help="torch device: auto, cpu, cuda")
    weight_decay: float = setting(0.05, help="decoupled weight decay; none on biases, norms and scales")
    schedule: str = setting("cosine", help="learning rate after the warm-up", choices=("cosine", "constant"))
    warmup: float = setting(0.1, help="share of the steps in which the learning rate rises linearly")
    augment: str = setting(
        "auto",
        help="dihedral (flips, quarter turns), flip, none; auto: dihedral from above, flip from the street",
        choices=("auto", "dihedral", "flip", "none"),
    )
    view: str = setting("satellite", help="which images", choices=("satellite", "street"))
    tokenizer: str = setting(
        "auto",
        help="compact (learnt from the captions) or open_clip; auto: compact for coca-small and clip-small",
        choices=("auto", "compact", "open_clip"),
    )
    precision: str = setting(
        "auto", help="fp32 or bf16 autocast; auto: bf16 on cuda, fp32 on cpu", choices=("auto", "fp32", "bf16")
    )
    shuffle_captions: bool = setting(
        False, help="train each image with the captions of another: the control that says whether the pairing matters"
    )
    keep: str = setting(
        "last",
        help="whose weights are written: last epoch's, or best (lowest validation loss)",
        choices=("last", "best"),
    )
