"""Killed at every commit to disk, a stage ends as if it had never been killed, and leaves nothing behind.

`tests/drills/kill.py` does the same to every verb of the command line, and takes an hour; see `make drills`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: Runs a stage in forks of one process, killed before or after its N-th rename, removal or new folder; then to its end.
DRIVER = """
import os, signal, sys
from pathlib import Path
from chorograph.ground.drafts import atomic_folder
from chorograph.ground.files import atomic_path, write_json
from chorograph.ground.stage import make_folder, run_stage
from chorograph.shards.write import ShardWriter

place, kind = Path(sys.argv[1]), sys.argv[2]

def fill(ledger, out):
    with ShardWriter(out / "shards", max_samples=2) as writer:
        for number in range(4):
            writer.write(f"k{number}", {"txt": "x"})
    with atomic_folder(out / "sub") as sub:
        (sub / "a").write_text("a")
    for number in range(2):
        with atomic_path(out / f"{number}.txt") as path:
            path.write_text(str(number))
        ledger.outputs.append(out / f"{number}.txt")
    ledger.count("written", 2)

def folder():
    return make_folder("drill", out=place / "out", config={}, inputs=[], work=fill)

def inside():
    def work(ledger):
        for number in range(3):
            write_json(place / "area" / f"{number}.json", number)
            ledger.outputs.append(place / "area" / f"{number}.json")
        with atomic_folder(place / "area" / "model", replace=True) as model:
            (model / "weights").write_text("w")
    return run_stage("drill", manifest=place / "area" / "d.manifest.json", config={}, inputs=[], work=work)

def mount():
    os.path.ismount = lambda path: Path(path) == place / "out"
    (place / "out").mkdir(exist_ok=True)
    return folder()

stage = {"folder": folder, "inside": inside, "mount": mount}[kind]
EVENTS = {"os.rename": 1, "shutil.rmtree": 0, "os.rmdir": 0, "os.remove": 0, "os.mkdir": 0}

def run(kill, when):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    seen = 0
    def hook(event, args):
        nonlocal seen
        if seen >= kill > 0 and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        if event in EVENTS and str(args[EVENTS[event]]).startswith(str(place)):
            seen += 1
            if seen == kill and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    code = 1
    try:
        stage()
        code = 0
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        os._exit(code)

def tree():
    skipped = ("wall_s", "finished_at")
    def calm(path):
        return [line for line in path.read_text("latin-1").splitlines() if not any(s in line for s in skipped)]
    return {str(p.relative_to(place)): calm(p) for p in sorted(place.rglob("*")) if p.is_file()}

import shutil
def fresh():
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    (place / ".mine").write_text("the user's")

fresh()
assert run(0, "") == 0
whole, killed, kill = tree(), 0, 1
while True:
    ended = 0
    for when in ("before", "after"):
        fresh()
        ended += run(kill, when) != 0
        killed += 1
        assert run(0, "") == 0, (kill, when)
        assert tree() == whole, (kill, when, sorted(set(tree()) ^ set(whole)))
    if not ended:
        break
    kill += 1
print(killed)
"""


@pytest.mark.parametrize("kind", ["folder", "inside", "mount"])
def test_killed_at_every_commit_it_ends_the_same(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-c", DRIVER, str(tmp_path / "place"), kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert int(done.stdout) > 15


def test_a_signal_that_can_be_caught_leaves_nothing_either(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom chorograph.ground.drafts import atomic_folder\n"
        "with atomic_folder(Path(sys.argv[1])) as draft:\n"
        "    (draft / 'a').write_text('a')\n    print('ready', flush=True)\n    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        process.wait()
    assert list(tmp_path.iterdir()) == []
