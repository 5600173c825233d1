"""The Dockerfile, read: its wheel, extras, user and command are those that exist. Nothing here builds it."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from chorograph.ground.settings import configure
from chorograph.verbs.serve import Settings

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, str]]:
    """The instructions as (word, rest), continued lines joined, comments left out."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def of(steps: list[tuple[str, str]], word: str) -> list[str]:
    return [rest for found, rest in steps if found == word]


def test_it_starts_from_a_python_that_the_project_takes(steps: list[tuple[str, str]]) -> None:
    assert steps[0][0] == "FROM"
    version = re.fullmatch(r"python:(\d+\.\d+)-slim", steps[0][1])
    assert version
    assert version[1] in SpecifierSet(PROJECT["requires-python"])


def test_only_a_wheel_is_copied_and_its_extras_exist(steps: list[tuple[str, str]]) -> None:
    assert of(steps, "COPY") == [f"dist/{PROJECT['name']}-*.whl /wheels/"]
    (extras,) = (rest.removeprefix("EXTRAS=") for rest in of(steps, "ARG"))
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
    assert any("pip install" in run and "[${EXTRAS}]" in run for run in of(steps, "RUN"))


def test_it_runs_without_root_and_answers_the_health_check(steps: list[tuple[str, str]]) -> None:
    words = [word for word, _ in steps]
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert of(steps, "USER") == ["chorograph"]
    assert "http://127.0.0.1:8000/health" in of(steps, "HEALTHCHECK")[0]


def test_its_command_is_one_that_serve_takes(steps: list[tuple[str, str]]) -> None:
    assert json.loads(of(steps, "ENTRYPOINT")[0]) == list(PROJECT["scripts"])
    verb, area, *options = json.loads(of(steps, "CMD")[0])
    assert verb == "serve"
    given: dict[str, object] = {"areas": [area]}
    for name, value in zip(options[::2], options[1::2], strict=True):
        key = name.removeprefix("--").replace("-", "_")
        given[key] = [*given.get(key, []), value] if key == "name" else value  # type: ignore[misc]
    settings = configure(Settings, given)
    assert (settings.host, settings.port) == ("0.0.0.0", 8000)  # noqa: S104
    assert settings.token_file == Path("/run/secrets/token")
    assert settings.name == ["127.0.0.1", "localhost"]
