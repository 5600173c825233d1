"""A small package by somebody else adds names; a broken one is told of and harms nobody."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = '''
"""Somebody else's package."""

import numpy as np


class Shades:
    """The mean grey of an image."""

    name, dim, fingerprint = "shades", 1, "shades-1"

    def encode(self, images):
        return np.array([[image.mean() / 255] for image in images], dtype=np.float32)


def shades(argument, device):
    """mean grey, a number an image"""
    return Shades()


def middle(columns, seed, block_m):
    """the mean of the labels, whatever the features"""
    from sklearn.dummy import DummyRegressor

    return DummyRegressor()


def halves(asked):
    """every other region"""
    from chorograph.area.splits import RandomFolds

    return RandomFolds(2, asked.seed, name="halves")
'''
ENTRY_POINTS = """
[chorograph.encoder]
shades = somebodys_package:shades
torn = somebodys_package.nowhere:made

[chorograph.probe]
middle = somebodys_package:middle

[chorograph.split]
halves = somebodys_package:halves
"""
SCRIPT = """
import json, sys
from typer.testing import CliRunner
from chorograph.cli.app import app
for line in json.loads(sys.argv[1]):
    result = CliRunner().invoke(app, [*line, "--json"], catch_exceptions=False)
    print(json.dumps([result.exit_code, json.loads(result.stdout.strip().splitlines()[-1])]))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    (folder / "somebodys_package.py").write_text(PACKAGE)
    described = folder / "somebodys_package-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-package\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def call(site: Path, *lines: list[str]) -> list[tuple[int, dict[str, object]]]:
    """Run commands in one new Python that finds the package, for entry points are looked up once."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    command = [sys.executable, "-c", SCRIPT, json.dumps(lines)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_what_a_package_adds_is_listed_and_used(site: Path, tmp_path: Path) -> None:
    city = str(tmp_path / "city")
    predict = ["predict", city, "--indicator", "carbon", "--embeddings", "shades", "--modalities", "image"]
    listed, splits, probes, drawn, embedded, predicted = call(
        site,
        ["list", "encoders"],
        ["list", "splits"],
        ["list", "probes"],
        ["area", "synthetic", city, "--regions", "24", "--tiles-per-region", "1", "--street-views-per-region", "0"],
        ["embed", city, "--model", "shades"],
        [*predict, "--split", "halves", "--probe", "middle", "--out", str(tmp_path / "run")],
    )
    summaries = {row["name"]: row["summary"] for row in listed[1]["entries"]}
    assert summaries["shades"] == "mean grey, a number an image (from somebodys-package)"
    assert "every other region" in str(splits)
    assert "the mean of the labels" in str(probes)
    assert (drawn[0], embedded[0], predicted[0]) == (0, 0, 0), (embedded, predicted)
    assert embedded[1]["counts"]["width"] == 1
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())["indicators"]["carbon"]
    assert scores["split"]["name"] == "halves"
    assert scores["rows"][0]["name"] == "middle on image"


def test_a_broken_package_is_told_of(site: Path) -> None:
    listed, used, near = call(
        site,
        ["list", "encoders"],
        ["embed", "nowhere", "--model", "torn"],
        ["area", "import", "rsicdd", "a", "b"],
    )
    assert listed[0] == 0
    summaries = {row["name"]: row["summary"] for row in listed[1]["entries"]}
    assert "colour" in summaries
    assert summaries["torn"].startswith("broken: torn of somebodys-package does not load")
    assert "ModuleNotFoundError" in summaries["torn"]
    assert used[0] == 1
    assert near[0] == 2
    assert "did you mean 'rsicd'" in near[1]["message"]
