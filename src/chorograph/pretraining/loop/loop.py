"""The one loop of everything that is trained: order, steps, validation, history, states to go on from."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic

import torch
from torch import Tensor

from chorograph.ground.errors import ChorographError
from chorograph.ground.stage import Progress, silent
from chorograph.models.norms import sync_norms
from chorograph.pretraining.config import LoopSettings
from chorograph.pretraining.feeds.feed import feed
from chorograph.pretraining.loop.objective import B, Objective, Place, Source
from chorograph.pretraining.loop.optimiser import clip_gradients, make_optimiser, rate_factor, warm_up_steps
from chorograph.pretraining.loop.parallel import bare, blocks, restore, spread, state_of
from chorograph.pretraining.loop.resume import Resume
from chorograph.pretraining.loop.step import Step
from chorograph.pretraining.loop.world import World

History = list[dict[str, Any]]
#: Called after each epoch, with the records so far.
OnEpoch = Callable[[History], None]
#: Called after each step, with its number and what it came to.
OnStep = Callable[[int, Mapping[str, float]], None]


@dataclass
class State:
    """How far a run is: the batch that comes next, what it counted in this epoch, and what it has behind it."""

    place: Place = (0, 0)
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    rows: int = 0
    seconds: float = 0.0
    history: History = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    best: float = math.inf
    best_weights: dict[str, Tensor] = field(default_factory=dict)
    average: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class Loop(Generic[B]):
    """A run: what is trained, on what, how, and how far it is."""

    objective: Objective[B]
    source: Source[B]
    settings: LoopSettings
    lr: float
    progress: Progress = silent
    world: World = field(default_factory=World)
    resume: Resume | None = None
    on_epoch: OnEpoch | None = None
    on_step: OnStep | None = None

    def __post_init__(self) -> None:
        """Make ready; `InputError` where the settings do not go with the objective."""
        objective, settings, self.device = self.objective, self.settings, self.objective.device
        if settings.checkpointing:
            objective.save_memory()
        if settings.compile:
            for block in blocks(objective.module):
                block.compile(dynamic=True)
        if settings.sync_batchnorm and self.world.size > 1:
            sync_norms(objective.module)
        self.module = spread(objective, self.world, shards=settings.fsdp)
        self.parameters = objective.parameters()
        betas = (settings.beta1, settings.beta2)
        self.optimiser = make_optimiser(
            self.parameters, self.lr, settings.weight_decay, self.device, betas=betas, epsilon=settings.epsilon
        )
        self.scaler = torch.amp.GradScaler(self.device.type) if settings.precision == "fp16" else None
        precision = autocast_type(self.device, settings.precision)
        self.step = Step(objective, self.module, self.world, precision, self.scaler)
        self.steps = self.source.an_epoch * settings.epochs
        self.state = State()
        self.losses: dict[str, float] = {}

    def run(self) -> State:
        """Train to the end, from the start or where a killed run left off; the modules are changed in place.

        With `keep` best, they end with the weights of the epoch of lowest validation loss, with `ema` with the running
        average. Raises `ChorographError` where the loss stops being a number.
        """
        cuda = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda):
            if not self.objective.alike:
                torch.manual_seed(self.settings.seed + self.world.rank)
            self._take_up()
            self.objective.train(True)
            began = time.perf_counter() - self.state.seconds
            for batch in feed(self.source, self._places(), self.settings.workers):
                self.learn(batch)
                self.state.seconds = time.perf_counter() - began
                rate = self.state.rows / max(self.state.seconds, 1e-9)
                if self.on_step is not None:
                    self.on_step(self.state.step, {**self.losses, f"{self.objective.rows}_per_s": rate})
                self.progress(
                    f"{self.objective.what} | {rate:,.0f} {self.objective.rows}/s", self.state.step, self.steps
                )
                if self.state.place[1] == self.source.an_epoch:
                    self._end_epoch()
                    began = time.perf_counter()
                if self.resume is not None and self.world.told(self.resume.due(self.state.step)):
                    self._save()
        module = bare(self.module)
        module.load_state_dict(self.state.best_weights or self.state.average, strict=False)
        self.objective.train(False)
        return self.state

    def learn(self, batch: B) -> None:
        """Take one step."""
        state, settings = self.state, self.settings
        place: Place = batch.place  # type: ignore[assignment]  # only those of validation have none
        self._set_rate(place[0])
        self.optimiser.zero_grad(set_to_none=True)
        sizes = self.world.sizes(len(batch), self.device)
        if not min(sizes):
            raise ChorographError("none of a batch's images can be read; `chorograph area check` names them")
        losses = self.step.backward(batch, self.objective.portions(batch, min(settings.accumulate, *sizes)))
        if not math.isfinite(losses["loss"]):
            raise ChorographError(
                f"the loss is {losses['loss']} at step {state.step + 1} of {self.steps}; lower --lr (now {self.lr:g})"
            )
        self._move(losses)
        self.objective.clamp()
        self.losses = {**losses, "lr": self.optimiser.param_groups[0]["lr"]}
        for name, value in losses.items():
            state.sums[name] = state.sums.get(name, 0.0) + value * sum(sizes)
        if place[0] == 0:  # what cannot be read is met again in every epoch, and counted once
            for reason in batch.dropped:
                state.dropped[reason] = state.dropped.get(reason, 0) + 1
        state.rows += sum(sizes)
        state.step += 1
        state.place = (place[0], place[1] + 1)

    def _places(self) -> Iterator[Place]:
        return places(self.settings.epochs, self.source.an_epoch, self.state.place)

    def _set_rate(self, epoch: int) -> None:
        settings, state = self.settings, self.state
        if settings.schedule == "cosine-epochs":
            factor = rate_factor(epoch, settings.epochs, 0, "cosine")
        else:
            rises = warm_up_steps(settings.warmup, self.steps)
            falls = warm_up_steps(settings.cooldown, self.steps)
            factor = rate_factor(state.step, self.steps, rises, settings.schedule, falls)
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * factor

    def _move(self, losses: dict[str, float]) -> None:
        """Let the optimiser take its step; the norm of the gradients goes into `losses` where it is wanted."""
        settings = self.settings
        if self.scaler is not None:
            self.scaler.unscale_(self.optimiser)
        if settings.clip_norm is not None or settings.tensorboard is not None:
            norm = clip_gradients(self.parameters, settings.clip_norm or math.inf)
            # The scaler of float16 begins too high, and skips steps until it is not.
            losses["gradient_norm"] = norm if math.isfinite(norm) else 0.0
        if self.scaler is not None:
            self.scaler.step(self.optimiser)
            self.scaler.update()
        else:
            self.optimiser.step()
        if settings.ema:
            self._average()

    @torch.no_grad()
    def _average(self) -> None:
        # As in diffusers: the first steps count more, or the average would begin with weights that know nothing.
        decay = min(self.settings.ema, (1 + self.state.step) / (10 + self.state.step))
        for name, parameter in bare(self.module).named_parameters():
            if parameter.requires_grad:
                kept = self.state.average.setdefault(name, parameter.detach().clone())
                kept.lerp_(parameter.detach(), 1 - decay)

    def _end_epoch(self) -> None:
        state, epoch = self.state, self.state.place[0]
        started = time.perf_counter()
        record: dict[str, Any] = {"epoch": epoch + 1, "lr": self.optimiser.param_groups[0]["lr"]}
        record |= {f"train_{name}": total / max(state.rows, 1) for name, total in state.sums.items()}
        record |= self.objective.facts()
        record[f"{self.objective.rows}_per_s"] = state.rows / max(state.seconds, 1e-9)
        self.objective.train(False)
        record |= validate(self.step, self.source.held())
        self.objective.train(True)
        record["seconds"] = state.seconds + time.perf_counter() - started
        record = {k: round(v, 6) if isinstance(v, float) and k != "lr" else v for k, v in record.items()}
        state.history.append(record)
        if self.settings.keep == "best" and record.get("val_loss", math.inf) < state.best:
            state.best = record["val_loss"]
            state.best_weights = {k: v.detach().clone() for k, v in bare(self.module).state_dict().items()}
        state.place, state.sums, state.rows, state.seconds = (epoch + 1, 0), {}, 0, 0.0
        if self.world.first:
            if self.on_epoch is not None:
                self.on_epoch(state.history)
            if self.resume is not None:
                self.resume.show(state.history)

    def _save(self) -> None:
        """Save a state: what the next step depends on, and what has been counted."""
        weights = state_of(self.module, self.optimiser)
        devices = [torch.cuda.get_rng_state()] if self.device.type == "cuda" else []
        random = self.world.all([torch.get_rng_state(), *devices])
        dropped = together(self.world, self.state.dropped)
        if self.resume is not None and self.world.first:
            beside = {
                "head": self.objective.head.state_dict(),
                "source": self.source.state(),
                "scaler": {} if self.scaler is None else self.scaler.state_dict(),
                "random": random,
                "state": {**vars(self.state), "place": list(self.state.place), "dropped": dropped},
            }
            self.resume.save(self.state.step, {**weights, **beside})
        self.world.wait()

    def _take_up(self) -> None:
        saved = None if self.resume is None else self.resume.load()
        if saved is None:
            return
        restore(self.module, self.optimiser, saved)
        self.objective.head.load_state_dict(saved["head"])
        self.source.restore(saved["source"])
        if self.scaler is not None:
            self.scaler.load_state_dict(saved["scaler"])
        state = saved["state"]
        dropped = state["dropped"] if self.world.first else {}
        self.state = State(**{**state, "place": tuple(state["place"]), "dropped": dropped})
        # With another number of processes there are other draws to make: dropout then goes on from the seed.
        if len(saved["random"]) == self.world.size or self.objective.alike:
            mine = saved["random"][min(self.world.rank, len(saved["random"]) - 1)]
            torch.set_rng_state(mine[0])
            if len(mine) > 1 and self.device.type == "cuda":
                torch.cuda.set_rng_state(mine[1])


def places(epochs: int, an_epoch: int, start: Place = (0, 0)) -> Iterator[Place]:
    """Yield the places of the batches of `epochs` epochs, from `start` on."""
    every = ((epoch, number) for epoch in range(start[0], epochs) for number in range(an_epoch))
    return (place for place in every if place >= start)


def validate(step: Step[B], batches: Iterator[B]) -> dict[str, Any]:
    """Return the losses of held-out batches, means over their rows, and what the objective measures beside.

    Every process does its share. A contrastive loss depends on the batch size, as it does in training.
    """
    sums: dict[str, float] = defaultdict(float)
    kept: list[B] = []
    features, rows = [], 0
    with torch.inference_mode():
        for batch in batches:
            losses, sides = step.losses(batch)
            number = sum(step.world.sizes(len(batch), step.objective.device))
            kept.append(batch)
            features.append(tuple(side.cpu() for side in sides))
            rows += number
            for name, value in losses.items():
                sums[name] += value * number
        found = {f"val_{name}": total / max(rows, 1) for name, total in sums.items()}
        return {**found, **(step.objective.measure(step, kept, features) if kept else {})}


def together(world: World, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the sums of what all processes counted."""
    total: dict[str, int] = {}
    for part in world.all(dict(counts)):
        for reason, number in part.items():
            total[reason] = total.get(reason, 0) + number
    return total


def autocast_type(device: torch.device, precision: str) -> torch.dtype | None:
    """Return the type to compute in where `precision` says one; `auto` is bf16 on CUDA. None: the weights' own.

    bfloat16 has the exponents of float32: no gradient is lost to underflow, and no loss scaler is needed.
    """
    wanted = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
    return torch.bfloat16 if precision == "auto" and device.type == "cuda" else wanted
