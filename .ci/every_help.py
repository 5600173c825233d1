"""Calls the help of every command in one process: quick enough for every Python."""

from __future__ import annotations

from typer.testing import CliRunner

from chorograph.cli.app import app
from chorograph.verbs.table import VERBS

for name in ["", *VERBS, "run", "demo", "list", "doctor", "reference"]:
    result = CliRunner().invoke(app, [*name.split(), "--help"], catch_exceptions=False)
    assert result.exit_code == 0, f"chorograph {name} --help: {result.output}"  # noqa: S101
