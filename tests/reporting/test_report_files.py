from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chorograph.ground.errors import InputError
from chorograph.reporting.report import write_report
from chorograph.reporting.run import read_run

Make = Callable[..., Any]


@pytest.mark.parametrize("name", ["predictions.parquet", "scores.json", "manifest.json"])
def test_a_missing_file_is_named(tmp_path: Path, area: Path, name: str, make_run: Make) -> None:
    run = make_run(tmp_path / "run", area)
    (run / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        write_report(run)
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("name", ["predictions.parquet", "scores.json", "manifest.json"])
@pytest.mark.parametrize("keep", [0, 40])
def test_a_damaged_file_is_named(tmp_path: Path, area: Path, name: str, keep: int, make_run: Make) -> None:
    run = make_run(tmp_path / "run", area)
    (run / name).write_bytes((run / name).read_bytes()[:keep])
    with pytest.raises(InputError, match=name):
        write_report(run)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"unit": "m2"}, "'indicator' is missing"),
        ([1, 2], "not an object of names"),
        ("rows", "not an object of names"),
    ],
)
def test_scores_of_another_shape_are_refused(
    tmp_path: Path, area: Path, content: object, said: str, make_run: Make
) -> None:
    run = make_run(tmp_path / "run", area)
    (run / "scores.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=said):
        read_run(run)


def test_scores_without_a_model_are_refused(tmp_path: Path, area: Path, make_run: Make) -> None:
    with pytest.raises(InputError, match="no row of kind 'model'"):
        read_run(make_run(tmp_path / "run", area, rows=[]))


def test_a_lacking_column_and_a_repeated_region_are_named(tmp_path: Path, area: Path, make_run: Make) -> None:
    lacking = make_run(tmp_path / "lacking", area, frame=lambda frame: frame.drop(columns="upper"))
    with pytest.raises(InputError, match="lacks the column 'upper'"):
        read_run(lacking)
    twice = make_run(tmp_path / "twice", area, frame=lambda frame: frame.assign(region_id="r007"))
    with pytest.raises(InputError, match="'r007' appears twice"):
        read_run(twice)


def test_the_area_is_found_beside_a_run_that_moved_with_it(tmp_path: Path, area: Path, make_run: Make) -> None:
    run = make_run(tmp_path / "run", "../gridville")
    (tmp_path / "gridville").symlink_to(area)
    read = read_run(run)
    assert read.area is not None
    assert read.notes == ()
    assert read.frame["name"].tolist()[1] == "Quarter 1"


def test_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run folder"):
        read_run(tmp_path / "nothing")
