"""The command line: arguments in, a stage, a summary out."""

from __future__ import annotations

import os


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong use."""
    # Threads that wait must sleep: spinning ones take the processor from those that work, and on a busy machine
    # `pretrain` takes four times as long. It must be set before any library of threads is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

    from chorograph.cli.app import app

    app(prog_name="chorograph")
