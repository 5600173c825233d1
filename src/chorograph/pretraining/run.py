"""`pretrain`: image-text pairs in, a checkpoint folder out."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from chorograph.area.folder import Area
from chorograph.ground.errors import InputError, SettingError, UnknownNameError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.checkpoint import check_target, load_checkpoint, save_checkpoint
from chorograph.models.coca.contrast import with_bias
from chorograph.models.coca.tokenizer import WordTokenizer, unknown_words
from chorograph.models.coca.towers import build
from chorograph.models.devices import device_of
from chorograph.models.encoders.open_clip import ImageTextModel, load_open_clip, new_model
from chorograph.models.encoders.protocols import SEEN
from chorograph.models.weights import apply_weights, read_weights
from chorograph.pretraining.card import card
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds.corpus import Corpus
from chorograph.pretraining.feeds.feed import Batches
from chorograph.pretraining.feeds.pairs import Pairs
from chorograph.pretraining.feeds.read import Data, open_corpora, pair_inputs, pairs_digest, read_pairs
from chorograph.pretraining.loop.freeze import freeze
from chorograph.pretraining.loop.loop import History
from chorograph.pretraining.loop.optimiser import peak_rate
from chorograph.pretraining.loop.parallel import whole_weights
from chorograph.pretraining.loop.session import Session, session, states_of
from chorograph.pretraining.loop.world import World
from chorograph.pretraining.objectives.pairs import PAIRINGS, PairObjective
from chorograph.pretraining.objectives.registry import Trainer

if TYPE_CHECKING:
    from chorograph.models.adapters.methods import Adapter
    from chorograph.pretraining.objectives.graph_contrast import GraphContrast


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
    with session(config, states_of(config.out), progress) as around:
        return _pretrain(place, config, ledger, around)


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


def train_pairs(config: PretrainConfig, ledger: Ledger, progress: Progress = silent) -> list[Path]:
    """Train on `config.area`, and return the files of the checkpoint whose content says what it is."""
    folder = pretrain(config.area, config, ledger=ledger, progress=progress).folder
    return [folder / name for name in ("model.safetensors", "config.json", "history.jsonl")]


def _pretrain(place: Area | Path, config: PretrainConfig, ledger: Ledger, around: Session) -> PretrainResult:
    started, world, device = time.perf_counter(), around.world, device_of(config.device)
    pairing = PAIRINGS[config.objective]
    if pairing.captioning:
        pairing = replace(pairing, captioning=config.captioning_weight)
    corpora = open_corpora(place, config, ledger)
    loaded, trained_before = _start(corpora, config)
    pairing.check(loaded.model)
    data = read_pairs(config, loaded.preprocessing, ledger, around.progress, corpora)
    _warn(corpora, config, loaded, data.held, world, ledger)
    adapted = Adapted.of(loaded, config, ledger)
    loaded.model.to(device)
    freeze(loaded.model, config.freeze, captions=pairing.captioning > 0)
    objective = PairObjective(
        pairing, loaded, config.augment, config.view, config.seed, config.freeze, config.batch_size,
        graph=_graph(corpora[0], config, data.pairs, loaded), pairs=data.pairs, held=data.held,
        teacher=_teacher(config, device), distillation=config.distill_weight,
    )  # fmt: skip
    source = Batches(data.pairs, config.batch_size, config.seed, world, data.held, data.draw, config.mixgen)
    lr = peak_rate(config.lr, trained_before)
    run = Run(config, loaded, ledger, data, lr, started)
    around = replace(around, on_epoch=run.keep)
    state = around.train(objective, source, config, lr, pairs_digest(data, config))
    history = state.history
    for reason, number in sorted(state.dropped.items()):
        ledger.drop(f"image {reason}", number)
    if history[-1].get("caption_collapse"):
        ledger.warnings.append(
            "captions have collapsed: the decoder writes nearly the same for every image "
            f"(distinct-2 {history[-1]['caption_distinct_2']:.3f}); train longer, or lower the learning rate"
        )
    if config.fsdp:
        weights = whole_weights(objective.module)
        loaded = replace(loaded, model=build(loaded.config, config.seed))
        loaded.model.load_state_dict(weights) if world.first else None
    if adapted is not None:
        loaded = adapted.finished(loaded, config, ledger, write=world.first)
    ledger.facts["held out"] = data.how
    ledger.facts["last epoch"] = history[-1]
    if world.first:
        replace(run, loaded=loaded).write(config.out, history)
        if adapted is not None and (config.out / SEEN).is_file():
            shutil.copyfile(config.out / SEEN, config.out.with_name(f"{config.out.name}.adapter") / SEEN)
    return PretrainResult(config.out, loaded, history, data.how)


@dataclass(frozen=True)
class Run:
    """What a checkpoint says of how it came about."""

    config: PretrainConfig
    loaded: ImageTextModel
    ledger: Ledger
    data: Data
    lr: float
    started: float

    def keep(self, history: History) -> None:
        """Write the checkpoint of an epoch, where one is wanted."""
        epoch, every = int(history[-1]["epoch"]), self.config.save_every
        if every and epoch % every == 0:
            self.write(self.config.out.with_name(f"{self.config.out.name}.epochs") / f"epoch-{epoch:04d}", history)

    def write(self, folder: Path, history: History) -> None:
        """Write the checkpoint folder."""
        config, first = self.config, self.data.corpora[0]
        facts = {
            "objective": config.objective,
            "seed": config.seed,
            "area": {"name": first.name, "title": first.title, "synthetic": first.synthetic},
            "held_out": self.data.how,
            "settings": {**plain(config), "lr": self.lr},
            "counts": dict(self.ledger.counts),
            "dropped": dict(self.ledger.dropped),
            "versions": {name: version(name) for name in ("chorograph", "torch", "open_clip_torch")},
            "wall_s": round(time.perf_counter() - self.started, 1),
        }
        text = card(self.data, self.loaded, facts, history)
        save_checkpoint(folder, self.loaded, facts=facts, card=text, history=history, seen=self.data.seen)


def _warn(
    corpora: Sequence[Corpus], config: PretrainConfig, loaded: ImageTextModel, held: Pairs, world: World, ledger: Ledger
) -> None:
    """Say what the numbers will not say; `InputError` where there is too little for all processes."""
    if config.shuffle_captions:
        ledger.warnings.append("captions were shuffled over the images: a control, not a model to use")
    if isinstance(loaded.tokenizer, WordTokenizer):
        captions = [caption for corpus in corpora for caption in corpus.captions()]
        if said := unknown_words(loaded.tokenizer, captions):
            ledger.warnings.append(said)
    if config.batch_size < world.size:
        raise InputError(f"a batch of {config.batch_size} is too small for {world.size} processes")
    if 0 < len(held) < world.size:
        raise InputError(f"{len(held)} held-out images are too few for {world.size} processes; give --holdout more")
    norms = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in loaded.model.modules())
    if norms and (config.accumulate > 1 or (world.size > 1 and not config.sync_batchnorm)):
        ledger.warnings.append(
            "batch norms see the images of one process and portion at a time, not of the batch; --sync-batchnorm lets "
            "them see those of all processes"
        )
    if any(corpus.shards is not None for corpus in corpora):
        ledger.warnings.append("shards carry no hashes: `evaluate` cannot tell later which images were trained on")


def _teacher(config: PretrainConfig, device: str) -> ImageTextModel | None:
    """Return the model that is learnt from beside the texts: a checkpoint folder, or one of open_clip with its tag."""
    if config.distill is None:
        return None
    name = config.distill.removeprefix("open_clip:")
    loaded = load_checkpoint(Path(name)) if Path(name).is_dir() else load_open_clip(name)
    loaded.model.to(device).requires_grad_(False)
    return loaded


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


def _start(corpora: Sequence[Corpus], config: PretrainConfig) -> tuple[ImageTextModel, bool]:
    """Return the model to begin with, and whether it has been trained before."""
    loaded, trained = _unbiased_start(corpora, config)
    if config.objective == "siglip" and (settings := with_bias(loaded.model)):
        loaded = replace(loaded, config={**loaded.config, **settings})
    return loaded, trained


def _unbiased_start(corpora: Sequence[Corpus], config: PretrainConfig) -> tuple[ImageTextModel, bool]:
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
    captions = [caption for corpus in corpora for caption in corpus.captions()]
    loaded = new_model(name, seed=config.seed, captions=captions, compact=compact)
    if config.init is not None:
        apply_weights(loaded.model, read_weights(config.init), str(config.init))
    return loaded, config.init is not None


def _check(config: PretrainConfig) -> None:
    if config.objective not in PAIRINGS:
        raise UnknownNameError.of("objective of image-text pairs", config.objective, PAIRINGS)
    if config.adapter != "none" and (config.fsdp or config.freeze != "none"):
        raise InputError("--adapter freezes the model itself and needs no shards: leave --fsdp and --freeze away")
    if config.adapter_alpha is not None or config.adapter_dropout or config.adapter_targets:
        raise InputError("--adapter-alpha, -dropout and -targets are those of blip2 and diffusion")
    if config.graph is not None and config.fsdp:
        raise InputError("--graph keeps its tower whole in each process; leave --fsdp away")
    if config.save_every and (config.adapter != "none" or config.fsdp):
        raise InputError("--save-every writes whole checkpoints: leave --adapter and --fsdp away")
    for name, works, needed in _only_with(config):
        default = PretrainConfig.__dataclass_fields__[name]
        given = getattr(config, name)
        if not works and given != (default.default_factory() if callable(default.default_factory) else default.default):
            raise SettingError(f"--{name.replace('_', '-')} has no effect without {needed}; leave it away, or add that")


def _only_with(config: PretrainConfig) -> list[tuple[str, bool, str]]:
    """Return settings that work with others alone: their name, whether those are there, and which they are."""
    shown = config.val is not None or config.holdout not in ("0", "0.0")
    fresh = config.init is None or config.init.is_file()
    return [
        ("adapter_rank", config.adapter != "none", "--adapter"),
        ("adapter_towers", config.adapter != "none", "--adapter"),
        ("captioning_weight", config.objective == "coca", "--objective coca"),
        ("graph_weight", config.graph is not None, "--graph"),
        ("distill_weight", config.distill is not None, "--distill"),
        ("cooldown", config.schedule == "constant-cooldown", "--schedule constant-cooldown"),
        ("keep", shown, "images held out to choose by (--holdout, --val)"),
        ("tokenizer", fresh, "a model of its own (--init FOLDER brings its tokenizer)"),
    ]


PAIRS = Trainer(PretrainConfig, pair_inputs, train_pairs)
