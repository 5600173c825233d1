"""Daft on one machine or on Ray: the same queries. Nothing is reported to anybody.

Imported before Daft wherever Daft is: it is silenced by the environment, when it is imported.
"""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chorograph.ground.errors import ChorographError, InputError, MissingExtraError

_SILENT = {"DO_NOT_TRACK": "1", "DAFT_ANALYTICS_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
#: Seconds that a cluster's address has to answer at all.
_ANSWER_S = 10.0
#: Seconds that Ray's own processes may take to start.
_START_S = "600"


def daft() -> Any:
    """Return the Daft module, silenced; `MissingExtraError` where it is not installed."""
    os.environ.update(_SILENT)
    os.environ.setdefault("DAFT_PROGRESS_BAR", "0")
    try:
        import daft as module
    except ImportError as error:
        raise MissingExtraError.of("curate", error) from error
    return module


@contextmanager
def engine(name: str, ray_address: str | None = None) -> Iterator[None]:
    """Run Daft queries of the block on `native` or `ray`.

    Without an address, Ray is started on this machine and stopped again. Raises `InputError` where an address does
    not answer, and where this process already runs the other engine (Daft takes one a process).
    """
    module = daft()
    if name == "native":
        if ray_address is not None:
            raise InputError("--ray-address goes with --engine ray")
        _choose(module.set_runner_native, "native")
        yield
        return
    if ray_address is not None:
        _check_address(ray_address)
    # Ray asks for a token by default; a cluster that wants one is told by the user's environment.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    # A busy machine takes longer than Ray waits for its own processes.
    os.environ.setdefault("RAY_gcs_server_port_wait_time_s", _START_S)
    os.environ.setdefault("RAY_gcs_server_request_timeout_seconds", _START_S)
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.of("curate", error) from error
    started = not ray.is_initialized()
    if started:
        # Without an address Ray would join any cluster that somebody runs on this machine; "local" starts one.
        settings: dict[str, Any] = {"address": ray_address or "local", "log_to_driver": False}
        settings["logging_level"] = logging.ERROR
        settings["runtime_env"] = {"env_vars": {**_SILENT, "DAFT_PROGRESS_BAR": "0"}}
        if ray_address is None:
            settings.update(num_cpus=os.cpu_count(), include_dashboard=False)
        try:
            ray.init(**settings)
        except Exception as error:  # Ray raises whatever its parts did
            said = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise InputError(
                f"Ray does not start {'here' if ray_address is None else f'from {ray_address}'}: {said}; try again "
                "when the machine is less busy, give --ray-address, or use --engine native"
            ) from error
    try:
        _choose(lambda: module.set_runner_ray(noop_if_initialized=True), "ray")
        yield
    finally:
        if started:
            ray.shutdown()


def mendable(error: BaseException) -> ChorographError | None:
    """Return the error of ours that a query ended with, however deep Daft wrapped it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ChorographError):
            return seen
        seen = seen.__cause__ or seen.__context__
    return None


def _choose(set_runner: Any, name: str) -> None:
    try:
        set_runner()
    except Exception as error:
        if daft().get_or_infer_runner_type() != name:
            raise InputError(f"this process runs Daft on another engine than {name}; start a new one") from error


def _check_address(address: str) -> None:
    if address == "auto":
        # What a Ray that is gone wrote down last: asked for in vain, Ray would wait for it for minutes.
        noted = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir(), "ray", "ray_current_cluster")
        address = os.environ.get("RAY_ADDRESS") or (noted.read_text().strip() if noted.is_file() else "") or "local"
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise InputError(f"--ray-address is HOST:PORT, ray://HOST:PORT or auto, not {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=_ANSWER_S).close()
    except OSError as error:
        raise InputError(
            f"no Ray cluster answers at {address} ({error}); is `ray start --head` running there?"
        ) from error
