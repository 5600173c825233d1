"""The command line: arguments in, a stage, a summary out."""

from __future__ import annotations


def main() -> None:
    """Run the command line and exit: 0 done, 1 failed, 2 wrong use."""
    from chorograph.cli.app import app

    app(prog_name="chorograph")
