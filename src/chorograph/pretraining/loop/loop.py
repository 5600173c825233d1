"""The one loop of pretraining: steps, epochs, validation, history."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from chorograph.ground.errors import ChorographError
from chorograph.ground.stage import Progress, silent
from chorograph.metrics.retrieval import belonging, best_ranks, recalls
from chorograph.models.coca.towers import trim
from chorograph.models.encoders.open_clip import ImageTextModel
from chorograph.pretraining.config import PretrainConfig
from chorograph.pretraining.feeds.feed import Batch, Batches, Place, feed
from chorograph.pretraining.feeds.pairs import Pairs
from chorograph.pretraining.loop.freeze import freeze, make_optimiser, set_training
from chorograph.pretraining.loop.parallel import blocks, restore, spread, state_of
from chorograph.pretraining.loop.resume import Resume
from chorograph.pretraining.loop.step import Portion, Step
from chorograph.pretraining.loop.watch import caption_diversity
from chorograph.pretraining.loop.world import World
from chorograph.pretraining.objectives.objectives import Objective, Towers, clamp_scale
from chorograph.shards.order import rank_share

if TYPE_CHECKING:
    from chorograph.pretraining.objectives.graph_contrast import GraphContrast

History = list[dict[str, Any]]
#: Called with the record of each epoch.
Told = Callable[[Mapping[str, Any]], None]


@dataclass
class Standing:
    """Where a run stands: the batch that comes next, what it counted in this epoch, and what it has behind it."""

    place: Place = (0, 0)
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    history: History = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    best: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Training:
    """A run: what is trained, on what, and where it stands."""

    loaded: ImageTextModel
    objective: Objective
    pairs: Pairs
    held: Pairs
    config: PretrainConfig
    lr: float
    progress: Progress = silent
    world: World = field(default_factory=World)
    resume: Resume | None = None
    told: Told | None = None
    graph: GraphContrast | None = None

    def __post_init__(self) -> None:
        """Make ready; `InputError` where the objective or the settings do not go with the model."""
        model, config, device = self.loaded.model, self.config, self.loaded.device
        self.objective.check(model)
        freeze(model, config.freeze, self.objective)
        if config.checkpointing:
            checkpointed: Any = model
            checkpointed.set_grad_checkpointing(True)
        if config.compile:
            for block in blocks(model):
                block.compile(dynamic=True)
        bare = Towers(model, captions=self.objective.captioning_weight > 0)
        self.towers = spread(bare, self.world, device, shards=config.fsdp)
        self.parameters = [*model.parameters(), *(() if self.graph is None else self.graph.parameters())]
        self.optimiser = make_optimiser(self.parameters, self.lr, config.weight_decay, device)
        precision = autocast_type(device, config.precision)
        self.step = Step(self.towers, model, self.objective, self.world, precision, self.graph)
        self.entities = None if self.graph is None else self.graph.entities(self.pairs.image_ids)
        self.every = Batches(self.pairs, config.batch_size, config.seed, self.world)
        self.an_epoch = -(-len(self.pairs) // config.batch_size)
        self.steps = self.an_epoch * config.epochs
        self.stands = Standing()

    def run(self) -> Standing:
        """Train to the end, from the start or where a killed run left off; the model is changed in place.

        With `keep` best, it ends with the weights of the epoch of lowest validation loss. Raises `ChorographError`
        where the loss stops being a number.
        """
        device = self.loaded.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(self.config.seed + self.world.rank)
            self._take_up()
            self._set_training()
            began = time.perf_counter() - self.stands.seconds
            for batch in feed(
                self.every, self.every.places(self.config.epochs, self.stands.place), self.config.workers
            ):
                self._learn(batch)
                self.stands.seconds = time.perf_counter() - began
                rate = self.stands.rows / max(self.stands.seconds, 1e-9)
                self.progress(
                    f"pretraining {self.loaded.architecture} | {rate:,.0f} images/s", self.stands.step, self.steps
                )
                if batch.place[1] == self.an_epoch - 1:
                    self._end_epoch(batch.place[0])
                    began = time.perf_counter()
                if self.resume is not None and self.world.told(self.resume.due(self.stands.step)):
                    self._save()
        if self.stands.best_weights:
            self.loaded.model.load_state_dict(self.stands.best_weights)
        self.loaded.model.eval()
        return self.stands

    def _learn(self, batch: Batch) -> None:
        stands, config = self.stands, self.config
        rises = warm_up_steps(config.warmup, self.steps)
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * rate_factor(stands.step, self.steps, rises, config.schedule)
        self.optimiser.zero_grad(set_to_none=True)
        sizes = self.world.sizes(len(batch.rows), self.loaded.device)
        if not min(sizes):
            raise ChorographError("none of a batch's images can be read; `chorograph area check` names them")
        entities = None if self.entities is None else self.entities[torch.from_numpy(batch.rows)]
        portions = self._portions(batch, min(config.accumulate, *sizes))
        losses = self.step.backward(portions, entities, (config.seed, *batch.place))
        if not math.isfinite(losses["loss"]):
            raise ChorographError(
                f"the loss is {losses['loss']} at step {stands.step + 1} of {self.steps}; lower --lr (now {self.lr:g})"
            )
        if config.clip_norm is not None:
            clip_gradients(self.parameters, config.clip_norm)
        self.optimiser.step()
        clamp_scale(self.loaded.model)
        for name, value in losses.items():
            stands.sums[name] = stands.sums.get(name, 0.0) + value * sum(sizes)
        if batch.place[0] == 0:  # what cannot be read is met again in every epoch, and counted once
            for reason in batch.dropped:
                stands.dropped[reason] = stands.dropped.get(reason, 0) + 1
        stands.rows += sum(sizes)
        stands.step += 1
        stands.place = (batch.place[0], batch.place[1] + 1)

    def _portions(self, batch: Batch, number: int) -> list[Portion]:
        """Return a batch as portions for the towers: turned, normalised, in tokens."""
        device = self.loaded.device
        config, key = self.config, (self.config.seed, *batch.place)
        pixels = augment(batch.pixels.to(device), config.augment, config.view, key, batch.places, batch.whole)
        portions = []
        for rows in np.array_split(np.arange(len(batch.rows)), number):
            images = self.loaded.preprocessing.normalise(pixels[rows[0] : rows[-1] + 1], device)
            portions.append((images, tokens_of(self.loaded, [batch.texts[row] for row in rows])))
        return portions

    def _end_epoch(self, epoch: int) -> None:
        stands, model = self.stands, self.loaded.model
        started = time.perf_counter()
        logit_scale: Any = model.logit_scale
        record: dict[str, Any] = {"epoch": epoch + 1, "lr": self.optimiser.param_groups[0]["lr"]}
        record |= {f"train_{name}": total / max(stands.rows, 1) for name, total in stands.sums.items()}
        record |= {
            "logit_scale": float(logit_scale.detach().exp()),
            "images_per_s": stands.rows / max(stands.seconds, 1e-9),
        }
        if len(self.held):
            model.eval()
            if self.graph is not None:
                self.graph.eval()
            record |= validate(self.step, self.loaded, self.held, self.config.batch_size)
            if self.objective.captioning_weight and not self.config.fsdp:
                record |= caption_diversity(self.loaded, self.held)
            self._set_training()
        record["seconds"] = stands.seconds + time.perf_counter() - started
        record = {k: round(v, 6) if isinstance(v, float) and k != "lr" else v for k, v in record.items()}
        stands.history.append(record)
        if self.config.keep == "best" and record.get("val_loss", math.inf) < stands.best:
            stands.best = record["val_loss"]
            stands.best_weights = {k: v.detach().clone() for k, v in model.state_dict().items()}
        stands.place, stands.sums, stands.rows, stands.seconds = (epoch + 1, 0), {}, 0, 0.0
        if self.world.first:
            if self.told is not None:
                self.told(record)
            if self.resume is not None:
                self.resume.show(stands.history)

    def _set_training(self) -> None:
        set_training(self.loaded.model, self.config.freeze)
        if self.graph is not None:
            self.graph.train()

    def _save(self) -> None:
        """Save a state: what the next step depends on, and what has been counted."""
        state = state_of(self.towers, self.optimiser)
        devices = [torch.cuda.get_rng_state()] if self.loaded.device.type == "cuda" else []
        random = self.world.all([torch.get_rng_state(), *devices])
        dropped = together(self.world, self.stands.dropped)
        if self.resume is not None and self.world.first:
            stands = {**vars(self.stands), "place": list(self.stands.place), "dropped": dropped}
            beside = {} if self.graph is None else {"graph": self.graph.state_dict()}
            self.resume.save(self.stands.step, {**state, **beside, "random": random, "stands": stands})
        self.world.wait()

    def _take_up(self) -> None:
        state = None if self.resume is None else self.resume.load()
        if state is None:
            return
        restore(self.towers, self.optimiser, state)
        if self.graph is not None:
            self.graph.load_state_dict(state["graph"])
        stands = state["stands"]
        dropped = stands["dropped"] if self.world.first else {}
        self.stands = Standing(**{**stands, "place": tuple(stands["place"]), "dropped": dropped})
        # With another number of processes there are other draws to make: dropout then goes on from the seed.
        if len(state["random"]) == self.world.size:
            mine = state["random"][self.world.rank]
            torch.set_rng_state(mine[0])
            if len(mine) > 1 and self.loaded.device.type == "cuda":
                torch.cuda.set_rng_state(mine[1])


def together(world: World, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the sums of what all processes counted."""
    total: dict[str, int] = {}
    for part in world.all(dict(counts)):
        for reason, number in part.items():
            total[reason] = total.get(reason, 0) + number
    return total


def peak_rate(asked: float | None, trained_before: bool) -> float:
    """Return the peak learning rate: the one asked for, or 1e-3 from scratch and 3e-5 from trained weights."""
    return asked if asked is not None else 3e-5 if trained_before else 1e-3


def rate_factor(step: int, steps: int, rises: int, schedule: str) -> float:
    """Return the learning rate of a step (from 0) as a share of its peak: a linear rise, then cosine or constant."""
    if step < rises:
        return (step + 1) / rises
    if schedule == "constant":
        return 1.0
    return 0.5 * (1 + math.cos(math.pi * (step - rises) / max(steps - rises, 1)))


def warm_up_steps(warmup: float, steps: int) -> int:
    """Return how many steps the learning rate rises: a share of all up to 1, their number above; at least one."""
    return max(round(warmup * steps if warmup <= 1 else warmup), 1)


def clip_gradients(parameters: Sequence[nn.Parameter], most: float) -> None:
    """Scale all gradients down, together, to a norm of at most `most`."""
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    # Of gradients in shards, each process knows its part of the norm only; `full_tensor` puts them together.
    norms: list[Any] = [gradient.norm() for gradient in gradients]
    whole = torch.stack([norm.full_tensor() if hasattr(norm, "full_tensor") else norm for norm in norms]).norm()
    factor = float((most / (whole + 1e-6)).clamp(max=1.0))
    if factor < 1:
        for gradient in gradients:
            gradient.mul_(factor)


def augment(
    pixels: Tensor,
    kind: str,
    view: str,
    key: tuple[int, ...],
    places: np.ndarray[Any, np.dtype[np.int64]] | None = None,
    whole: int | None = None,
) -> Tensor:
    """Turn, mirror and cut uint8 images (n, 3, height, width) as `kind` (`--augment`) says, each one by its own draw.

    Seen from above, no direction is special: all eight symmetries of the square are. From the street, up is up.
    `places` says where in a batch of `whole` images these stand: the draws belong to the places, whoever works on them.
    """
    cut = kind == "crop"
    if kind in ("auto", "crop"):
        kind = "dihedral" if view == "satellite" else "flip"
    if kind == "none":
        return pixels
    places = np.arange(len(pixels)) if places is None else places
    whole = len(pixels) if whole is None else whole
    rng = np.random.default_rng((*key, 3))
    square = pixels.shape[2] == pixels.shape[3]
    ways = 2 if kind == "flip" else 8 if square else 4
    drawn = torch.from_numpy(rng.integers(ways, size=whole)[places]).to(pixels.device)
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
    return _cut(turned, rng.random((whole, 3))[places]) if cut else turned


def _cut(pixels: Tensor, draws: np.ndarray[Any, np.dtype[np.float64]]) -> Tensor:
    """Cut out a part of 50 to 100 % of each image's area, anywhere, and enlarge it (bilinear) to the whole."""
    side = np.sqrt(0.5 + 0.5 * draws[:, 0])
    shift = (2 * draws[:, 1:] - 1) * (1 - side[:, None])
    maps = torch.zeros(len(pixels), 2, 3)
    maps[:, 0, 0] = maps[:, 1, 1] = torch.from_numpy(side)
    maps[:, :, 2] = torch.from_numpy(shift)
    grid = functional.affine_grid(maps.to(pixels.device), list(pixels.shape), align_corners=False)
    cut = functional.grid_sample(pixels.float(), grid, padding_mode="border", align_corners=False)
    return cut.round_().clamp_(0, 255).to(torch.uint8)


def validate(step: Step, loaded: ImageTextModel, held: Pairs, batch_size: int) -> dict[str, float]:
    """Return the losses and the retrieval scores of held-out pairs, every process doing its share.

    Losses are means over all samples of all batches, in a fixed order, each image with its first caption; the
    contrastive one depends on the batch size, as it does in training. Retrieval uses every caption. Of images that are
    decoded as they come, those that cannot be are left out.
    """
    sums: dict[str, float] = defaultdict(float)
    images, kept = [], []
    world, device = step.world, loaded.device
    with torch.inference_mode():
        for batch in np.array_split(np.arange(len(held)), -(-len(held) // batch_size)):
            rows = rank_share(batch, world.rank, world.size)
            pixels, reasons = held.images.read(rows)
            rows = rows[[reason is None for reason in reasons]]
            tokens = tokens_of(loaded, [held.captions[row][0] for row in rows.tolist()])
            entities = None if step.graph is None else step.graph.entities([held.image_ids[row] for row in rows])
            losses, features = step.losses((loaded.preprocessing.normalise(pixels, device), tokens), entities)
            images.append(features.cpu())
            together = [row for part in world.all(rows.tolist()) for row in part]
            kept += together
            for name, value in losses.items():
                sums[name] += value * len(together)
        texts, pairs = belonging([held.captions[row] for row in kept])
        parts = [
            step.texts(tokens_of(loaded, texts[start : start + batch_size])).cpu()
            for start in range(0, len(texts), batch_size)
        ]
    found = {f"val_{name}": total / max(len(kept), 1) for name, total in sums.items()}
    return {**found, **recalls(best_ranks(torch.cat(images).numpy(), torch.cat(parts).numpy(), pairs))}


def autocast_type(device: torch.device, precision: str) -> torch.dtype | None:
    """Return the type to compute in where `precision` says bf16; `auto` means so on CUDA only. None: the weights' own.

    bfloat16 has the exponents of float32: no gradient is lost to underflow, and no loss scaler is needed.
    """
    wanted = precision == "bf16" or (precision == "auto" and device.type == "cuda")
    return torch.bfloat16 if wanted else None


def tokens_of(loaded: ImageTextModel, texts: list[str]) -> Tensor:
    """Return the token ids (n, length) of texts, without the padding that changes nothing."""
    return trim(loaded.model, loaded.tokenizer(texts)).to(loaded.device)
