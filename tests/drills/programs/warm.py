"""A warm copy of the command: one Python that has imported everything, and forks for every run.

Started by `common.Box` with the Python beside the executable (--warm). A run is a process of its own in a session of its
own, with its own current folder, environment and output: it can be killed like any other. Only the seconds of importing
are spared, which on a busy machine are most of a small run.

    python warm.py SOCKET
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import sys
import threading
import traceback


def preload() -> list[str]:
    """Import every module of the package; returns those that could not be."""
    import chorograph

    failed = []
    for found in pkgutil.walk_packages(chorograph.__path__, "chorograph."):
        try:
            importlib.import_module(found.name)
        except Exception as error:
            failed.append(f"{found.name}: {error}")
    for name in os.environ.get("WARM_ALSO", "sklearn.svm sklearn.linear_model sklearn.ensemble mapie").split():
        try:
            importlib.import_module(name)
        except Exception:
            pass
    return failed


def child(asked: dict, fds: list[int]) -> None:
    """Be the command; never returns."""
    code = 1
    try:
        os.setsid()
        os.dup2(fds[0], 1)
        os.dup2(fds[1], 2)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(asked["cwd"])
        os.environ.clear()
        os.environ.update(asked["env"])
        sys.argv = ["chorograph", *asked["args"]]
        if os.environ.get("DRILL_ROOT"):
            sys.path.insert(0, asked["hook"])
            sys.modules.pop("sitecustomize", None)
            importlib.import_module("sitecustomize")
        from chorograph.cli import main

        try:
            answer = main()
            code = 0 if answer is None else int(answer)
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else 0 if leaving.code is None else 1
            if isinstance(leaving.code, str):
                print(leaving.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        try:
            # As at the end of a Python: exit functions, then buffers.
            import atexit

            threading._shutdown()  # type: ignore[attr-defined]
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code & 0xFF)


def main(place: str) -> None:
    """Serve until the socket's other side is gone."""
    failed = preload()
    threads = len(os.listdir("/proc/self/task"))
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(place + ".new")
    listening.listen(16)
    os.rename(place + ".new", place)
    names = [open(f"/proc/self/task/{t}/comm").read().strip() for t in os.listdir("/proc/self/task")]
    print(json.dumps({"failed": failed, "threads": threads, "names": names}), flush=True)
    waiting: dict[int, socket.socket] = {}
    parent = os.getppid()
    while True:
        ready, _, _ = select.select([listening], [], [], 0.02)
        if ready:
            talk, _ = listening.accept()
            data, fds, _, _ = socket.recv_fds(talk, 1 << 20, 2)
            while not data.endswith(b"\n"):
                data += talk.recv(1 << 20)
            asked = json.loads(data)
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                listening.close()
                talk.close()
                child(asked, fds)
            for fd in fds:
                os.close(fd)
            talk.sendall((json.dumps({"pid": pid}) + "\n").encode())
            waiting[pid] = talk
        while waiting:
            pid, status, usage = os.wait3(os.WNOHANG)
            if pid == 0:
                break
            talk = waiting.pop(pid, None)
            if talk is not None:
                told = {"code": os.waitstatus_to_exitcode(status), "rss_mb": usage.ru_maxrss / 1024}
                try:
                    talk.sendall((json.dumps(told) + "\n").encode())
                except OSError:
                    pass
                talk.close()
        if os.getppid() != parent and not os.environ.get("WARM_STAY"):
            return


if __name__ == "__main__":
    main(sys.argv[1])
