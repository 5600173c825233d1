"""What the command line says of itself, and how it answers numbers that nobody can mean."""

from __future__ import annotations

import dataclasses
import os
import shlex
import subprocess
import sys
import typing

import pytest
from typer.testing import CliRunner

from chorograph.cli import show
from chorograph.cli.app import app
from chorograph.ground.settings import describe
from chorograph.verbs.table import VERBS

#: Verbs whose settings lie in their rooms still, and have their ranges when they move.
MOVING = {"graph align", "graph embed", "pretrain", "pretrain-views"}


def help_of(*words: str) -> str:
    result = CliRunner().invoke(app, [*words, "-h"], env={"COLUMNS": "400"})
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("name", VERBS)
def test_help_tells_every_setting_its_choices_and_range(name: str) -> None:
    text = help_of(*name.split())
    for field in dataclasses.fields(VERBS[name].settings):
        assert "".join(describe(field).split()) in "".join(text.split()), field.name


@pytest.mark.parametrize("name", sorted(set(VERBS) - MOVING))
def test_the_example_is_a_command_that_could_be_typed(name: str) -> None:
    verb = VERBS[name]
    text = help_of(*name.split())
    assert verb.example in text
    words = shlex.split(verb.example)
    assert words[: 1 + len(name.split())] == ["chorograph", *name.split()]
    options = [word for word in words if word.startswith("--")]
    assert all(f"{option} " in text for option in options)
    required = {
        field.name
        for field in dataclasses.fields(verb.settings)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    given = {option.removeprefix("--").replace("-", "_") for option in options}
    assert {field.rstrip("_") for field in required} <= given | set(verb.positional)


@pytest.mark.parametrize("name", sorted(set(VERBS) - MOVING))
def test_every_number_has_a_range(name: str) -> None:
    hints = typing.get_type_hints(VERBS[name].settings)
    for field in dataclasses.fields(VERBS[name].settings):
        numbers = {int, float} & {hints[field.name], *typing.get_args(hints[field.name])}
        assert not numbers or field.metadata["within"] is not None, field.name


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("area synthetic OUT --seed -1", "seed must be 0 to 4294967295, not -1"),
        ("area synthetic OUT --regions 0", "regions must be 1 or more, not 0"),
        ("graph build OUT --near-m nan", "near_m must be 0 or more, not nan"),
        ("graph build OUT --near-m inf", "near_m must be 0 or more, not inf"),
        ("localize a.tif words --model m --out OUT --level 90", "level must be above 0 and at most 1, not 90"),
        ("localize a.tif words --model m --out OUT --steps 3", "steps must be 16 to 4096, not 3"),
        ("caption OUT --captioner gpt", "there is no captioner named 'gpt'"),
        ("embed OUT --view above", "view is one of satellite, street, not 'above'"),
    ],
)
def test_a_number_out_of_range_is_wrong_use(words: str, message: str) -> None:
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 2, result.output
    assert message in result.output


def test_an_argument_given_as_an_option_is_told_its_place() -> None:
    result = CliRunner().invoke(app, ["publish", "area", "--out", "published"])
    assert result.exit_code == 2
    assert "--out is no option here; give its value alone: " in result.output
    assert "publish AREA OUT" in result.output


def test_the_shell_completes_verbs() -> None:
    asked = {"_CHOROGRAPH_COMPLETE": "complete_bash", "COMP_WORDS": "chorograph cap", "COMP_CWORD": "1"}
    program = "from chorograph.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **asked}, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["caption", "captions"], done.stderr


def test_a_log_has_a_line_of_progress_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 0.0
    monkeypatch.setattr(show.time, "monotonic", lambda: now)
    with show.Bar() as bar:
        for step in range(1000):
            now = step / 10  # a hundred seconds in all
            bar(f"tiles | {step} a second", step, 1000)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9
    assert lines[0] == "tiles | 100 a second: 100 of 1000"
