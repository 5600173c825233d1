"""How threads wait, as the library of threads itself tells it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("torch")

#: The command line starts, and then a library of threads is loaded.
PROGRAM = """
import sys
from chorograph.cli import main
sys.argv = ["chorograph", "--help"]
try:
    main()
except SystemExit:
    import torch
"""


def policy(**extra: str) -> str:
    env = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM], env={**env, "OMP_DISPLAY_ENV": "true", **extra}, capture_output=True, text=True
    )
    lines = [line for line in ended.stderr.splitlines() if "OMP_WAIT_POLICY" in line]
    if not lines:
        pytest.skip("no library of threads that tells its settings")
    return lines[-1].split("'")[1]


def test_waiting_threads_sleep() -> None:
    assert policy() == "PASSIVE"


def test_who_sets_it_is_obeyed() -> None:
    assert policy(OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"
