"""A stage: work that leaves a manifest, and that is not done again while its manifest still holds."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from chorograph.ground.claims import claim, lock_path
from chorograph.ground.disk import naming_trouble
from chorograph.ground.drafts import atomic_folder, has_drafts, home_of, real, sweep
from chorograph.ground.errors import ChorographError, InputError
from chorograph.ground.files import read_json, write_json
from chorograph.ground.hashes import content_hash, folder_hash
from chorograph.ground.settings import placed

#: The file that says that a folder was finished; a stage that writes into a folder of others has its own name for it.
MANIFEST = "manifest.json"
_MANIFEST = {
    "stage?": str, "version?": str, "config": {str: object}, "inputs?": {str: str}, "counts?": {str: object},
    "dropped?": {str: object}, "facts?": {str: object}, "warnings?": [str], "outputs?": {str: str},
    "wall_s?": float, "finished_at?": str,
}  # fmt: skip


#: The longest path that a manifest may name, in characters, and the longest name in it, in bytes.
_LONGEST_PATH, _LONGEST_NAME = 2000, 255
#: A folder of so many files is compared by their content.
_FEW = 200


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
    shared: Iterable[Path] = (),
) -> Outcome:
    """Run `work` unless the manifest says that it was done with this configuration and these inputs.

    The manifest is the commit: it is written last, so a stage that was interrupted is done again, and what it left is
    removed first. A stage is also done again when the library's version, an input's content, or an output (missing or
    changed) differs. Inputs count by their content, a folder of very many files by their names, sizes and times.
    `shared` are files that other stages change too, one stage at a time.
    Raises `OutputError` where another process is at the same work, or the place cannot be written.
    """
    manifest = real(manifest.parent) / manifest.name

    def make(asked: Mapping[str, Any]) -> dict[str, Any]:
        ledger, started = Ledger(), time.perf_counter()
        with naming_trouble(manifest.parent):
            work(ledger)
        done = _done(asked, ledger, manifest.parent, started)
        write_json(manifest, done)
        return done

    return _once(name, manifest, config, inputs, make, shared)


def make_folder(
    name: str,
    *,
    out: Path,
    config: Mapping[str, Any],
    inputs: Iterable[Path],
    work: Callable[[Ledger, Path], None],
    replace: bool = False,
) -> Outcome:
    """Run `work` into a new folder that becomes `out` together with its manifest, in one step.

    `work` is given the folder to write into, which has the name of `out` and does not lie there yet. Otherwise as
    `run_stage`; `InputError` where `out` holds anything that is not such a finished work, unless `replace`: then the
    new folder takes its place, whole.
    """
    out = real(out)

    def make(asked: Mapping[str, Any]) -> dict[str, Any]:
        ledger, started = Ledger(), time.perf_counter()
        with atomic_folder(out, replace=replace) as draft, _speaking_of(draft, out):
            work(ledger, draft)
            done = _done(asked, ledger, draft, started)
            write_json(draft / MANIFEST, done)
        return done

    return _once(name, out / MANIFEST, config, inputs, make)


def _once(
    name: str,
    manifest: Path,
    config: Mapping[str, Any],
    inputs: Iterable[Path],
    make: Callable[[Mapping[str, Any]], dict[str, Any]],
    shared: Iterable[Path] = (),
) -> Outcome:
    """Make what a manifest vouches for, unless it does already; one process at a time, litter swept first."""
    asked = {
        "stage": name,
        "version": version("chorograph"),
        "config": dict(config),
        "inputs": {str(placed(path)): fingerprint(path) for path in inputs},
    }
    place = manifest.parent if manifest.name == MANIFEST else manifest
    places = [place, *sorted(shared)]
    before = _holding(manifest, asked)
    if before is not None and not _has_litter(places, manifest):
        return Outcome(before, skipped=True)
    with ExitStack() as claims:
        for one in places:
            claims.enter_context(claim(one, name))
        for folder, target in _littered(place, manifest):
            sweep(folder, target)
        before = _holding(manifest, asked)  # another process may have done it since
        if before is not None:
            return Outcome(before, skipped=True)
        return Outcome(make(asked), skipped=False)


def _littered(place: Path, manifest: Path) -> list[tuple[Path, str | None]]:
    """Return where a stage that was killed may have left drafts: folders, and the target or None for any."""
    return [(home_of(place), place.name), (manifest.parent, None)]


def _has_litter(places: list[Path], manifest: Path) -> bool:
    drafts = any(has_drafts(*where) for where in _littered(places[0], manifest))
    return drafts or any(os.path.lexists(lock_path(place)) for place in places)


def _done(asked: Mapping[str, Any], ledger: Ledger, folder: Path, started: float) -> dict[str, Any]:
    """Return what a manifest in `folder` says of work that is done."""
    return {
        **asked,
        "counts": ledger.counts,
        "dropped": dict(ledger.dropped),
        "facts": ledger.facts,
        "warnings": ledger.warnings,
        "outputs": {_relative(path, folder): fingerprint(path) for path in ledger.outputs},
        "wall_s": round(time.perf_counter() - started, 3),
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@contextmanager
def _speaking_of(draft: Path, out: Path) -> Iterator[None]:
    """Let errors name the folder that the user asked for, not its draft."""
    try:
        yield
    except ChorographError as error:
        error.args = tuple(arg.replace(str(draft), str(out)) if isinstance(arg, str) else arg for arg in error.args)
        raise


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a stage's manifest; `InputError` naming the file, and what in it is not a manifest's."""
    manifest: dict[str, Any] = read_json(path, _MANIFEST)
    config = manifest["config"]
    if not all(_is_path(config[name]) for name in ("area", "out") if name in config):
        raise InputError(f"{path}: config.area and config.out must be paths")
    return manifest


def _is_path(value: object) -> bool:
    """Return whether a file system could take what a file calls a path."""
    if not isinstance(value, str) or "\0" in value or len(value) > _LONGEST_PATH:
        return False
    return all(len(part.encode(errors="replace")) <= _LONGEST_NAME for part in Path(value).parts)


def fingerprint(path: Path) -> str:
    """Return what changes when the content of a file or folder does.

    SHA-256 of a file's bytes; for a folder, of the names and bytes of the files below it, and where these are many
    (tiles), of their names, sizes and modification times. `absent` for neither.
    """
    try:
        is_file, is_dir = path.is_file(), path.is_dir()
    except (OSError, ValueError):  # a name that no file system takes
        return "absent"
    if is_file:
        return content_hash(path)
    if is_dir:
        if (few := folder_hash(path, _FEW)) is not None:
            return few
        digest = hashlib.sha256()
        for entry in sorted(p for p in path.rglob("*") if p.is_file()):
            status = entry.stat()
            digest.update(f"{entry.relative_to(path)}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
        return digest.hexdigest()
    return "absent"


def _holding(manifest: Path, asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the manifest where it vouches for what is asked; None where there is none, or it does not."""
    if not manifest.is_file():
        return None
    try:
        before = read_manifest(manifest)
    except InputError:
        return None  # a damaged manifest vouches for nothing: the stage is done again
    if any(before.get(key) != value for key, value in asked.items()):
        return None
    outputs = before.get("outputs", {}).items()
    return before if all(fingerprint(manifest.parent / path) == held for path, held in outputs) else None


def _relative(path: Path, folder: Path) -> str:
    path, folder = real(path), real(folder)
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
