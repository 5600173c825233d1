"""Writing that is whole or absent: a draft beside its target, fsync, rename.

What is not published lies in drafts: hidden files and folders named `.TARGET.chorograph-` and 12 hex digits. A draft is
locked by the process that writes it, and the lock dies with the process. So a draft that nobody locks was left by a
process that was killed, and the next writer of the same target removes it. Nothing without such a name is removed.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from chorograph.ground.disk import naming_trouble, needing
from chorograph.ground.errors import InputError

try:
    import fcntl
except ImportError:  # Windows: drafts are not locked there, and never swept
    fcntl = None  # type: ignore[assignment]

_MARK = ".chorograph-"
_DRAFT = re.compile(r"\.(?P<target>.+)\.chorograph-[0-9a-f]{12}(\.[^/]*)?", re.DOTALL)
#: In a folder's draft: the new folder's parent, and what it takes the place of.
_NEW, _OLD = "new", "old"
#: In the draft of a folder that is published entry by entry: the entries that it takes the place of.
_ASIDE = "aside"
#: What a folder's publication entry by entry is undone by.
_MOVING = "moving.json"
#: Published last where a folder is published entry by entry: while it is missing, nothing is done.
_LAST = "manifest.json"
#: What a fresh volume holds.
_OF_SYSTEM = frozenset({"lost+found"})
#: The longest name of a file that common file systems take, in bytes.
_LONGEST = 255


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a draft's path beside `target`; it becomes `target` when the block ends well and vanishes otherwise.

    Linked folders are followed. A link in the place of the file itself is replaced and never followed: who made it may
    have meant another file. Raises `OutputError` where the place cannot be written, is a folder, pipe or device, or
    the disk is full.
    """
    target = real(target.parent) / target.name
    with needing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_symlink() and not target.is_file():
            raise OSError(None, "is no file, and one is to be written there", str(target))
        sweep(target.parent, target.name)
    with ExitStack() as stack:
        with needing(target):
            draft = _locked_file(target, stack)
        try:
            with naming_trouble(target):
                yield draft
                with draft.open("rb+") as file:
                    os.fsync(file.fileno())
                # Drafts are private; what is published follows the user's umask like any other file.
                draft.chmod(0o666 & ~_umask())
                draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path, *, replace: bool = False, sweeping: bool = True) -> Iterator[Path]:
    """Yield a new folder that becomes `target` when the block ends well and vanishes otherwise.

    It has the name of `target` and lies beside it, hidden. A link is written through; a mount point, which no folder
    can be renamed over, and a folder in a place that may not be written, are filled entry by entry, `manifest.json`
    last. Many folders of one parent are written with `sweeping` off, after one `sweep` of it. Raises `InputError` where
    `target` exists and is not an empty folder, unless `replace`, and `OutputError` where the place cannot be written
    or the disk is full.
    """
    target = real(target)
    home = home_of(target)
    with needing(target):
        home.mkdir(parents=True, exist_ok=True)
        if sweeping:
            sweep(home, target.name)
        if target.is_dir():
            sweep(target)
        if target.exists() and not (target.is_dir() and (replace or is_empty(target))):
            raise InputError(f"{target} exists already and is not empty; choose another place or remove it")
    with ExitStack() as stack:
        with needing(target):
            hidden = _locked_folder(target, home, stack)
        try:
            draft = hidden / _NEW / target.name
            draft.mkdir(parents=True)
            with naming_trouble(target):
                yield draft
                _sync(draft)
                if home == target:
                    _move_entries(draft, target, hidden)
                else:
                    _move_whole(draft, target, hidden)
        finally:
            # After a failure half-way, what was published is taken back; after success nothing is left to take.
            _clear(hidden)


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove the drafts in `folder`, of the target `name` or of all, whose writers are gone."""
    for draft in _drafts(folder, name):
        with _taken_over(draft) as dead:
            if dead:
                _clear(draft)


def has_drafts(folder: Path, name: str | None = None) -> bool:
    """Return whether there are drafts in `folder`, of the target `name` or of any."""
    return bool(_drafts(folder, name))


def is_empty(folder: Path) -> bool:
    """Return whether a folder holds nothing but what a stage that was killed, or this one, keeps there."""
    return not contents(folder)


def contents(folder: Path) -> list[str]:
    """Return the names in a folder, sorted; drafts and locks, and what a fresh volume holds, are none."""
    return sorted(e.name for e in folder.iterdir() if not _is_ours(e.name) and e.name not in _OF_SYSTEM)


def real(path: Path) -> Path:
    """Return the path with every link in it followed, whether or not it exists."""
    return Path(os.path.realpath(path))


def home_of(target: Path) -> Path:
    """Return the folder for drafts of `target`: its parent, or itself where it cannot be renamed over."""
    inside = target.is_dir() and (os.path.ismount(target) or not os.access(target.parent, os.W_OK))
    return target if inside else target.parent


def hidden_name(target: Path, what: str, suffix: str = "") -> str:
    """Return the hidden name of something that belongs to `target`, short enough for any file system."""
    room = _LONGEST - len(f".{_MARK}{what}{suffix}".encode())
    kept = target.name.encode()[:room].decode(errors="ignore")
    return f".{kept}{_MARK}{what}{suffix}"


def _is_ours(name: str) -> bool:
    return name.startswith(".") and _MARK in name


def _drafts(folder: Path, name: str | None) -> list[Path]:
    """Return the drafts in a folder, of the target `name` (whose long name may be cut in them) or of all."""
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if _MARK in entry.name and not entry.is_symlink())
    except OSError:
        return []
    matches = [match for held in names if (match := _DRAFT.fullmatch(held))]
    return [folder / match[0] for match in matches if name is None or name.startswith(match["target"])]


def _locked_file(target: Path, stack: ExitStack) -> Path:
    while True:
        draft = target.parent / hidden_name(target, secrets.token_hex(6), target.suffix)
        handle = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        if fcntl is None:
            os.close(handle)
            return draft
        stack.callback(os.close, handle)
        if lock(handle, draft):
            return draft


def _locked_folder(target: Path, home: Path, stack: ExitStack) -> Path:
    while True:
        hidden = home / hidden_name(target, secrets.token_hex(6))
        hidden.mkdir(mode=0o700)
        if fcntl is None:
            return hidden
        handle = os.open(hidden, os.O_RDONLY)
        stack.callback(os.close, handle)
        if lock(handle, hidden):
            return hidden


def lock(handle: int, path: Path) -> bool:
    """Lock an open file for as long as this process holds it; false where another has it, or it is gone meanwhile.

    Where the file system knows no locks, nobody can be told apart: the answer is true.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    with suppress(OSError):
        return os.path.samestat(os.fstat(handle), path.stat())
    return False


@contextmanager
def _taken_over(draft: Path) -> Iterator[bool]:
    """Say whether a draft's writer is gone; meanwhile nobody else takes it."""
    if fcntl is None:
        yield False
        return
    try:
        handle = os.open(draft, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        dead = True
    except OSError:  # locked by its writer, or no locks here
        dead = False
    try:
        yield dead
    finally:
        os.close(handle)


def _move_whole(draft: Path, target: Path, hidden: Path) -> None:
    draft.chmod(0o777 & ~_umask())
    if target.exists() and not is_empty(target):
        target.rename(hidden / _OLD)
    draft.replace(target)


def _move_entries(draft: Path, target: Path, hidden: Path) -> None:
    names = sorted((entry.name for entry in draft.iterdir()), key=lambda name: (name == _LAST, name))
    (hidden / _MOVING).write_text(json.dumps(names), encoding="utf-8")
    (hidden / _ASIDE).mkdir()
    for name in contents(target):
        (target / name).rename(hidden / _ASIDE / name)  # it is replaced
    for name in names:
        (draft / name).replace(target / name)


def _clear(hidden: Path) -> None:
    """Remove a draft; what was moved out of an unfinished one, or set aside for it, goes back first, else it stays."""
    with suppress(OSError):
        inside = next(iter((hidden / _NEW).iterdir()), None) if (hidden / _NEW).is_dir() else None
        if inside is not None and (hidden / _MOVING).is_file():
            if any(inside.iterdir()):  # else all of it is where it belongs
                _take_back(_moving(hidden), inside, hidden.parent)
                _bring_back(hidden / _ASIDE, hidden.parent)
        elif inside is not None and (hidden / _OLD).is_dir() and not (hidden.parent / inside.name).exists():
            (hidden / _OLD).rename(hidden.parent / inside.name)
        _remove(hidden)


def _moving(hidden: Path) -> list[str]:
    """Return the names that are published entry by entry; none where the list itself is cut, for then none was."""
    try:
        return [str(name) for name in json.loads((hidden / _MOVING).read_text(encoding="utf-8"))]
    except ValueError:
        return []


def _take_back(names: list[str], inside: Path, target: Path) -> None:
    """Move entries that an unfinished publication moved to `target` back into its draft."""
    for name in names:
        if Path(name).name == name and not (inside / name).exists() and (target / name).exists():
            (target / name).rename(inside / name)


def _bring_back(old: Path, target: Path) -> None:
    """Move what was set aside for an unfinished publication to where it was."""
    for entry in old.iterdir() if old.is_dir() else ():
        entry.rename(target / entry.name)


def _remove(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Bring the tables of a folder to the disk; its images, which may be many, go when the system likes."""
    for path in folder.iterdir():
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def share(folder: Path) -> None:
    """Give the files below a folder the mode that the umask leaves to new ones: some writers make private files."""
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
