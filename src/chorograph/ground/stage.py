"""A stage: work that leaves a manifest, and that is not done again while its manifest still holds."""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json, sha256_file, write_json


class Progress(Protocol):
    """Told how far a stage is; the command line draws a bar with the time left."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of `what` are finished."""


def silent(what: str, done: int, total: int) -> None:
    """Report progress to nobody: the default of library calls."""


@dataclass
class Ledger:
    """What a running stage counts: rows in and out, drops by reason, warnings, and the files it made."""

    counts: dict[str, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    outputs: list[Path] = field(default_factory=list)

    def count(self, name: str, number: int) -> None:
        """Record a count under its name."""
        self.counts[name] = int(number)

    def drop(self, reason: str, number: int = 1) -> None:
        """Record that `number` things were left out for `reason`."""
        if number:
            self.dropped[reason] += int(number)


@dataclass(frozen=True)
class Outcome:
    """How a stage ended: its manifest, and whether anything had to be done."""

    manifest: dict[str, Any]
    skipped: bool


def run_stage(
    name: str,
    *,
    manifest: Path,
    config: Mapping[str, Any],
    inputs: Iterable[Path],
    work: Callable[[Ledger], None],
) -> Outcome:
    """Run `work` unless the manifest says that it was done with this configuration and these inputs.

    The manifest is written last, so a stage that was interrupted is done again. A stage is also done again when the
    library's version, an input's content, or an output (missing or changed) differs. Folders among the inputs count
    by the names, sizes and times of their files.
    """
    asked = {
        "stage": name,
        "version": version("chorograph"),
        "config": dict(config),
        "inputs": {str(path): fingerprint(path) for path in inputs},
    }
    before = _read_if_there(manifest)
    if before is not None and _still_holds(before, asked, manifest.parent):
        return Outcome(before, skipped=True)
    ledger = Ledger()
    started = time.perf_counter()
    work(ledger)
    done = {
        **asked,
        "counts": ledger.counts,
        "dropped": dict(ledger.dropped),
        "facts": ledger.facts,
        "warnings": ledger.warnings,
        "outputs": {_relative(path, manifest.parent): fingerprint(path) for path in ledger.outputs},
        "wall_s": round(time.perf_counter() - started, 3),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(manifest, done)
    return Outcome(done, skipped=False)


def fingerprint(path: Path) -> str:
    """Return what changes when the content of a file or folder does.

    SHA-256 of a file's bytes; for a folder, of the names, sizes and modification times below it. `absent` for
    neither.
    """
    if path.is_file():
        return sha256_file(path)
    if path.is_dir():
        digest = hashlib.sha256()
        for entry in sorted(p for p in path.rglob("*") if p.is_file()):
            status = entry.stat()
            digest.update(f"{entry.relative_to(path)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()
    return "absent"


def _still_holds(before: Mapping[str, Any], asked: Mapping[str, Any], folder: Path) -> bool:
    if any(before.get(key) != value for key, value in asked.items()):
        return False
    outputs: Mapping[str, str] = before.get("outputs", {})
    return all(fingerprint(folder / path) == hashed for path, hashed in outputs.items())


def _read_if_there(manifest: Path) -> dict[str, Any] | None:
    if not manifest.is_file():
        return None
    try:
        content = read_json(manifest)
    except InputError:
        return None  # a damaged manifest vouches for nothing: the stage is done again
    return content if isinstance(content, dict) else None


def _relative(path: Path, folder: Path) -> str:
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path.resolve())
