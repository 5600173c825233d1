"""Going on where a run was killed: states of it beside its target, each whole or absent, the last two kept."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from chorograph.ground.drafts import sweep
from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path, write_json_lines

_KEPT = 2
_INTERVAL = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)?")
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_FORMAT = "chorograph-run-2"


@dataclass(frozen=True)
class Interval:
    """How often: every `steps` steps or every `seconds` seconds, whichever is given."""

    steps: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, text: str) -> Interval:
        """Read `500` (steps) or `600s`, `10m`, `2h`; `InputError` for anything else."""
        match = _INTERVAL.fullmatch(text.strip())
        if match is None or float(match[1]) <= 0 or (match[2] is None and "." in match[1]):
            raise InputError(f"checkpoint_every is a number of steps (500) or a time (600s, 10m, 2h), not {text!r}")
        if match[2] is None:
            return cls(steps=int(match[1]))
        return cls(seconds=float(match[1]) * _SECONDS[match[2]])

    def due(self, step: int, seconds: float) -> bool:
        """Return whether it is time, `step` steps into the run and `seconds` after the last time."""
        if self.steps is not None:
            return step % self.steps == 0
        return self.seconds is not None and seconds >= self.seconds


@dataclass
class Resume:
    """The states of one run in `folder`; `asked` is what must be the same for a state to be taken up.

    `which`: the `latest`, `never` any, or the path of a state, which may lie elsewhere.
    """

    folder: Path
    interval: Interval
    asked: Mapping[str, Any]
    which: str = "latest"
    _last: float = field(default_factory=time.monotonic, init=False)

    def due(self, step: int) -> bool:
        """Return whether a state should be saved after `step` steps."""
        return self.interval.due(step, time.monotonic() - self._last)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Write a state, then remove all but the last two."""
        with atomic_path(self.folder / f"step-{step:09d}.pt") as path:
            torch.save({"format": _FORMAT, "asked": dict(self.asked), **state}, path)
        for old in self._found()[:-_KEPT]:
            old.unlink()
        self._last = time.monotonic()

    def load(self) -> dict[str, Any] | None:
        """Return the last state that can be read, or None where there is none.

        Raises `InputError` where a run with other settings or data stands there: it is never thrown away unasked.
        """
        sweep(self.folder)  # what was half-written when the run was killed
        if self.which == "never":
            self.clear()
        named = self.which not in ("latest", "never")
        if named and not Path(self.which).is_file():
            raise InputError(f"{self.which} is no state of a run; --resume is latest, never, or the path of one")
        for path in [Path(self.which)] if named else reversed(self._found()):
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except (RuntimeError, EOFError, OSError, ValueError):
                continue
            if state.get("format") != _FORMAT:
                continue
            before = state["asked"]
            changed = [key for key in self.asked if before.get(key) != self.asked[key]]
            if changed:
                was = ", ".join(f"{key} was {before.get(key)!r} and is {self.asked[key]!r}" for key in changed)
                raise InputError(
                    f"{path.parent} holds an unfinished run of other settings ({was}); "
                    f"give these again to go on with it, or remove the folder to begin anew (--resume never)"
                )
            return state
        if named:
            raise InputError(f"{self.which} cannot be read as a state of a run")
        return None

    def show(self, history: Sequence[Mapping[str, Any]]) -> None:
        """Write the records of the epochs so far, for whoever watches the run."""
        write_json_lines(self.folder / "history.jsonl", history)

    def clear(self) -> None:
        """Remove the states: the run is finished and written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _found(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.pt"))
