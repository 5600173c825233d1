"""`pretrain`: pairs of an area in, a checkpoint folder out."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from chorograph.area.config import plain
from chorograph.area.errors import InputError
from chorograph.area.folder import Area
from chorograph.area.stage import Ledger, Progress, silent
from chorograph.models.checkpoint import check_target, load_checkpoint, save_checkpoint
from chorograph.models.coca import is_coca
from chorograph.models.openclip import ImageTextModel, load_open_clip, new_model
from chorograph.models.weights import apply_weights, read_weights
from chorograph.pretrain.config import PretrainConfig
from chorograph.pretrain.loop import History, train
from chorograph.pretrain.objectives import objective as objective_named
from chorograph.pretrain.pairs import Pairs, load_pairs

_LR_SCRATCH, _LR_TRAINED = 1e-3, 3e-5


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
    area: Area, config: PretrainConfig, *, ledger: Ledger | None = None, progress: Progress = silent
) -> PretrainResult:
    """Train on the image-text pairs of an area and write a checkpoint folder at `config.out`.

    Counts and drops go into `ledger`. Nothing is written before the end, and then all at once. Raises `InputError` for
    settings or an area that cannot be trained with.
    """
    ledger = Ledger() if ledger is None else ledger
    _check(config)
    check_target(config.out)
    objective = objective_named(config.objective)
    config = replace(config, device=_device(config.device))
    started = time.perf_counter()
    loaded, trained_before = _start(area, config)
    objective.check(loaded.model)
    pairs, held, how = load_pairs(
        area,
        loaded.preprocessing,
        view=config.view,
        holdout=config.holdout,
        seed=config.seed,
        ledger=ledger,
        progress=progress,
        scratch=config.out.parent,
    )
    if config.shuffle_captions:
        pairs = pairs.shuffled(config.seed)
        ledger.warnings.append("captions were shuffled over the images: a control, not a model to use")
    loaded.model.to(config.device)
    lr = config.lr if config.lr is not None else _LR_TRAINED if trained_before else _LR_SCRATCH
    history = train(loaded, objective, pairs, held, config, lr=lr, progress=progress)
    facts = {
        "objective": objective.name,
        "seed": config.seed,
        "area": {"name": area.name, "title": area.title, "synthetic": area.synthetic},
        "held_out": how,
        "settings": {**plain(config), "lr": lr},
        "counts": dict(ledger.counts),
        "dropped": dict(ledger.dropped),
        "versions": {name: version(name) for name in ("chorograph", "torch", "open_clip_torch")},
        "wall_s": round(time.perf_counter() - started, 1),
    }
    card = _card(area, loaded, facts, history)
    save_checkpoint(config.out, loaded, facts=facts, card=card, history=history, seen=_hashes(area, pairs))
    ledger.facts["held out"] = how
    ledger.facts["last epoch"] = history[-1]
    return PretrainResult(config.out, loaded, history, how)


def _hashes(area: Area, pairs: Pairs) -> list[str]:
    images = area.images
    return images.loc[images["image_id"].isin(pairs.image_ids) & images["sha256"].notna(), "sha256"].tolist()


def _start(area: Area, config: PretrainConfig) -> tuple[ImageTextModel, bool]:
    """Return the model to begin with, and whether it has been trained before."""
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
    loaded = new_model(name, seed=config.seed, captions=area.captions["caption"].tolist(), compact=compact)
    if config.init is not None:
        apply_weights(loaded.model, read_weights(config.init), str(config.init))
    return loaded, config.init is not None


def _check(config: PretrainConfig) -> None:
    for name, least in (("epochs", 1), ("batch_size", 2)):
        if getattr(config, name) < least:
            raise InputError(f"{name} must be at least {least}, not {getattr(config, name)}")
    if config.lr is not None and config.lr <= 0:
        raise InputError(f"lr must be positive, not {config.lr:g}")
    if not 0 <= config.warmup <= 1:
        raise InputError(f"warmup is a share of the steps, from 0 to 1, not {config.warmup:g}")
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device {config.device} was asked for, but torch sees no CUDA device; use --device cpu")


def _device(asked: str) -> str:
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def _card(area: Area, loaded: ImageTextModel, facts: dict[str, Any], history: History) -> str:
    """Return the model card: what it is, what it saw, how well it does, what it is not for."""
    last = history[-1]
    parameters = sum(parameter.numel() for parameter in loaded.model.parameters())
    kind = "CoCa" if is_coca(loaded.model) else "CLIP"
    sources = "\n".join(f"- {s.name}: licence {s.licence}. {s.attribution}".rstrip() for s in area.sources)
    scores = "\n".join(
        f"| {name} | {value:.4f} |"
        for name, value in last.items()
        if name.startswith(("train_", "val_", "image_to", "text_to", "mean_")) and isinstance(value, float)
    )
    made_up = "The area is **synthetic**: nothing here says anything about a real place.\n\n" if area.synthetic else ""
    settings = facts["settings"]
    shuffled = "**A control**: captions were shuffled over the images.\n\n" if settings["shuffle_captions"] else ""
    return f"""# {loaded.architecture} on {area.title}

A {kind} ({loaded.architecture}, {parameters:,} parameters), objective {facts["objective"]}, trained by chorograph
{facts["versions"]["chorograph"]} on {facts["counts"]["images trained on"]:,} images with
{facts["counts"]["captions trained on"]:,} captions for {settings["epochs"]} epochs
(learning rate {settings["lr"]:g}, batch {settings["batch_size"]}, seed {facts["seed"]}).

{shuffled}{made_up}## Data

{sources or "- the area names no sources"}

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
