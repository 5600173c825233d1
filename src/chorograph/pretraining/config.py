"""What `pretrain` can be asked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.ground.errors import SettingError
from chorograph.ground.settings import SEEDS, Range, above, at_least, between, configure, setting
from chorograph.models.graph.composition import COMPOSITION_NAMES
from chorograph.pretraining.objectives.registry import OBJECTIVES, Trainer

#: Decays of running means, and shares of a whole: one itself is none.
_DECAY = _SHARE = Range(0, 1, high_open=True)


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """Settings of the loop: what they mean is the same whatever is trained."""

    epochs: int = setting(
        20, help="passes over the data; each pass draws another caption of each image", within=at_least(1)
    )
    batch_size: int = setting(64, help="rows a step: image-text pairs, tiles, regions, facts", within=at_least(2))
    lr: float | None = setting(
        None,
        help="peak learning rate; unset: what suits the objective, for pairs 1e-3 from scratch, else 3e-5",
        within=above(0),
    )
    schedule: str = setting(
        "cosine",
        help="learning rate after the warm-up: cosine, constant, constant with a cool-down at the end; "
        "cosine-epochs: falls once an epoch",
        choices=("cosine", "constant", "constant-cooldown", "cosine-epochs"),
    )
    warmup: float = setting(
        0.1,
        help="steps in which the learning rate rises linearly: a share of all, or above 1 their number",
        within=at_least(0),
    )
    cooldown: float = setting(
        0.2,
        help="constant-cooldown: steps in which it falls linearly to nothing: a share of all, or their number",
        within=above(0),
    )
    weight_decay: float = setting(
        0.05, help="decoupled weight decay; none on biases, norms and scales", within=at_least(0)
    )
    beta1: float = setting(0.9, help="AdamW: decay of the mean of gradients", within=_DECAY)
    beta2: float = setting(0.999, help="AdamW: decay of the mean of their squares", within=_DECAY)
    epsilon: float = setting(1e-8, help="AdamW: what is added to the root of that mean", within=above(0))
    clip_norm: float | None = setting(None, help="gradients of a larger norm are scaled down to it", within=above(0))
    ema: float = setting(
        0.0, help="decay of a running average of the weights, which is what is written then; 0: none", within=_DECAY
    )
    accumulate: int = setting(
        1,
        help="portions that a batch is worked on in; contrast still sees the whole batch, memory a portion",
        within=at_least(1),
    )
    precision: str = setting(
        "auto",
        help="fp32, bf16 autocast, or fp16 autocast with a loss scaler; auto: bf16 on cuda, fp32 on cpu",
        choices=("auto", "fp32", "bf16", "fp16"),
    )
    seed: int = setting(0, help="decides weights, hold-out, order, captions and augmentation", within=SEEDS)
    device: str = setting("auto", help="torch device: auto, cpu, cuda")
    checkpointing: bool = setting(False, help="compute activations twice instead of keeping them: less memory")
    compile: bool = setting(False, help="compile the transformer blocks (torch.compile): pays on CUDA")
    fsdp: bool = setting(False, help="under torchrun, each process holds a part of the weights (FSDP2), not a copy")
    sync_batchnorm: bool = setting(False, help="under torchrun, batch norms see the images of all processes")
    workers: int = setting(
        0, help="processes that decode images which do not fit in memory; changes no result", within=at_least(0)
    )
    keep: str = setting(
        "last",
        help="whose weights are written: last epoch's, or best (lowest validation loss)",
        choices=("last", "best"),
    )
    checkpoint_every: str = setting(
        "10m", help="steps (500) or time (600s, 10m, 2h) between states that a killed run goes on from"
    )
    resume: str = setting(
        "latest", help="latest: go on from the last state beside OUT; never: begin anew; or the path of a state"
    )
    tensorboard: Path | None = setting(None, help="folder for a TensorBoard log of epochs, and of every so many steps")
    log_every: int = setting(
        100, help="steps between those that TensorBoard is told: losses, gradient norm, rate, rows a second",
        within=at_least(1),
    )  # fmt: skip


#: Settings that a killed run may be gone on with changed: they decide where and how fast, not what.
FREE = {"area", "out", "device", "workers", "checkpoint_every", "resume", "tensorboard", "log_every", "save_every"}


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(LoopSettings):
    """Settings of `chorograph pretrain`."""

    area: Path = setting(
        help="an area folder with images and captions; WebDataset tars: one, a folder of them, or a pattern; or "
        "synthetic:N, N made-up pairs to measure speed with"
    )
    out: Path = setting(help="checkpoint folder to write; an earlier checkpoint there is replaced")
    objective: str = setting(
        "coca", help="what is learnt; `chorograph list objectives` says more of each", choices=OBJECTIVES
    )
    set_: list[str] = setting(
        [],
        help="settings of views (as in `pretrain-views`), knowcl (`graph align`), tucker and compgcn (`graph embed`), "
        "blip2 and diffusion: NAME=VALUE; what is set nowhere is theirs to decide",
    )
    model: str = setting(
        "coca-small", help="coca-small, clip-small, or an open_clip architecture: NAME or NAME/TAG (TAG is downloaded)"
    )
    init: Path | None = setting(None, help="start from a checkpoint folder or a .safetensors, .pt or .bin file")
    holdout: str = setting("0.1", help="share of the regions (images, without regions) kept for validation, or a split")
    captioning_weight: float = setting(
        1.0, help="what the captioning loss of coca counts beside the contrastive one", within=at_least(0)
    )
    graph: str | None = setting(
        None,
        help="contrast images with their region's place in the knowledge graph too: frozen vectors of its entities, "
        "made by `graph embed`",
    )
    graph_weight: float = setting(1.0, help="what that contrast counts beside the one with texts", within=above(0))
    also: list[str] = setting(
        [], help="more areas or shards to train on: PATH, or PATH=WEIGHT for what an image counts there when drawn"
    )
    replacement: bool = setting(False, help="draw images with replacement; always so where a weight is not 1")
    samples: int | None = setting(
        None, help="images an epoch, drawn with replacement; unset: as many as there are", within=at_least(2)
    )
    val: Path | None = setting(None, help="an area or shards to validate on, instead of a hold-out")
    distill: str | None = setting(
        None, help="a teacher whose similarities are learnt too: a checkpoint folder, or open_clip's NAME/TAG"
    )
    distill_weight: float = setting(1.0, help="what learning from the teacher counts", within=above(0))
    save_every: int = setting(
        0, help="epochs between checkpoints that are kept in OUT.epochs; 0: the last one only", within=at_least(0)
    )
    freeze: str = setting("none", help="a tower that is not trained: image, text", choices=("none", "image", "text"))
    adapter: str = setting(
        "none",
        help="train few parameters and none of the model's own; merged into the weights where that can be, and "
        "written apart to OUT.adapter",
        choices=("none", "lora", "rslora", "dora", "ia3", "bitfit", "lntuning", "pfeiffer", "prefix", "unipelt"),
    )
    adapter_towers: list[str] = setting([], help="towers with the adapter: image, text, decoder; none named: all")
    adapter_rank: int = setting(8, help="rank of lora, rslora, dora and unipelt", within=at_least(1))
    adapter_alpha: int | None = setting(
        None,
        help="blip2, diffusion: scale of lora, over its rank; unset: 16 (blip2), or the rank",
        within=above(0),
    )
    adapter_dropout: float = setting(0.0, help="blip2, diffusion: dropout before lora", within=_SHARE)
    adapter_targets: list[str] = setting(
        [], help="blip2, diffusion: how names of adapted layers end; none named: as published"
    )
    augment: str = setting(
        "auto",
        help="dihedral (flips, quarter turns), flip, none; auto: dihedral from above, flip from the street; "
        "crop: auto, and a part of 50 to 100 % of the image",
        choices=("auto", "dihedral", "flip", "crop", "none"),
    )
    mixgen: float = setting(
        0.0,
        help="the share of each batch that is mixed with other pairs of it (MixGen): the mean of two images, both "
        "texts; the paper mixes 0.25",
        within=between(0, 0.5),
    )
    view: str = setting("satellite", help="which images", choices=("satellite", "street"))
    tokenizer: str = setting(
        "auto",
        help="compact (learnt from the captions) or open_clip; auto: compact for coca-small and clip-small",
        choices=("auto", "compact", "open_clip"),
    )
    captions: list[str] = setting(
        [], help="train on captions of these origins alone (template, refined, model:NAME); default: all of an area"
    )
    shuffle_captions: bool = setting(
        False, help="train each image with the captions of another: the control that says whether the pairing matters"
    )


@dataclass(frozen=True, kw_only=True)
class ViewsConfig(LoopSettings):
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
        25,
        help="street views of a tile (those of its region) in a step, drawn anew each time; 0: tiles alone",
        within=at_least(0),
    )
    fusion: str = setting("gated", help="how the streets are added to the tile", choices=("gated", "sum"))
    location_hidden: int = setting(
        256,
        help="width of the networks that encode a street view's place; published: 1024; 0: no place",
        within=at_least(0),
    )
    alpha: float = setting(
        0.5, help="what the contrast of fused vectors and tiles' captions counts", within=at_least(0)
    )
    beta: float = setting(
        0.5, help="what the contrast of street views and their captions, token by token, counts", within=at_least(0)
    )
    epochs: int = setting(
        20,
        help="passes over the tiles, another caption of each drawn each time; 0: only encode, with --init",
        within=at_least(0),
    )
    batch_size: int = setting(32, help="tiles a step", within=at_least(2))
    lr: float | None = setting(
        None, help="peak learning rate; unset: 1e-3 from scratch, 3e-5 from trained weights", within=above(0)
    )
    holdout: str = setting("0.1", help="share of the regions kept for validation, or a split")
    name: str = setting("urbanvlp", help="name of the tiles' vectors that are written into the area")


@dataclass(frozen=True, kw_only=True)
class GraphLoopSettings(LoopSettings):
    """Settings of the loop as they suit what learns from a graph."""

    weight_decay: float = setting(
        0.0, help="decoupled weight decay; none on biases, norms and scales", within=at_least(0)
    )
    schedule: str = setting(
        "cosine-epochs",
        help="learning rate: falls once an epoch (cosine-epochs), or as in `pretrain`",
        choices=("cosine", "constant", "constant-cooldown", "cosine-epochs"),
    )


@dataclass(frozen=True, kw_only=True)
class AlignConfig(GraphLoopSettings):
    """Settings of `chorograph graph align`: KnowCL's first stage, images against the knowledge graph."""

    area: Path = setting(help="the area folder, with images and a graph")
    out: Path = setting(help="folder to write: the tower, its card and history")
    tower: str = setting(
        "vectors:efficientnet-lite0",
        help="vectors:NAME (a layer on vectors made by `embed`), or a network of timm on pixels (resnet18, ...)",
        choices=(),
    )
    init: Path | None = setting(None, help="weights to start a resnet18 from: KnowCL's SimCLR checkpoint_100.tar")
    graph: str = setting("TuckER-64", help="frozen vectors of entities, made by `graph embed`")
    view: str = setting("satellite", help="which images", choices=("satellite", "street"))
    images: int = setting(10, help="images of a region in a step, drawn anew each time", within=at_least(1))
    pooling: str = setting("mean", help="how a region's images become one", choices=("mean", "attention"))
    loss: str = setting(
        "corrected", help="corrected (cosines, temperature) or published (dot products, summed)",
        choices=("corrected", "published"),
    )  # fmt: skip
    layers: int = setting(2, help="layers of CompGCN", within=at_least(1))
    composition: str = setting("rotate", help="how head and relation compose", choices=COMPOSITION_NAMES)
    compat: bool = setting(False, help="the published arithmetic of the graph tower, inverse self-loops included")
    inductive: str | None = setting(
        None, help="a split: its test regions' facts and images are kept from training, facts restored afterwards"
    )
    epochs: int = setting(60, help="passes over the regions", within=at_least(1))
    batch_size: int = setting(64, help="regions a step", within=at_least(2))
    lr: float = setting(0.001, help="learning rate of Adam", within=above(0))
    size: int = setting(
        64, help="side that images are brought to, for a tower on pixels; KnowCL: 224", within=at_least(8)
    )
    name: str = setting("knowcl", help="name of the vectors that are written into the area")


@dataclass(frozen=True, kw_only=True)
class NeighboursConfig(LoopSettings):
    """Settings of the objective `neighbours`: neighbouring tiles alike, others apart."""

    area: Path = setting(help="the area folder, with tiles that say where they are")
    out: Path = setting(help="folder to write: the layer, its description and history")
    vectors: str = setting("efficientnet-lite0", help="the vectors of tiles that the layer reads, made by `embed`")
    width: int = setting(256, help="numbers a tile", within=at_least(2))
    nearest: int = setting(4, help="how many of the nearest tiles are a tile's neighbours", within=at_least(1))
    epochs: int = setting(60, help="passes over the tiles", within=at_least(1))
    batch_size: int = setting(256, help="tiles a step", within=at_least(2))
    lr: float = setting(0.001, help="learning rate of Adam", within=above(0))


@dataclass(frozen=True, kw_only=True)
class GraphEmbedConfig(GraphLoopSettings):
    """Settings of `chorograph graph embed`."""

    area: Path = setting(help="the area folder, with a graph")
    model: str = setting("TuckER", help="TuckER, CompGCN, or a model that PyKEEN knows (TransE, RotatE, ...)")
    dim: int = setting(64, help="width of the vectors", within=at_least(1))
    epochs: int = setting(20, help="passes over the training facts", within=at_least(1))
    batch_size: int = setting(
        1024, help="pairs of head and relation (TuckER) or facts (others) a step", within=at_least(2)
    )
    lr: float = setting(0.003, help="learning rate of Adam", within=above(0))
    candidates: int = setting(
        4096,
        help="TuckER: tails that each pair is scored with, its own among them; 0: all entities (1-N)",
        within=at_least(0),
    )
    composition: str = setting("rotate", help="CompGCN: how head and relation compose", choices=COMPOSITION_NAMES)
    layers: int = setting(2, help="CompGCN: layers", within=at_least(1))
    fan_out: int = setting(
        10, help="CompGCN: facts drawn into an entity, in each layer of a training step", within=at_least(1)
    )
    compat: bool = setting(False, help="CompGCN: the published arithmetic of KnowCL, inverse self-loops included")
    held_out: float = setting(0.05, help="share of the facts held out for the link-prediction scores", within=_SHARE)
    inductive: str | None = setting(
        None, help="CompGCN: a split; facts of its test regions are kept from training and restored afterwards"
    )
    name: str | None = setting(None, help="name of the vectors; by default MODEL-DIM")
    out: Path | None = setting(None, help="folder for the history of the losses")


def is_shards(place: Path) -> bool:
    """Return whether a path or pattern stands for tars or a folder of pairs, not for an area (which may hold tars)."""
    if (place / "area.toml").is_file():
        return False
    from chorograph.shards.folder_pairs import holds_pairs

    named = place.name.endswith((".tar", ".tar.gz", ".tgz"))
    return named or (place.is_dir() and any(place.glob("*.tar"))) or holds_pairs(place)


def settings_of(config: PretrainConfig, trainer: Trainer) -> Any:
    """Return an objective's own settings: those of `pretrain` that are not left as they are, and those of `--set`.

    What is left as it is, the objective decides: KnowCL passes 60 times over its regions. Raises `UnknownNameError` for
    a setting that it does not have.
    """
    if isinstance(config, trainer.settings):
        if config.set_:
            raise SettingError(f"--set is for views and those after it in `chorograph list objectives`: {config.set_}")
        return config
    own = {field.name for field in dataclasses.fields(trainer.settings)}
    given: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if field.name in own and value != default:
            given[field.name] = value
    for word in config.set_:
        name, equals, text = word.partition("=")
        if not equals:
            raise SettingError(f"--set is NAME=VALUE, not {word!r}")
        given[name] = {"true": True, "false": False}.get(text, text)
    return configure(trainer.settings, given | dict(trainer.fixed), where=f"--set of {config.objective}")
