"""What is around a run: who is told, which processes take part, where its states are kept."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from chorograph.ground.errors import InputError
from chorograph.ground.settings import plain
from chorograph.ground.stage import Progress, fingerprint, silent
from chorograph.models.devices import device_of
from chorograph.pretraining.config import FREE, LoopSettings
from chorograph.pretraining.loop.loop import History, Loop, OnEpoch, State, together
from chorograph.pretraining.loop.objective import B, Objective, Source
from chorograph.pretraining.loop.resume import Interval, Resume
from chorograph.pretraining.loop.watch import Board
from chorograph.pretraining.loop.world import World, in_world, join_world


@dataclass(frozen=True)
class Session:
    """A call of the library that trains: `states` is the folder of what a killed run goes on from, None for none."""

    progress: Progress = silent
    world: World = field(default_factory=World)
    states: Path | None = None
    on_epoch: OnEpoch | None = None
    device: str = "cpu"

    def train(self, objective: Objective[B], source: Source[B], settings: LoopSettings, lr: float, data: str) -> State:
        """Train an objective to the end, and return how it went; `data` changes when what is learnt from does.

        Of images that could not be read, the state has the counts of all processes.
        """
        resume = None
        if self.states is not None:
            asked = {name: value for name, value in plain(settings).items() if name not in FREE}
            asked |= {"objective": objective.name, "data": data}
            resume = Resume(self.states, Interval.parse(settings.checkpoint_every), asked, settings.resume)
        board = None
        if settings.tensorboard is not None and self.world.first:
            board = Board(settings.tensorboard, settings.log_every)

        def on_epoch(history: History) -> None:
            if board is not None:
                board.write(history[-1])
            if self.on_epoch is not None:
                self.on_epoch(history)

        on_step = None if board is None else board.write_step
        loop = Loop(objective, source, settings, lr, self.progress, self.world, resume, on_epoch, on_step)
        state = loop.run()
        self.progress(f"{objective.what} (done)", loop.steps, loop.steps)
        return replace(state, dropped=together(self.world, state.dropped))


@contextmanager
def session(settings: LoopSettings, states: Path | None, progress: Progress = silent) -> Iterator[Session]:
    """Join the processes that train together, if there are several; only the first one says how far it is.

    Where the block ends well, all is written: states are removed, and the others waited for. Raises `InputError` for
    settings that cannot be meant.
    """
    check(settings)
    device = device_of(settings.device)
    with join_world(device) as world:
        yield Session(progress if world.first else silent, world, states, device=device)
        if states is not None and world.first:
            Resume(states, Interval(steps=1), {}).clear()
        world.wait()


def states_of(out: Path) -> Path:
    """Return the folder of the states of a run that writes `out`: beside it."""
    return out.with_name(f"{out.name}.resume")


def check(settings: LoopSettings) -> None:
    """Raise `InputError` for settings of the loop that cannot be meant."""
    if settings.fsdp and (settings.keep == "best" or settings.ema):
        raise InputError("--fsdp keeps no second copy of the weights; use --keep last, and no --ema")
    if settings.fsdp and settings.precision == "fp16":
        raise InputError("--fsdp has no loss scaler; use --precision bf16")
    if settings.fsdp and not in_world():
        raise InputError("--fsdp parts a model among the processes of torchrun; start it with torchrun")
    Interval.parse(settings.checkpoint_every)
    device_of(settings.device)


def contents(files: Iterable[Path]) -> str:
    """Return what changes when the content of one of these files does."""
    return hashlib.sha256("\n".join(fingerprint(path) for path in files).encode()).hexdigest()
