"""The one loop of pretraining: steps, epochs, validation, history."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from chorograph.area.errors import ChorographError
from chorograph.area.stage import Progress
from chorograph.metrics.retrieval import belonging, best_ranks, recalls
from chorograph.models.coca import trim
from chorograph.models.openclip import ImageTextModel
from chorograph.pretrain.config import PretrainConfig
from chorograph.pretrain.objectives import Objective, clamp_scale
from chorograph.pretrain.pairs import Pairs, batches

History = list[dict[str, Any]]


def train(
    loaded: ImageTextModel,
    objective: Objective,
    pairs: Pairs,
    held: Pairs,
    config: PretrainConfig,
    *,
    lr: float,
    progress: Progress,
) -> History:
    """Train a model in place; returns one record an epoch.

    With `keep` best, the model ends with the weights of the epoch of lowest validation loss. Raises `ChorographError`
    where the loss stops being a number.
    """
    objective.check(loaded.model)
    optimiser = make_optimiser(loaded.model, lr, config.weight_decay, loaded.device)
    steps_an_epoch = -(-len(pairs) // config.batch_size)
    steps = steps_an_epoch * config.epochs
    rises = max(round(config.warmup * steps), 1)
    history: History = []
    best: tuple[float, dict[str, Tensor]] = (math.inf, {})
    step = 0
    with torch.random.fork_rng(devices=[loaded.device] if loaded.device.type == "cuda" else []):
        torch.manual_seed(config.seed)
        for epoch in range(config.epochs):
            started = time.perf_counter()
            sums: dict[str, float] = defaultdict(float)
            loaded.model.train()
            for number, rows in enumerate(batches(len(pairs), config.batch_size, epoch, config.seed)):
                for group in optimiser.param_groups:
                    group["lr"] = lr * rate_factor(step, steps, rises, config.schedule)
                turned = augment(pairs.pixels[torch.from_numpy(rows)], config, (config.seed, epoch, number))
                texts = pairs.captions_at(rows, epoch, config.seed)
                losses = _step(loaded, objective, optimiser, turned, texts, config.precision)
                if not math.isfinite(losses["loss"]):
                    raise ChorographError(
                        f"the loss is {losses['loss']} at step {step + 1} of {steps}; lower --lr (now {lr:g})"
                    )
                for name, value in losses.items():
                    sums[name] += value * len(rows)
                step += 1
                progress(f"pretraining {loaded.architecture}", step, steps)
            seconds = time.perf_counter() - started
            record: dict[str, Any] = {"epoch": epoch + 1, "lr": optimiser.param_groups[0]["lr"]}
            record |= {f"train_{name}": total / len(pairs) for name, total in sums.items()}
            record |= {"logit_scale": _logit_scale(loaded.model), "images_per_s": len(pairs) / seconds}
            if len(held):
                record |= validate(loaded, objective, held, config)
            record["seconds"] = time.perf_counter() - started
            history.append({k: round(v, 6) if isinstance(v, float) and k != "lr" else v for k, v in record.items()})
            if config.keep == "best" and record.get("val_loss", math.inf) < best[0]:
                best = (record["val_loss"], {k: v.detach().clone() for k, v in loaded.model.state_dict().items()})
    if best[1]:
        loaded.model.load_state_dict(best[1])
    loaded.model.eval()
    return history


def make_optimiser(model: nn.Module, lr: float, weight_decay: float, device: torch.device) -> torch.optim.Optimizer:
    """Return AdamW in its fused form; biases, norms and scales (fewer than two dimensions) are not decayed."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, fused=device.type in ("cpu", "cuda"))


def rate_factor(step: int, steps: int, rises: int, schedule: str) -> float:
    """Return the learning rate of a step (from 0) as a share of its peak: a linear rise, then cosine or constant."""
    if step < rises:
        return (step + 1) / rises
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rises) / max(steps - rises, 1)))


def augment(pixels: Tensor, config: PretrainConfig, key: tuple[int, ...]) -> Tensor:
    """Turn and mirror uint8 images (n, 3, height, width) as `config.augment` says, each one by its own draw.

    Seen from above, no direction is special: all eight symmetries of the square are. From the street, up is up.
    """
    kind = config.augment
    if kind == "auto":
        kind = "dihedral" if config.view == "satellite" else "flip"
    if kind == "none":
        return pixels
    rng = np.random.default_rng((*key, 3))
    square = pixels.shape[2] == pixels.shape[3]
    ways = 2 if kind == "flip" else 8 if square else 4
    drawn = torch.from_numpy(rng.integers(ways, size=len(pixels)))
    turned = pixels.clone()
    for way in range(1, ways):
        chosen = drawn == way
        part = pixels[chosen]
        if way & 1:
            part = part.flip(3)
        if way & 2:
            part = part.flip(2)
        if way & 4:
            part = part.transpose(2, 3)
        turned[chosen] = part
    return turned


def validate(loaded: ImageTextModel, objective: Objective, held: Pairs, config: PretrainConfig) -> dict[str, float]:
    """Return the losses and the retrieval scores of held-out pairs.

    Losses are means over all samples of all batches, in a fixed order, each image with its first caption; the
    contrastive one depends on the batch size, as it does in training. Retrieval uses every caption.
    """
    loaded.model.eval()
    sums: dict[str, float] = defaultdict(float)
    images = []
    with torch.inference_mode():
        for rows in np.array_split(np.arange(len(held)), -(-len(held) // config.batch_size)):
            pixels = held.pixels[torch.from_numpy(rows)]
            with autocast(loaded.device, config.precision):
                tokens = _tokens(loaded, [held.captions[row][0] for row in rows])
                losses = objective(loaded.model, loaded.preprocessing.normalise(pixels, loaded.device), tokens)
                images.append(loaded.encode_pixels(pixels).float().cpu())
            for name, value in losses.items():
                sums[name] += float(value) * len(rows)
        texts, pairs = belonging(held.captions)
        parts = [
            loaded.encode_texts(texts[start : start + config.batch_size]).float().cpu()
            for start in range(0, len(texts), config.batch_size)
        ]
    ranks = best_ranks(torch.cat(images).numpy(), torch.cat(parts).numpy(), pairs)
    return {**{f"val_{name}": total / len(held) for name, total in sums.items()}, **recalls(ranks)}


@contextmanager
def autocast(device: torch.device, precision: str) -> Iterator[None]:
    """Compute in bfloat16 where `precision` says so; `auto` means so on CUDA only."""
    wanted = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    with torch.autocast(device.type, torch.bfloat16, enabled=wanted):
        yield


def _step(
    loaded: ImageTextModel,
    objective: Objective,
    optimiser: torch.optim.Optimizer,
    pixels: Tensor,
    texts: list[str],
    precision: str,
) -> dict[str, float]:
    with autocast(loaded.device, precision):
        images = loaded.preprocessing.normalise(pixels, loaded.device)
        losses = objective(loaded.model, images, _tokens(loaded, texts))
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(losses["loss"])
    optimiser.step()
    clamp_scale(loaded.model)
    return {name: float(value.detach()) for name, value in losses.items()}


def _tokens(loaded: ImageTextModel, texts: list[str]) -> Tensor:
    return trim(loaded.model, loaded.tokenizer(texts)).to(loaded.device)


def _logit_scale(model: nn.Module) -> float:
    towers: Any = model
    return float(towers.logit_scale.detach().exp())
