"""`pretrain`: image-text pairs in, a checkpoint folder out."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from chorograph.area.folder import Area, Source
from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.checkpoint import check_target, load_checkpoint, save_checkpoint
from chorograph.models.coca.tokenizer import WordTokenizer, unknown_words
from chorograph.models.coca.towers import build, is_coca
from chorograph.models.encoders.open_clip import ImageTextModel, load_open_clip, new_model
from chorograph.models.encoders.protocols import SEEN
from chorograph.models.weights import apply_weights, read_weights
from chorograph.pretraining.config import PretrainConfig, is_shards
from chorograph.pretraining.feeds.pairs import Pairs, load_pairs, load_shard_pairs
from chorograph.pretraining.loop.loop import History, Training, peak_rate, together
from chorograph.pretraining.loop.parallel import whole_weights
from chorograph.pretraining.loop.resume import Interval, Resume
from chorograph.pretraining.loop.watch import Board
from chorograph.pretraining.loop.world import World, in_world, join_world
from chorograph.pretraining.objectives.objectives import CocaObjective, Objective, with_bias
from chorograph.pretraining.objectives.objectives import objective as objective_named
from chorograph.shards.pairs import ShardPairs, open_pairs

if TYPE_CHECKING:
    from chorograph.models.adapters.methods import Adapter
    from chorograph.pretraining.objectives.graph_contrast import GraphContrast

#: Settings that a killed run may be gone on with changed: they decide where and how fast, not what.
_FREE = {"area", "out", "device", "workers", "checkpoint_every", "tensorboard"}


@dataclass(frozen=True)
class PretrainResult:
    """What pretraining made: the checkpoint folder, the model in memory, and the record of each epoch."""

    folder: Path
    loaded: ImageTextModel
    history: History
    held_out: str

    @property
    def last(self) -> dict[str, Any]:
        """The record of the last epoch."""
        return self.history[-1]


@dataclass(frozen=True)
class Corpus:
    """Where pairs come from: an area, or shards."""

    area: Area | None
    shards: ShardPairs | None
    name: str
    title: str
    synthetic: bool
    sources: Sequence[Source]

    @classmethod
    def open(cls, place: Area | Path, ledger: Ledger) -> Corpus:
        """Open an area, or the shards that a path or pattern stands for; what these hold in vain is counted."""
        if isinstance(place, Path) and is_shards(place):
            shards = open_pairs([place], ledger.drop)
            return cls(None, shards, place.name, f"{len(shards.paths)} shards of {place.name}", False, ())
        area = place if isinstance(place, Area) else Area.open(place)
        return cls(area, None, area.name, area.title, area.synthetic, area.sources)

    def captions(self) -> list[str]:
        """Return all captions, for a tokenizer to learn from."""
        if self.shards is not None:
            return [text for row in range(len(self.shards)) for text in self.shards.captions(row)]
        assert self.area is not None  # noqa: S101  # for the type checker
        return self.area.captions["caption"].tolist()

    def pairs(
        self, loaded: ImageTextModel, config: PretrainConfig, ledger: Ledger, progress: Progress
    ) -> tuple[Pairs, Pairs, str]:
        """Return the pairs to train on, those held out, and how these were chosen."""
        asked: dict[str, Any] = {
            "holdout": config.holdout, "seed": config.seed, "ledger": ledger, "progress": progress,
        }  # fmt: skip
        if self.shards is not None:
            return load_shard_pairs(self.shards, loaded.preprocessing, **asked)
        assert self.area is not None  # noqa: S101  # for the type checker
        return load_pairs(self.area, loaded.preprocessing, view=config.view, **asked)


def pretrain(
    place: Area | Path, config: PretrainConfig, *, ledger: Ledger | None = None, progress: Progress = silent
) -> PretrainResult:
    """Train on the image-text pairs of an area or of shards and write a checkpoint folder at `config.out`.

    Counts and drops go into `ledger`. The checkpoint is written at the end, and then all at once; until then states of
    the run lie beside it (`OUT.resume`), from which the same call goes on after a kill. Under `torchrun` every process
    makes this call, and the first one writes. Raises `InputError` for settings or an area that cannot be trained with.
    """
    ledger = Ledger() if ledger is None else ledger
    _check(config)
    check_target(config.out)
    config = replace(config, device=device_of(config.device))
    with join_world(config.device) as world:
        return _pretrain(place, config, ledger, progress if world.first else silent, world)


@dataclass(frozen=True)
class Adapted:
    """A model with an adapter, and the weights it had before, which it still has underneath."""

    adapter: Adapter
    base: dict[str, Tensor]

    @classmethod
    def of(cls, loaded: ImageTextModel, config: PretrainConfig, ledger: Ledger) -> Adapted | None:
        """Add the adapter that is asked for to a model, in place; None where none is."""
        if config.adapter == "none":
            return None
        from chorograph.models.adapters.methods import Adapter, add_adapter  # peft takes seconds to import

        adapter = Adapter(config.adapter, tuple(config.adapter_towers), config.adapter_rank, config.seed)
        base = {name: tensor.clone() for name, tensor in loaded.model.state_dict().items()}
        for tower, number in add_adapter(loaded.model, adapter).items():
            ledger.count(f"parameters trained in the {tower} tower", number)
        return cls(adapter, base)

    def finished(
        self, loaded: ImageTextModel, config: PretrainConfig, ledger: Ledger, *, write: bool
    ) -> ImageTextModel:
        """Write the adapter apart, and return the plain model with it merged, or, where it cannot be, without it."""
        from chorograph.models.adapters.methods import merge_adapter, save_adapter

        folder = config.out.with_name(f"{config.out.name}.adapter")
        if write:
            save_adapter(folder, loaded.model, self.adapter, base=_base(config))
        try:
            merge_adapter(loaded.model)
        except InputError as error:
            if write:
                save_adapter(folder, loaded.model, self.adapter, base=config.out.name)
            ledger.warnings.append(f"{error}; {config.out} holds the model without it, adapter:{folder} is both")
            loaded = replace(loaded, model=build(loaded.config, config.seed))
            loaded.model.load_state_dict(self.base)
            loaded.model.eval()
        return loaded


def _pretrain(
    place: Area | Path, config: PretrainConfig, ledger: Ledger, progress: Progress, world: World
) -> PretrainResult:
    started = time.perf_counter()
    board = Board(config.tensorboard) if config.tensorboard is not None and world.first else None
    objective = _objective(config)
    corpus = Corpus.open(place, ledger)
    loaded, trained_before = _start(corpus, config)
    objective.check(loaded.model)
    if isinstance(loaded.tokenizer, WordTokenizer) and (said := unknown_words(loaded.tokenizer, corpus.captions())):
        ledger.warnings.append(said)
    pairs, held, how = corpus.pairs(loaded, config, ledger, progress)
    if config.shuffle_captions:
        pairs = pairs.shuffled(config.seed)
        ledger.warnings.append("captions were shuffled over the images: a control, not a model to use")
    if config.batch_size < world.size:
        raise InputError(f"a batch of {config.batch_size} is too small for {world.size} processes")
    if 0 < len(held) < world.size:
        raise InputError(f"{len(held)} held-out images are too few for {world.size} processes; give --holdout more")
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in loaded.model.modules()) and (
        world.size > 1 or config.accumulate > 1
    ):
        ledger.warnings.append("batch norms see the images of one process and portion at a time, not of the batch")
    if corpus.shards is not None:
        ledger.warnings.append("shards carry no hashes: `evaluate` cannot tell later which images were trained on")
    adapted = Adapted.of(loaded, config, ledger)
    loaded.model.to(config.device)
    lr = peak_rate(config.lr, trained_before)
    resume = Resume(
        config.out.with_name(f"{config.out.name}.resume"),
        Interval.parse(config.checkpoint_every),
        {**{k: v for k, v in plain(config).items() if k not in _FREE}, "pairs": _digest(pairs, held)},
    )
    graph = _graph(corpus, config, pairs, loaded)
    told = None if board is None else board.write
    training = Training(loaded, objective, pairs, held, config, lr, progress, world, resume, told, graph)
    stands = training.run()
    history = stands.history
    for reason, number in together(world, stands.dropped).items():
        ledger.drop(f"image {reason}", number)
    if history[-1].get("caption_collapse"):
        ledger.warnings.append(
            "captions have collapsed: the decoder writes nearly the same for every image "
            f"(distinct-2 {history[-1]['caption_distinct_2']:.3f}); train longer, or lower the learning rate"
        )
    if config.fsdp:
        weights = whole_weights(training.towers)
        loaded = replace(loaded, model=build(loaded.config, config.seed))
        loaded.model.load_state_dict(weights) if world.first else None
    if adapted is not None:
        loaded = adapted.finished(loaded, config, ledger, write=world.first)
    ledger.facts["held out"] = how
    ledger.facts["last epoch"] = history[-1]
    if world.first:
        _write(corpus, config, loaded, objective, ledger, history, pairs, how, lr, time.perf_counter() - started)
        if adapted is not None and (config.out / SEEN).is_file():
            shutil.copyfile(config.out / SEEN, config.out.with_name(f"{config.out.name}.adapter") / SEEN)
        resume.clear()
    world.wait()
    return PretrainResult(config.out, loaded, history, how)


def _write(
    corpus: Corpus, config: PretrainConfig, loaded: ImageTextModel, objective: Objective, ledger: Ledger,
    history: History, pairs: Pairs, how: str, lr: float, wall_s: float,
) -> None:  # fmt: skip
    facts = {
        "objective": objective.name,
        "seed": config.seed,
        "area": {"name": corpus.name, "title": corpus.title, "synthetic": corpus.synthetic},
        "held_out": how,
        "settings": {**plain(config), "lr": lr},
        "counts": dict(ledger.counts),
        "dropped": dict(ledger.dropped),
        "versions": {name: version(name) for name in ("chorograph", "torch", "open_clip_torch")},
        "wall_s": round(wall_s, 1),
    }
    card = _card(corpus, loaded, facts, history)
    save_checkpoint(config.out, loaded, facts=facts, card=card, history=history, seen=_hashes(corpus, pairs))


def _base(config: PretrainConfig) -> str:
    """Return the encoder's name of the model that a run begins with; empty for one from scratch."""
    if config.init is not None and config.init.is_dir():
        return str(config.init)
    name = config.model if config.model.startswith("open_clip:") else f"open_clip:{config.model}"
    if config.init is not None:
        return f"{name}/{config.init}"
    return name if "/" in name else ""


def _graph(corpus: Corpus, config: PretrainConfig, pairs: Pairs, loaded: ImageTextModel) -> GraphContrast | None:
    if config.graph is None:
        return None
    if corpus.area is None:
        raise InputError("--graph needs an area with regions and a graph; shards have none")
    from chorograph.pretraining.objectives.graph_contrast import (
        GraphContrast,  # PyTorch Geometric comes with the graph extra only
    )

    weight, dim, seed = config.graph_weight, loaded.dim, config.seed
    return GraphContrast.of(corpus.area, config.graph, pairs.image_ids, weight=weight, dim=dim, seed=seed)


def _objective(config: PretrainConfig) -> Objective:
    found = objective_named(config.objective)
    return replace(found, captioning_weight=config.captioning_weight) if isinstance(found, CocaObjective) else found


def _digest(pairs: Pairs, held: Pairs) -> str:
    """Return what changes when the images or their order do, or the captions, where these are in memory."""
    digest = hashlib.sha256()
    for part in (pairs, held):
        for image_id in part.image_ids:
            digest.update(f"{image_id}\n".encode())
        if isinstance(part.captions, tuple):
            digest.update(repr(part.captions).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _hashes(corpus: Corpus, pairs: Pairs) -> list[str]:
    if corpus.area is None:
        return []
    images = corpus.area.images
    return images.loc[images["image_id"].isin(pairs.image_ids) & images["sha256"].notna(), "sha256"].tolist()


def _start(corpus: Corpus, config: PretrainConfig) -> tuple[ImageTextModel, bool]:
    """Return the model to begin with, and whether it has been trained before."""
    loaded, trained = _unbiased_start(corpus, config)
    if config.objective == "siglip" and (settings := with_bias(loaded.model)):
        loaded = replace(loaded, config={**loaded.config, **settings})
    return loaded, trained


def _unbiased_start(corpus: Corpus, config: PretrainConfig) -> tuple[ImageTextModel, bool]:
    name = config.model.removeprefix("open_clip:")
    if config.init is not None and config.init.is_dir():
        loaded = load_checkpoint(config.init)
        if loaded.architecture != name:
            held = loaded.architecture
            raise InputError(f"{config.init} is a {held}, not a {name}; say --model {held}")
        return loaded, True
    if "/" in name:
        if config.init is not None:
            raise InputError(f"{config.model} names weights already; leave --init away")
        return load_open_clip(name), True
    compact = {"auto": None, "compact": True, "open_clip": False}[config.tokenizer]
    loaded = new_model(name, seed=config.seed, captions=corpus.captions(), compact=compact)
    if config.init is not None:
        apply_weights(loaded.model, read_weights(config.init), str(config.init))
    return loaded, config.init is not None


def _check(config: PretrainConfig) -> None:
    for name, least in (("epochs", 1), ("batch_size", 2), ("accumulate", 1), ("workers", 0)):
        if getattr(config, name) < least:
            raise InputError(f"{name} must be at least {least}, not {getattr(config, name)}")
    if config.lr is not None and config.lr <= 0:
        raise InputError(f"lr must be positive, not {config.lr:g}")
    if config.warmup < 0:
        raise InputError(f"warmup is a share of the steps (up to 1) or their number, not {config.warmup:g}")
    if config.clip_norm is not None and config.clip_norm <= 0:
        raise InputError(f"clip_norm must be positive, not {config.clip_norm:g}")
    if config.fsdp and config.keep == "best":
        raise InputError("--fsdp keeps no second copy of the weights; use --keep last")
    if config.adapter != "none" and (config.fsdp or config.freeze != "none"):
        raise InputError("--adapter freezes the model itself and needs no shards: leave --fsdp and --freeze away")
    if config.graph is not None and config.fsdp:
        raise InputError("--graph keeps its tower whole in each process; leave --fsdp away")
    if config.graph_weight <= 0:
        raise InputError(f"graph_weight must be positive, not {config.graph_weight:g}")
    if config.adapter_rank < 1:
        raise InputError(f"adapter_rank must be at least 1, not {config.adapter_rank}")
    if config.fsdp and not in_world():
        raise InputError("--fsdp parts a model among the processes of torchrun; start it with torchrun")
    Interval.parse(config.checkpoint_every)
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device {config.device} was asked for, but torch sees no CUDA device; use --device cpu")


def device_of(asked: str) -> str:
    """Return the device that is asked for; `auto` is CUDA where there is one."""
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def _card(corpus: Corpus, loaded: ImageTextModel, facts: dict[str, Any], history: History) -> str:
    """Return the model card: what it is, what it saw, how well it does, what it is not for."""
    last = history[-1]
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    kind = "CoCa" if is_coca(loaded.model) else "CLIP"
    sources = "\n".join(f"- {s.name}: licence {s.licence}. {s.attribution}".rstrip() for s in corpus.sources)
    scores = "\n".join(
        f"| {name} | {value:.4f} |"
        for name, value in last.items()
        if name.startswith(("train_", "val_", "image_to", "text_to", "mean_")) and isinstance(value, float)
    )
    made_up = (
        "The area is **synthetic**: nothing here says anything about a real place.\n\n" if corpus.synthetic else ""
    )
    settings = facts["settings"]
    beside = f" beside the knowledge graph ({settings['graph']})" if settings["graph"] else ""
    shuffled = "**A control**: captions were shuffled over the images.\n\n" if settings["shuffle_captions"] else ""
    return f"""# {loaded.architecture} on {corpus.title}

A {kind} ({loaded.architecture}, {parameters:,} parameters), objective {facts["objective"]}{beside},
trained by chorograph {facts["versions"]["chorograph"]} on {facts["counts"]["images trained on"]:,} images with
{facts["counts"]["captions trained on"]:,} captions for {settings["epochs"]} epochs
(learning rate {settings["lr"]:g}, batch {settings["batch_size"]}, seed {facts["seed"]}).

{shuffled}{made_up}## Data

{sources or "- no source is named"}

Held out: {facts["held_out"]}. Everything else of the area was seen, images and captions of regions whose indicators are
predicted later among it; no indicator was.

## Last epoch

| | |
|---|---|
{scores}

Losses are means over samples; the contrastive one depends on the batch size. Recalls are over
{facts["counts"]["images held out"]:,} held-out images and all their captions.

## Use

`chorograph embed AREA --model THIS_FOLDER`. The vector of an image is its pooled contrastive feature, of unit length.

Not for other sensors, resolutions or places than those it saw, and not for judging single households or people.
"""
