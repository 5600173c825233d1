"""What all drills share: running the command, measuring it, killing it, comparing what it left.

Needs Linux, and a Python with numpy, pandas and pyarrow (the one beside the chorograph executable has them: the drills
start themselves again with it where the first one has not).
"""

from __future__ import annotations

import argparse
import atexit
import fnmatch
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
#: Keys of JSON that hold times, rates or places in memory: nothing that a result is compared by.
VOLATILE = {
    "wall_s", "finished_at", "seconds", "images_per_s", "images_s", "per_second", "took_s", "date", "at", "started_at",
    "images/s", "elapsed_s", "created", "started", "ended", "time_s", "run_s", "samples_per_s", "rate", "wall",
    "facts/s", "peak_gb", "commit", "partitions taken up from before", "encoded now", "answers now",
    "requests answered before",
}  # fmt: skip
#: Ends of names of what was seconds, and of how much of the work a start found done by one that was killed.
_OF_THIS_START = ("_s", "was fitted on", " added", " there already", " replaced")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def parser(what: str) -> argparse.ArgumentParser:
    """Return the arguments that every drill takes."""
    made = argparse.ArgumentParser(description=what, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--exe", type=Path, required=True, help="the chorograph executable")
    made.add_argument("--data", type=Path, default=HERE.parents[3] / "shared" / "data", help="the shared real data")
    made.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "chorograph-drills",
        help="where the drills may write",
    )
    made.add_argument("--only", default="", help="names of drills, separated by commas; all where empty")
    made.add_argument("--skip", default="", help="names of drills to leave out")
    made.add_argument("--json", type=Path, help="write the verdicts there")
    made.add_argument(
        "--cold", action="store_true", help="start the executable itself each time, not a warm copy of it"
    )
    made.add_argument("--list", action="store_true", help="list the drills and end")
    return made


def with_exe_python(exe: Path) -> None:
    """Start again with the Python beside `exe` where this one lacks what the drills need."""
    try:
        import numpy  # noqa: F401
        import pandas  # noqa: F401
        import PIL  # noqa: F401
        import pyarrow  # noqa: F401
    except ImportError:
        python = exe.parent / "python"
        if os.environ.get("DRILLS_AGAIN") or not python.exists():
            raise SystemExit(f"numpy, pandas, pyarrow and Pillow are needed; {python} has them?") from None
        os.environ["DRILLS_AGAIN"] = "1"
        os.execv(str(python), [str(python), *sys.argv])


@dataclass
class Ended:
    """How a command ended."""

    argv: list[str]
    code: int  # negative: the signal it died of
    out: str
    err: str
    wall_s: float
    rss_mb: float
    timed_out: bool = False
    cpu_s: float = 0.0

    @property
    def traceback(self) -> bool:
        """Whether a traceback was printed."""
        return "Traceback (most recent call last)" in self.err + self.out

    @property
    def said(self) -> str:
        """The line that says what went wrong: the error of ours, or the last line of a traceback."""
        lines = [line for line in (self.err + "\n" + self.out).splitlines() if line.strip()]
        ours = [line for line in lines if line.startswith("error:")]
        if ours:
            at = lines.index(ours[-1])
            return " ".join(lines[at : at + 3])[:400]
        return (lines[-1] if lines else "(silent)")[:400]


class WarmProcess:
    """A run of the warm copy, used as a `Popen` is."""

    def __init__(self, talk: socket.socket, args: list[str], out: int, err: int) -> None:
        self._talk, self.args, self.returncode = talk, args, None
        self._said = b""
        self.stdout, self.stderr = os.fdopen(out, "rb"), os.fdopen(err, "rb")
        while b"\n" not in self._said:
            self._said += talk.recv(4096)
        first, _, self._said = self._said.partition(b"\n")
        self.pid: int = json.loads(first)["pid"]
        talk.setblocking(False)

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        if self.returncode is None:
            try:
                part = self._talk.recv(4096)
                self._said += part
                if not part and b"\n" not in self._said:
                    self.returncode = -99  # the warm copy is gone
            except BlockingIOError:
                pass
            if b"\n" in self._said:
                self.returncode = json.loads(self._said.partition(b"\n")[0])["code"]
                self._talk.close()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""
        begun = time.monotonic()
        while (code := self.poll()) is None:
            if timeout is not None and time.monotonic() - begun > timeout:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.02)
        return code


@dataclass
class Box:
    """How commands are run: the executable, threads held down, niced; `warm` forks a Python that has imported all."""

    exe: Path
    threads: int = 1
    env: dict[str, str] = field(default_factory=dict)
    warm: bool = False
    _server: subprocess.Popen[bytes] | None = None
    _place: str = ""

    def heat(self) -> None:
        """Start the warm copy, once."""
        if self._server is not None or self._place:
            return
        if os.environ.get("DRILLS_WARM"):  # one that was started by hand: WARM_STAY=1 python warm.py SOCKET
            self._place = os.environ["DRILLS_WARM"]
            return
        folder = tempfile.mkdtemp(prefix="drills-warm-")
        self._place = f"{folder}/socket"
        argv = ["nice", "-n", "10", str(self.exe.parent / "python"), str(HERE / "warm.py"), self._place]
        self._server = subprocess.Popen(
            argv, env=self.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        )
        atexit.register(self._server.kill)
        told = json.loads(self._server.stdout.readline())  # type: ignore[union-attr]
        if told["threads"] > 1:
            print(f"note: the warm copy has {told['threads']} threads", file=sys.stderr)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of a run."""
        told = {
            **os.environ, "OMP_NUM_THREADS": str(self.threads), "MKL_NUM_THREADS": str(self.threads),
            "OPENBLAS_NUM_THREADS": str(self.threads), "COLUMNS": "200", "NO_COLOR": "1", "PYTHONFAULTHANDLER": "1",
            "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", **self.env, **(more or {}),
        }  # fmt: skip
        told.pop("DRILLS_AGAIN", None)
        return told

    def start(
        self,
        args: Sequence[str],
        cwd: Path,
        *,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        err: Any = subprocess.PIPE,
        out: Any = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Start a command in a process group of its own."""
        if self.warm and not before:
            self.heat()
            talk = socket.socket(socket.AF_UNIX)
            talk.connect(self._place)
            (out_read, out_write), (err_read, err_write) = os.pipe(), os.pipe()
            asked = {
                "args": [str(a) for a in args],
                "cwd": str(cwd),
                "env": self.environment(env),
                "hook": str(HERE / "hook"),
            }
            socket.send_fds(talk, [(json.dumps(asked) + "\n").encode()], [out_write, err_write])
            os.close(out_write), os.close(err_write)
            return WarmProcess(talk, ["chorograph", *map(str, args)], out_read, err_read)  # type: ignore[return-value]
        argv = ["nice", "-n", "10", *before, str(self.exe), *map(str, args)]
        return subprocess.Popen(
            argv, cwd=cwd, env=self.environment(env), stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            start_new_session=True,
        )  # fmt: skip

    def run(
        self,
        args: Sequence[str],
        cwd: Path,
        *,
        env: Mapping[str, str] | None = None,
        before: Sequence[str] = (),
        timeout_s: float = 3600,
        rss_limit_mb: float | None = None,
        cpu_limit_s: float = 600,
        idle_limit_s: float = 120,
    ) -> Ended:
        """Run a command to its end, or to a limit, and say how it went.

        Limits do not ask how busy the machine is: seconds of processor, and seconds without using any.
        """
        begun = time.monotonic()
        process = self.start(args, cwd, env=env, before=before)
        limits = {"timeout_s": timeout_s, "cpu_limit_s": cpu_limit_s, "idle_limit_s": idle_limit_s}
        return self.finish(process, begun, rss_limit_mb=rss_limit_mb, **limits)

    @staticmethod
    def finish(
        process: subprocess.Popen[bytes],
        begun: float,
        *,
        timeout_s: float = 3600,
        rss_limit_mb: float | None = None,
        cpu_limit_s: float = 600,
        idle_limit_s: float = 120,
    ) -> Ended:
        """Wait for a process that was started, watching processor and memory of its whole group."""
        texts: dict[str, bytes] = {}
        readers = [
            threading.Thread(target=lambda n=name, s=stream: texts.__setitem__(n, s.read()), daemon=True)
            for name, stream in (("out", process.stdout), ("err", process.stderr))
            if stream is not None
        ]
        for reader in readers:
            reader.start()
        peak, timed_out, cpu, moved = 0.0, False, 0.0, time.monotonic()
        looked = 0.0
        while process.poll() is None:
            now = time.monotonic()
            if now - looked >= 0.5:
                looked = now
                rss, used = group_use(process.pid)
                peak = max(peak, rss)
                if used > cpu + 0.02:
                    cpu, moved = used, now
                late = now - begun > timeout_s or cpu > cpu_limit_s or now - moved > idle_limit_s
                if late or (rss_limit_mb is not None and peak > rss_limit_mb):
                    timed_out = late
                    kill_group(process)
                    break
            time.sleep(0.05)
        process.wait()
        for reader in readers:
            reader.join(timeout=10)
        return Ended(
            [str(word) for word in process.args], process.returncode,  # type: ignore[union-attr]
            texts.get("out", b"").decode(errors="replace"), texts.get("err", b"").decode(errors="replace"),
            time.monotonic() - begun, peak, timed_out, cpu,
        )  # fmt: skip


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL the whole process group of a process that we started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def group_use(group: int) -> tuple[float, float]:
    """Return the memory (peak of each process, MB) and the processor seconds of a process group."""
    rss = cpu = 0.0
    for place in Path("/proc").iterdir():
        if not place.name.isdigit():
            continue
        try:
            stat = (place / "stat").read_text().rpartition(")")[2].split()
            if int(stat[2]) != group:
                continue
            cpu += (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
            for line in (place / "status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    rss += int(line.split()[1]) / 1024
        except (OSError, ValueError, IndexError):
            continue
    return rss, cpu


# ------------------------------------------------------------------------------------------------ comparing


def calm(value: Any) -> Any:
    """Return JSON without what changes from run to run."""
    if isinstance(value, dict):
        return {
            key: calm(held) for key, held in value.items() if key not in VOLATILE and not key.endswith(_OF_THIS_START)
        }
    if isinstance(value, list):
        return [calm(held) for held in value]
    return value


def essence(path: Path) -> str:
    """Return what a file says, without times: a hash of its bytes, or of its JSON, or of its table."""
    data = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        try:
            lines = data.decode().splitlines() if path.suffix == ".jsonl" else [data.decode()]
            data = json.dumps([calm(json.loads(line)) for line in lines], sort_keys=True).encode()
        except ValueError:
            pass
    if path.suffix == ".html":
        text = _UUID.sub("UUID", data.decode(errors="replace"))
        text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:+Z-]+|[\d.]+ s\b", "TIME", text)
        data = re.sub(r'"(p)?\d{4,}"', '"ID"', text).encode()
    if path.suffix == ".md":
        data = re.sub(rb"\d+(\.\d+)? (s|seconds|images/s|min)\b", b"TIME", data)
    return hashlib.sha256(data).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """Return the essence of every file below a folder (or of the file), by relative path; links by their target."""
    if folder.is_file():
        return {".": essence(folder)}
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link {os.readlink(path)}"
        elif path.is_file():
            found[name] = essence(path)
    return found


def same(before: Mapping[str, str], after: Mapping[str, str], shaky: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """Return what differs between two trees; files in `shaky` differ between undisturbed runs too and only must be."""
    problems = [f"missing {name}" for name in before if name not in after]
    problems += [f"extra {name}" for name in after if name not in before]
    problems += [
        f"differs {name}" for name in before if name in after and name not in shaky and before[name] != after[name]
    ]
    return problems


def leftovers(folder: Path, known: set[str]) -> list[str]:
    """Return hidden or temporary entries anywhere below a folder that an undisturbed run does not leave."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        parts = path.relative_to(folder).parts
        if name in known or any(str(Path(*parts[:n])) in found for n in range(1, len(parts))):
            continue
        if path.name.startswith(".") or path.suffix in (".tmp", ".lock", ".resume", ".new", ".part"):
            found.append(name)
    return found


def size_mb(path: Path) -> float:
    """Return the size of what lies below a path, in MB."""
    if path.is_file():
        return path.stat().st_size / 1e6
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder with its times, replacing what stands there."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)


# ------------------------------------------------------------------------------------------------ verdicts


@dataclass
class Verdict:
    """What a drill found: ok, or a fault with its kind."""

    drill: str
    ok: bool
    what: str
    kind: str = ""
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass
class Ledger:
    """The verdicts of a script."""

    verdicts: list[Verdict] = field(default_factory=list)
    path: Path | None = None

    def add(self, verdict: Verdict) -> None:
        """Note a verdict and print it."""
        self.verdicts.append(verdict)
        mark = "ok  " if verdict.ok else "FAIL"
        kind = f" [{verdict.kind}]" if verdict.kind else ""
        print(f"{mark} {verdict.drill}{kind}: {verdict.what}", flush=True)
        if self.path is not None:
            self.path.write_text(
                json.dumps([vars(v) for v in self.verdicts], indent=1, default=str, ensure_ascii=False)
            )

    def end(self, title: str) -> int:
        """Print the figures; returns the exit code."""
        good = sum(verdict.ok for verdict in self.verdicts)
        print(f"\n{title}: {good} of {len(self.verdicts)} ok", flush=True)
        return 0 if good == len(self.verdicts) else 1


def chosen(names: Sequence[str], only: str, skip: str = "") -> list[str]:
    """Return the drills that were asked for; a name may end in * ."""

    def fits(name: str, words: str) -> bool:
        return any(fnmatch.fnmatch(name, w) for w in words.split(",") if w)

    kept = [name for name in names if not only or fits(name, only)]
    kept = [name for name in kept if not fits(name, skip)]
    if not kept:
        raise SystemExit(f"no drill named {only!r}; there are: {', '.join(names)}")
    return kept


Maker = Callable[..., Any]
