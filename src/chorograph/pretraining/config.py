"""What `pretrain` can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chorograph.ground.settings import setting
from chorograph.shards.folder_pairs import holds_pairs


@dataclass(frozen=True)
class PretrainConfig:
    """Settings of `chorograph pretrain`."""

    area: Path = setting(
        help="an area folder with images and captions, or WebDataset tars: one, a folder of them, or a pattern"
    )
    out: Path = setting(help="checkpoint folder to write; an earlier checkpoint there is replaced")
    objective: str = setting(
        "coca",
        help="coca (contrast and captions), clip (contrast), siglip (contrast by pair), caption (captions alone)",
        choices=("coca", "clip", "siglip", "caption"),
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
    warmup: float = setting(
        0.1, help="steps in which the learning rate rises linearly: a share of all, or above 1 their number"
    )
    clip_norm: float | None = setting(None, help="gradients of a larger norm are scaled down to it")
    captioning_weight: float = setting(1.0, help="what the captioning loss of coca counts beside the contrastive one")
    graph: str | None = setting(
        None,
        help="contrast images with their region's place in the knowledge graph too: frozen vectors of its entities, "
        "made by `graph embed`",
    )
    graph_weight: float = setting(1.0, help="what that contrast counts beside the one with texts")
    freeze: str = setting("none", help="a tower that is not trained: image, text", choices=("none", "image", "text"))
    adapter: str = setting(
        "none",
        help="train few parameters and none of the model's own; merged into the weights where that can be, and "
        "written apart to OUT.adapter",
        choices=("none", "lora", "rslora", "dora", "ia3", "bitfit", "lntuning", "pfeiffer", "prefix", "unipelt"),
    )
    adapter_towers: list[str] = setting([], help="towers with the adapter: image, text, decoder; none named: all")
    adapter_rank: int = setting(8, help="rank of lora, rslora, dora and unipelt")
    accumulate: int = setting(
        1, help="portions that a batch is worked on in; contrast still sees the whole batch, memory a portion"
    )
    checkpointing: bool = setting(False, help="compute activations twice instead of keeping them: less memory")
    compile: bool = setting(False, help="compile the transformer blocks (torch.compile): pays on CUDA")
    fsdp: bool = setting(False, help="under torchrun, each process holds a part of the weights (FSDP2), not a copy")
    workers: int = setting(0, help="processes that decode images which do not fit in memory; changes no result")
    checkpoint_every: str = setting(
        "10m", help="steps (500) or time (600s, 10m, 2h) between states that a killed run goes on from"
    )
    tensorboard: Path | None = setting(None, help="folder for a TensorBoard log of each epoch")
    augment: str = setting(
        "auto",
        help="dihedral (flips, quarter turns), flip, none; auto: dihedral from above, flip from the street; "
        "crop: auto, and a part of 50 to 100 % of the image",
        choices=("auto", "dihedral", "flip", "crop", "none"),
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


def is_shards(place: Path) -> bool:
    """Return whether a path or pattern stands for tars or a folder of pairs, not for an area (which may hold tars)."""
    if (place / "area.toml").is_file():
        return False
    named = place.name.endswith((".tar", ".tar.gz", ".tgz"))
    return named or (place.is_dir() and any(place.glob("*.tar"))) or holds_pairs(place)
