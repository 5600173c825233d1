"""The tutorials run as they stand: their blocks, in order, in an empty folder."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
from doctest import ELLIPSIS, NORMALIZE_WHITESPACE, OutputChecker
from pathlib import Path

import pytest
from sybil import Example, Sybil
from sybil.parsers.markdown import CodeBlockParser
from typer.testing import CliRunner

from chorograph.cli.app import app

TUTORIALS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.md"))
_PRINTED = "printed"


def _run_python(example: Example) -> None:
    """Run the block with the names of the blocks before it."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(example.parsed, str(example.path), "exec"), example.namespace)  # noqa: S102
    example.namespace[_PRINTED] = out.getvalue()


def _run_shell(example: Example) -> None:
    """Run each line: chorograph's commands in this process, which spares its start."""
    printed = []
    for line in re.sub(r"\\\n\s*", " ", example.parsed).splitlines():
        words = shlex.split(line)
        if words[:1] == ["chorograph"]:
            result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
            assert result.exit_code == 0, f"{line}\n{result.output}"
            printed.append(result.stdout)
        elif words:
            printed.append(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    example.namespace[_PRINTED] = "".join(printed)


def _compare_text(example: Example) -> None:
    """Compare what the block before printed; `...` stands for anything."""
    printed = example.namespace[_PRINTED]
    assert OutputChecker().check_output(example.parsed, printed, ELLIPSIS | NORMALIZE_WHITESPACE), printed


_SYBIL = Sybil(
    [
        CodeBlockParser("python", _run_python),
        CodeBlockParser("sh", _run_shell),
        CodeBlockParser("text", _compare_text),
    ]
)


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: str(page.stem))
def test_a_tutorial_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = list(_SYBIL.parse(page).examples())
    assert examples or page.stem == "index"
    for example in examples:
        example.evaluate()


def test_there_are_three_tutorials() -> None:
    assert {page.stem for page in TUTORIALS} >= {"own-files", "shards", "funnel"}
