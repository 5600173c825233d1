"""The same recipe on a Ray cluster with two workers: the same rows, also when a worker is killed on the way."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_run import HELD, LOOKS, RULES, content, run

pytest.importorskip("ray", reason="needs chorograph[curate]")
pytest.importorskip("psutil", reason="finds the worker to kill")

#: Runs a recipe on a cluster of its own, a head without cores and two workers with one each, once an OUT; on the way to
#: the last one, with `kill`, the first of Ray's processes that run Daft's tasks is killed during the third query.
DRIVER = """
import json, os, signal, sys, threading
from pathlib import Path
os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", DO_NOT_TRACK="1", DAFT_ANALYTICS_ENABLED="0")
import psutil, ray
from ray.cluster_utils import Cluster
from chorograph.ground.errors import ChorographError
from chorograph.verbs.curate.run import Settings, curate_with
kill, recipe, outs, *given = sys.argv[1:]
small = {"object_store_memory": 80 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **small})
for _ in range(2):
    cluster.add_node(num_cpus=1, **small)
partitions, killed = 0, []
def watch(what, done, total):
    global partitions
    partitions += 1
    if kill and partitions == 3 and out == outs.split(":")[-1]:
        ours = [p for p in psutil.Process().children(recursive=True) if "SwordfishActor" in " ".join(p.cmdline())]
        def kill_one():
            ours[0].send_signal(signal.SIGKILL)
            killed.append(ours[0].pid)
        threading.Timer(0.02, kill_one).start()  # in the middle of the next query
said = {"failed": ""}
try:
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    print("cluster is up", flush=True)
    said["workers"] = sum(node["Alive"] and node["Resources"].get("CPU", 0) > 0 for node in ray.nodes())
    for out in outs.split(":"):
        partitions = 0
        config = Settings(
            recipe=recipe, in_=given, out=Path(out), partition_rows=60, engine="ray", ray_address=cluster.address
        )
        try:
            curate_with(config, watch, lambda name: None, lambda line: None)
        except ChorographError as error:
            said["failed"] = str(error)
    print(json.dumps({**said, "killed": len(killed)}), flush=True)
finally:
    ray.shutdown()
    cluster.shutdown()
    os._exit(0)
"""


@pytest.mark.slow
def test_ray_gives_what_one_machine_gives(
    filed: Callable[..., list[str]], recipe: Callable[[str], Path], tmp_path: Path
) -> None:
    given, made = filed(images=True), recipe(HELD + "steps:\n" + RULES + LOOKS)

    def on_ray(kill: str, *outs: str) -> dict[str, object]:
        folders = ":".join(str(tmp_path / out) for out in outs)
        command = [sys.executable, "-c", DRIVER, kill, str(made), folders, *given]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        except subprocess.TimeoutExpired as expired:
            if b"cluster is up" in (expired.stdout or b""):
                raise
            pytest.skip("Ray does not start on this machine")
        if "cluster is up" not in done.stdout:
            pytest.skip(f"Ray does not start on this machine: {done.stderr[-500:]}")
        said: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
        return said

    run(made, given, tmp_path / "native")
    said = on_ray("kill", "whole", "killed")
    assert (said["workers"], said["killed"]) == (2, 1)
    assert content(tmp_path / "whole") == content(tmp_path / "native")
    if said["failed"]:  # the engine gave up: what was finished stays, and the same command goes on
        assert "goes on from there" in str(said["failed"])
        assert not (tmp_path / "killed" / "corpus").exists()
        assert on_ray("", "killed") == {"workers": 2, "killed": 0, "failed": ""}
    assert content(tmp_path / "killed") == content(tmp_path / "native")


def test_a_ray_that_does_not_start_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    from chorograph.curation.run.engine import engine
    from chorograph.ground.errors import InputError

    asked: list[object] = []

    def failing(**settings: object) -> None:
        asked.append(settings["address"])
        raise Exception("The current node timed out during startup.\n\nThis could happen because the raylet failed")

    monkeypatch.setattr(ray, "init", failing)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(
        InputError, match=r"^Ray does not start here: The current node timed out during startup"
    ) as said:
        engine("ray").__enter__()
    assert "\n" not in str(said.value)
    assert asked == ["local"]  # never a cluster that somebody else runs here


@pytest.mark.parametrize("told", ["environment", "file"])
def test_a_cluster_that_is_gone_is_not_waited_for(told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from chorograph.curation.run.engine import engine
    from chorograph.ground.errors import InputError

    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    (tmp_path / "ray").mkdir()
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if told == "environment":
        monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    else:
        (tmp_path / "ray" / "ray_current_cluster").write_text("127.0.0.1:1")
    with pytest.raises(InputError, match=r"no Ray cluster answers at 127\.0\.0\.1:1"):
        engine("ray", "auto").__enter__()
