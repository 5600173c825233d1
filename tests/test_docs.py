"""The documentation is tested: what it says of commands, tables and files is what the code says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chorograph.area.tables import TABLES
from chorograph.cli.app import app
from chorograph.cli.listing import reference
from chorograph.verbs.table import VERBS

ROOT = Path(__file__).resolve().parents[1]


def test_the_reference_is_current() -> None:
    assert (ROOT / "docs" / "reference" / "verbs.md").read_text() == reference(), (
        "run: chorograph reference > docs/reference/verbs.md"
    )


def test_conventions_name_every_column() -> None:
    text = (ROOT / "docs" / "reference" / "conventions.md").read_text()
    for table in TABLES.values():
        if table.name == "ratings":
            continue
        assert f"{table.name}.parquet" in text
        for column in table.columns:
            assert f"{column.name}{'?' if column.nullable else ''}" in text, f"{table.name}.{column.name}"


def _commands() -> list[str]:
    text = re.sub(r"\\\n\s*", " ", (ROOT / "README.md").read_text())
    return [line.split("#")[0].strip() for line in text.splitlines() if line.startswith("chorograph ")]


def test_the_readme_has_commands() -> None:
    assert len(_commands()) >= 4


@pytest.mark.parametrize("command", _commands())
def test_commands_in_the_readme_have_known_options(command: str) -> None:
    words = shlex.split(command)[1:]
    name = next((name for many in (3, 2) if (name := " ".join(words[:many])) in VERBS), words[0])
    assert name in VERBS or name in ("run", "demo", "list", "doctor")
    help_text = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "300"}).output
    for option in [word for word in words if word.startswith("--")]:
        assert option in help_text, f"{name} has no {option}"


def test_linked_files_exist() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_no_file_names_a_package_host_or_a_path_of_a_machine() -> None:
    hosts = re.compile(
        "|".join(["p" + "ypi.org", "python" + "hosted.org", "registry.n" + "pmjs.org", "deb.deb" + "ian.org"])
    )
    for name in ("pyproject.toml", "Makefile", "README.md", "requirements/all.txt", "requirements/demo.txt", ".ci/run"):
        assert not hosts.search((ROOT / name).read_text()), name


def test_the_tests_that_hold_a_line_exist() -> None:
    """The page of threats names a test for every line; each is a file or folder of tests, and a function in it."""
    text = (ROOT / "docs/explanation/threats.md").read_text(encoding="utf-8")
    heads = ("|---", "| line", "| kind")
    lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith(heads)]
    named = [re.findall(r"`(tests/[^`:]*)(?:::([a-z_0-9]+))?`", line.rsplit("|", 2)[1]) for line in lines]
    assert len(lines) > 30
    assert all(named), [line for line, found in zip(lines, named, strict=True) if not found]
    for path, function in {each for found in named for each in found}:
        place = ROOT / path
        held = [place] if place.is_file() else sorted(place.rglob("test_*.py"))
        assert held, path
        assert not function or f"def {function}(" in place.read_text(encoding="utf-8"), f"{path}::{function}"
