"""Rows that were under way when a process died, taken up apart: one that kills its process costs itself alone.

A decoder may end its process and not raise. So the keys of a batch are written down while a step judges it. What is
found written down at the next start is judged by a child process first; where that dies too, the rows are halved until
the ones remain at which it does.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chorograph.curation.rows import Context, Drop, Row, RowStep
from chorograph.curation.run.guard import apply_guarded

#: How the reason of a row begins at which a process died.
DIES = "the process dies at it"
_SUFFIX = ".under-way"
_READY = b"R"
_CHILD = "from chorograph.curation.run.apart import _serve; _serve()"


@contextmanager
def under_way(folder: Path, rows: Sequence[Row]) -> Iterator[None]:
    """Keep the keys of rows written down in a folder while the block runs; a killed process leaves them there."""
    path = folder / f"{uuid.uuid4().hex}{_SUFFIX}"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(np.array([row["key"] for row in rows], dtype=np.uint64).tobytes())
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def suspects(folder: Path) -> set[int]:
    """Return the keys of the rows that were under way in a folder when processes died."""
    found: set[int] = set()
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError):  # another process has just finished with them
            held = path.read_bytes()
            found.update(np.frombuffer(held[: len(held) // 8 * 8], dtype=np.uint64).tolist())
    return found


def forget(folder: Path) -> None:
    """Forget what was under way: all of it is judged."""
    for path in folder.glob(f"*{_SUFFIX}"):
        with suppress(OSError):
            path.unlink()


def apply_apart(step: RowStep, rows: Sequence[Row], context: Context) -> list[Drop | None]:
    """Apply a step to rows, in place, in a process of their own; where that dies at a row, the row is dropped.

    Where no child can be started, or a step needs a model that cannot be handed over, they are judged here.
    """
    handed, whole = _packed(step, rows, context)
    code, answer = _ask(handed)
    if not answer.startswith(_READY):
        return step.apply(rows, context)
    if len(answer) > 1:
        judged, drops, error = pickle.loads(answer[1:])  # noqa: S301  # of our own child, through a pipe
        if error is not None and not whole:
            return step.apply(rows, context)
        if error is not None:
            raise error
        for row, new in zip(rows, judged, strict=True):
            row.update(new)
        return list(drops)
    if len(rows) == 1:
        return [Drop(f"{DIES} ({f'signal {-code}' if code < 0 else f'exit code {code}'})")]
    half = len(rows) // 2
    return apply_apart(step, rows[:half], context) + apply_apart(step, rows[half:], context)


def _packed(step: RowStep, rows: Sequence[Row], context: Context) -> tuple[bytes, bool]:
    """Return what a child is handed, and whether the caller's way to load models is in it."""
    try:
        return pickle.dumps((step, list(rows), context)), True
    except Exception:  # a function of the caller's own, which no other process can find
        return pickle.dumps((step, list(rows), replace(context, load_encoder=None))), False


def _ask(handed: bytes) -> tuple[int, bytes]:
    """Return the exit code of a child that was handed a step and rows, and what it answered."""
    found = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    try:
        done = subprocess.run(  # noqa: S603  # ourselves
            [sys.executable, "-c", _CHILD], input=handed, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=found, check=False,
        )  # fmt: skip
    except OSError:
        return 0, b""
    return done.returncode, done.stdout


def _serve() -> None:
    """Be the child: read a step and rows, say that all is there, apply it, and answer."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    step, rows, context = pickle.loads(sys.stdin.buffer.read())  # noqa: S301  # of our own parent, through a pipe
    out.write(_READY)
    out.flush()
    try:
        answer: tuple[Any, Any, Any] = (rows, apply_guarded(step, rows, context), None)
        said = pickle.dumps(answer)
    except Exception as error:
        said = pickle.dumps((None, None, _sendable(error)))
    out.write(said)
    out.flush()
    os._exit(0)


def _sendable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  # what we have just made
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
