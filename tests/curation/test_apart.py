"""A row at which the process dies is found at the next start, and dropped with its reason."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from chorograph.curation.run.apart import apply_apart, forget, suspects, under_way

#: What every process of a run imports first: a decoder that ends its process at one picture, as a broken one does.
_DECODER = """
import signal
from chorograph.curation.steps import validity
whole = validity.inspect_image
def inspect(data, max_pixels):
    if b"the culprit" in data:
        signal.raise_signal(signal.SIGSEGV)  # of this thread: one of the process leaves it a moment to go on
    return whole(data, max_pixels)
validity.inspect_image = inspect
"""
_STEPS = """
import os
from dataclasses import dataclass
from chorograph.curation.rows import Drop
@dataclass(frozen=True)
class Deadly:
    at: tuple = ()
    name = "deadly"
    def apply(self, rows, context):
        if any(row["key"] in self.at for row in rows):
            os._exit(3)
        for row in rows:
            row["seen"] = True
        return [Drop("odd") if row["key"] % 2 else None for row in rows]
@dataclass(frozen=True)
class Failing:
    name = "failing"
    def apply(self, rows, context):
        raise FileNotFoundError("no such pack")
"""


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    (tmp_path / "steps_that_die.py").write_text(_STEPS)
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("steps_that_die", None)
    return __import__("steps_that_die")


def test_the_rows_that_kill_are_found_among_many(steps: object, tmp_path: Path) -> None:
    from chorograph.curation.rows import Context

    rows = [{"key": key} for key in range(10)]
    drops = apply_apart(steps.Deadly(at=(4, 9)), rows, Context(str(tmp_path)))  # type: ignore[attr-defined]
    said = ["" if drop is None else drop.reason for drop in drops]
    dies = "the process dies at it (exit code 3)"
    assert said == ["", "odd", "", "odd", dies, "odd", "", "odd", "", dies]
    assert [row["key"] for row in rows if "seen" in row] == [0, 1, 2, 3, 5, 6, 7, 8]


def test_an_error_of_the_step_is_the_caller_s(steps: object, tmp_path: Path) -> None:
    from chorograph.curation.rows import Context

    with pytest.raises(FileNotFoundError, match="no such pack"):
        apply_apart(steps.Failing(), [{"key": 1}], Context(str(tmp_path)))  # type: ignore[attr-defined]


def test_what_is_under_way_is_written_down(tmp_path: Path) -> None:
    with under_way(tmp_path / "packs", [{"key": 2**64 - 1}, {"key": 5}]):
        assert suspects(tmp_path / "packs") == {2**64 - 1, 5}
    assert suspects(tmp_path / "packs") == set()
    (tmp_path / "packs" / "x.under-way").write_bytes(np.array([7], np.uint64).tobytes() + b"cut")
    assert suspects(tmp_path / "packs") == {7}
    forget(tmp_path / "packs")
    assert suspects(tmp_path / "packs") == set()


def _picture(seed: int, more: bytes = b"") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue() + more


@pytest.fixture
def deadly(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return how `curate` is started on twelve pictures, at one of which a process dies."""
    (tmp_path / "sitecustomize.py").write_text(_DECODER)
    table = pa.table(
        {
            "caption": [f"aerial view {row}" for row in range(12)],
            "image": [_picture(row, b"the culprit" if row == 7 else b"") for row in range(12)],
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    (tmp_path / "r.yaml").write_text("columns: {url: '', image: image}\nsteps: [valid_images]\noutput: {name: t}\n")
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    command = [sys.executable, "-c", "from chorograph.cli import main; raise SystemExit(main())", "curate"]
    command += [str(tmp_path / "r.yaml"), "--in", str(tmp_path / "in.parquet"), "--out", str(tmp_path / "out")]

    def start(*more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": paths}
        return subprocess.run([*command, *more], env=environment, capture_output=True, text=True, check=False)

    return start


def _went_on_without_it(out: Path) -> bool:
    counted = json.loads((out / "manifest.json").read_text())
    assert counted["dropped"] == {"valid_images: the process dies at it (signal 11)": 1}
    return len(pd.read_parquet(out / "corpus/images.parquet")) == 11


def test_a_run_that_died_at_a_picture_goes_on_without_it(
    deadly: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    assert deadly().returncode == -11
    assert deadly().returncode == 0
    assert _went_on_without_it(tmp_path / "out")
    assert deadly().returncode == 0


@pytest.mark.slow
def test_on_ray_the_same_start_goes_on_without_it(
    deadly: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    """Ray starts another worker and gives it the same rows, and they are judged apart there."""
    pytest.importorskip("ray", reason="needs chorograph[curate]")
    done = deadly("--engine", "ray")
    if "Ray does not start here" in done.stderr:
        pytest.skip("Ray does not start on this machine")
    assert done.returncode == 0, done.stderr[-2000:]
    assert _went_on_without_it(tmp_path / "out")
