"""Put on PYTHONPATH by kill.py: kills its own process group at the K-th commit (rename, rmdir, rmtree, remove).

DRILL_ROOT: only paths below it count. DRILL_LOG: write what happened there, and kill nothing. DRILL_KILL: `before:K`
kills as the K-th commit is about to happen, `after:K` as soon as anything happens after it.
"""

import os
import signal
import sys

_ROOT, _LOG, _KILL = (os.environ.get(f"DRILL_{name}", "") for name in ("ROOT", "LOG", "KILL"))
_EVENTS = {"os.rename": 1, "shutil.rmtree": 0, "os.rmdir": 0, "os.remove": 0, "os.link": 1}

if _ROOT and (_LOG or _KILL):
    _when, _, _number = _KILL.partition(":")
    _state = {"count": 0, "armed": False, "busy": False}

    def _die() -> None:
        os.killpg(os.getpgid(0), signal.SIGKILL)

    def _hook(event: str, args: tuple) -> None:
        if _state["busy"]:
            return
        if _state["armed"]:
            _state["busy"] = True
            _die()
        if event not in _EVENTS:
            return
        try:
            place = os.fspath(args[_EVENTS[event]])
        except (TypeError, IndexError):
            return
        place = os.fsdecode(place)
        if not place.startswith(_ROOT):
            return
        _state["count"] += 1
        if _LOG:
            _state["busy"] = True
            with open(_LOG, "a") as file:
                file.write(f"{event} {place[len(_ROOT) :]}\n")
            _state["busy"] = False
            return
        if _state["count"] == int(_number):
            if _when == "before":
                _state["busy"] = True
                _die()
            _state["armed"] = True

    sys.addaudithook(_hook)
