from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chorograph.ground import drafts
from chorograph.ground.claims import claim, lock_path
from chorograph.ground.disk import free_space, naming_trouble
from chorograph.ground.drafts import atomic_folder, atomic_path, contents, sweep
from chorograph.ground.errors import InputError, OutputError
from chorograph.ground.files import read_json
from chorograph.ground.stage import Ledger, Outcome, make_folder, run_stage

_HALF_WAY = """
import os, signal, sys
from pathlib import Path
from chorograph.ground.claims import claim
from chorograph.ground.drafts import atomic_folder, atomic_path
place = Path(sys.argv[1])
with claim(place / "out", "the stage that is killed"):
    with atomic_path(place / "t.json") as draft, atomic_folder(place / "out") as folder:
        draft.write_text("half")
        (folder / "half").write_text("half")
        if sys.argv[2] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        print("ready", flush=True)
        sys.stdin.readline()
"""


def _half_way(place: Path, what: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _HALF_WAY, str(place), what]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    mine = tmp_path / ".t.json.mine"
    mine.write_text("the user's")
    with _half_way(tmp_path, "kill") as killed:
        assert killed.wait() == -signal.SIGKILL
    assert len(_hidden(tmp_path)) == 4  # a draft, a folder, a lock, and the user's
    with atomic_path(tmp_path / "t.json") as draft:
        draft.write_text("whole")
    with claim(tmp_path / "out", "again"), atomic_folder(tmp_path / "out") as folder:
        (folder / "x").write_text("whole")
    assert _hidden(tmp_path) == [mine.name]


def test_what_is_being_written_is_left_alone_and_claimed(tmp_path: Path) -> None:
    with _half_way(tmp_path, "wait") as other:
        assert other.stdout is not None and other.stdin is not None
        assert other.stdout.readline() == "ready\n"
        before = _hidden(tmp_path)
        sweep(tmp_path)
        assert _hidden(tmp_path) == before
        with pytest.raises(OutputError, match=rf"the stage that is killed, process {other.pid}"):
            claim(tmp_path / "out", "me").__enter__()
        other.stdin.close()
    assert (tmp_path / "out" / "half").is_file()
    assert _hidden(tmp_path) == []


@pytest.mark.parametrize("number", range(5))
def test_a_mount_point_is_filled_and_an_unfinished_filling_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    target = tmp_path / "volume"
    (target / "lost+found").mkdir(parents=True)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == target)
    names = ["a", "b", "manifest.json", "z"]
    moved: list[str] = []
    move = Path.replace

    def stopping(self: Path, to: Path) -> Path:
        if len(moved) == number:
            raise KeyboardInterrupt
        moved.append(self.name)
        return move(self, to)

    monkeypatch.setattr(Path, "replace", stopping)
    try:
        with atomic_folder(target) as draft:
            for name in names:
                (draft / name).write_text(name)
    except KeyboardInterrupt:
        assert number < len(names)
    assert contents(target) == (names if number == len(names) else [])
    assert _hidden(target) == []
    assert moved == ["a", "b", "z", "manifest.json"][:number]


def test_a_folder_set_aside_goes_back(tmp_path: Path) -> None:
    """Killed between the two renames of a replacement, the next start finds the old folder where it was."""
    hidden = tmp_path / ".model.chorograph-0123456789ab"
    (hidden / "new" / "model").mkdir(parents=True)
    (hidden / "old").mkdir()
    (hidden / "old" / "weights").write_text("old")
    sweep(tmp_path)
    assert (tmp_path / "model" / "weights").read_text() == "old"
    assert _hidden(tmp_path) == []


def test_a_replaced_folder_is_the_new_one(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "model", replace=True) as draft:
            (draft / text).write_text(text)
    assert contents(tmp_path / "model") == ["new"]
    assert _hidden(tmp_path) == []


_REPLACED = """
import os, signal, sys
from pathlib import Path
from chorograph.ground.drafts import atomic_folder
target, stop = Path(sys.argv[1]), int(sys.argv[2])
os.path.ismount = lambda path: Path(path) == target
seen = 0
def hook(event, args):
    global seen
    if event in ("os.rename", "shutil.rmtree", "os.rmdir") and str(target) in str(args[0]):
        seen += 1
        if seen == stop:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
with atomic_folder(target, replace=True) as draft:
    for name in ("a", "b", "manifest.json"):
        (draft / name).write_text("new")
"""


def test_a_killed_replacement_on_a_mount_point_gives_the_old_folder_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the moment, and killed again while it is put back: all of the old folder, or all of the new one."""
    target, told = tmp_path / "volume", set()
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == target)
    for stop in range(1, 12):
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for name in ("a", "manifest.json", "mine"):
            (target / name).write_text("old")
        for again in (stop, 1, 2):  # later ones are killed while they sweep
            subprocess.run([sys.executable, "-c", _REPLACED, str(target), str(again)], check=False)
            if not _hidden(target):
                break
        sweep(target)
        told.add(" ".join(f"{path.name}:{path.read_text()}" for path in sorted(target.iterdir())))
    assert told == {"a:old manifest.json:old mine:old", "a:new b:new manifest.json:new"}


@pytest.mark.parametrize("there", [True, False])
def test_links_are_written_through(tmp_path: Path, there: bool) -> None:
    real = tmp_path / "disk" / "real"
    if there:
        real.mkdir(parents=True)
    (tmp_path / "link").symlink_to(real)
    with atomic_folder(tmp_path / "link") as draft:
        (draft / "x").write_text("x")
    with atomic_path(tmp_path / "link" / "y") as path:
        path.write_text("y")
    assert (tmp_path / "link").is_symlink()
    assert contents(real) == ["x", "y"]


def test_a_link_in_the_place_of_a_file_is_replaced_and_never_followed(tmp_path: Path) -> None:
    """Somebody's area may hold a link to a file of yours where a manifest would be."""
    mine = tmp_path / "mine"
    mine.write_text("mine")
    (tmp_path / "area").mkdir()
    (tmp_path / "area" / "t.manifest.json").symlink_to(mine)
    run_stage("t", manifest=tmp_path / "area" / "t.manifest.json", config={}, inputs=[], work=lambda _: None)
    assert mine.read_text() == "mine"
    assert not (tmp_path / "area" / "t.manifest.json").is_symlink()


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    """A device or a pipe stays what it is: root could replace one by a file."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="pipe is no file"), atomic_path(tmp_path / "pipe"):
        pass
    assert (tmp_path / "pipe").is_fifo()


def test_a_long_name_is_no_hindrance(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 120 + ".parquet")
    with atomic_path(target) as draft:
        assert draft.suffix == ".parquet"
        draft.write_text("x")
    with atomic_folder(tmp_path / ("城" * 80)) as folder:
        (folder / "x").write_text("x")
    assert target.read_text() == "x"
    assert _hidden(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "says"), [(errno.ENOSPC, "is full.* are free"), (errno.EROFS, "read-only file system")]
)
def test_trouble_with_the_disk_is_named(tmp_path: Path, number: int, says: str) -> None:
    with pytest.raises(OutputError, match=says), atomic_path(tmp_path / "t"):
        try:
            raise OSError(number, os.strerror(number))
        except OSError as error:
            raise ValueError("a library's own error") from error


class SafetensorError(Exception):
    """As safetensors raises it: no number, only words."""


@pytest.mark.parametrize(
    "error", [SafetensorError("No space left on device (os error 28)"), RuntimeError("PytorchStreamWriter failed")]
)
def test_a_library_that_hides_a_full_disk(tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chorograph.ground.disk.free_space", lambda place: (4096, 10**9))
    with (
        pytest.raises(OutputError, match=r"the disk or your share of it is full: 4\.1 kB of 1\.0 GB are free"),
        naming_trouble(tmp_path),
    ):
        raise error


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), naming_trouble(tmp_path):
        raise PermissionError(errno.EACCES, "no", "an input")
    assert free_space(tmp_path / "not" / "there") is not None


def test_a_file_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="out is in the way"), atomic_path(tmp_path / "out" / "t.json"):
        pass
    with pytest.raises(InputError, match="exists already"), atomic_folder(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "mine"


def _make(out: Path, seen: list[Path]) -> dict[str, Any]:
    def work(ledger: Ledger, draft: Path) -> None:
        seen.append(draft)
        (draft / "x").write_text("x")
        ledger.outputs.append(draft / "x")

    return make_folder("try", out=out, config={"k": 1}, inputs=[], work=work).manifest


def test_a_folder_and_its_manifest_come_in_one_step(tmp_path: Path) -> None:
    seen: list[Path] = []
    manifest = _make(tmp_path / "out", seen)
    assert seen[0].name == "out" and seen[0].parent != tmp_path
    assert read_json(tmp_path / "out" / "manifest.json") == manifest
    assert list(manifest["outputs"]) == ["x"]
    _make(tmp_path / "out", seen)
    assert len(seen) == 1
    (tmp_path / "out" / "x").write_text("edited")
    with pytest.raises(InputError, match="not empty"):
        _make(tmp_path / "out", seen)


def test_errors_of_a_new_folder_name_its_place(tmp_path: Path) -> None:
    def work(ledger: Ledger, draft: Path) -> None:
        raise InputError(f"{draft} was not written")

    with pytest.raises(InputError, match=rf"^{tmp_path}/out was not written"):
        make_folder("try", out=tmp_path / "out", config={}, inputs=[], work=work)
    assert list(tmp_path.iterdir()) == []


def test_a_finished_stage_is_told_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    Path("in").write_text("x")

    def run(at: Path) -> Outcome:
        return run_stage("try", manifest=at / "manifest.json", config={}, inputs=[at / "in"], work=lambda _: None)

    assert not run(Path()).skipped
    monkeypatch.chdir(tmp_path / "sub")
    assert run(Path("..")).skipped


def test_a_finished_stage_writes_nothing_and_a_stale_lock_goes(tmp_path: Path) -> None:
    def run() -> Outcome:
        place = tmp_path / "out" / "manifest.json"
        return run_stage("try", manifest=place, config={}, inputs=[], work=lambda _: None)

    run()
    (tmp_path / "out").chmod(0o555)
    (tmp_path).chmod(0o555)
    try:
        assert run().skipped
    finally:
        tmp_path.chmod(0o755)
        (tmp_path / "out").chmod(0o755)
    lock_path(tmp_path / "out").write_text("a process that is no more")
    assert run().skipped
    assert _hidden(tmp_path) == []


def test_without_locks_nothing_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that knows no locks cannot say whose a draft is."""

    def refusing(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refusing)
    (tmp_path / ".t.json.chorograph-0123456789ab.json").write_text("somebody's")
    with atomic_path(tmp_path / "t.json") as draft:
        draft.write_text("{}")
    assert _hidden(tmp_path) == [".t.json.chorograph-0123456789ab.json"]
    assert drafts.has_drafts(tmp_path, "t.json")
