"""From the command line to the report, on a small synthetic city; each command as a user would type it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from chorograph.area.folder import Area
from chorograph.cli.app import app
from chorograph.verbs.table import VERBS


def call(*words: object, code: int = 0) -> dict[str, Any]:
    """Run a command with --json, check its exit code, return the object on the last line of stdout."""
    result = CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout.strip().splitlines()[-1])


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("journey") / "city"
    made = call("area", "synthetic", out, "--regions", 60, "--tiles-per-region", 2, "--street-views-per-region", 1)
    assert made["counts"]["regions"] == 60
    call("embed", out, "--model", "colour+rcf:64")
    return out


@pytest.fixture(scope="module")
def run(city: Path) -> Path:
    out = city.parent / "run"
    words = ["--embeddings", "colour+rcf:64", "--indicator", "median_income", "--log", "--block-m", 300]
    done = call("predict", city, *words, "--out", out, "--save", "first")
    assert done["counts"]["regions"] == 60
    return out


def test_check_and_info(city: Path) -> None:
    assert call("area", "check", city)["counts"]["regions"] == 60
    info = call("area", "info", city)["facts"]
    assert info["synthetic"] is True
    assert "median_income" in info["indicators"]
    assert 0 < info["attainable_r2"]["median_income"] < 1


def test_one_vector_an_image_and_none_twice(city: Path) -> None:
    again = call("embed", city, "--model", "colour+rcf:64")
    assert again["skipped"] is True
    Area.open(city).embeddings_path("colour+rcf:64").with_suffix(".manifest.json").unlink()
    redone = call("embed", city, "--model", "colour+rcf:64")
    assert redone["skipped"] is False
    assert redone["counts"]["encoded now"] == 0


def test_predictions_are_a_whole_map(city: Path, run: Path) -> None:
    frame = gpd.read_parquet(run / "predictions.parquet")
    assert len(frame) == 60
    assert frame["predicted"].notna().all()
    assert (frame["lower"] < frame["predicted"]).all()
    assert (frame["predicted"] < frame["upper"]).all()
    unlabelled = frame["target"].isna()
    assert unlabelled.any()
    assert frame.loc[unlabelled, "fold"].isna().all()
    assert frame.loc[~unlabelled, "fold"].notna().all()
    assert len(gpd.read_file(run / "predictions.geojson")) == 60
    filed = pd.read_parquet(city / "predictions" / "first.parquet")
    assert np.array_equal(filed["predicted"], frame["predicted"])


def test_scores_stand_beside_every_baseline(run: Path) -> None:
    scores = json.loads((run / "scores.json").read_text())["indicators"]["median_income"]
    assert [row["name"] for row in scores["rows"]] == [
        "auto",
        "mean",
        "location",
        "region shape",
        "location + shape",
        "POI counts",
        "attainable",
    ]
    model = scores["rows"][0]
    assert "a weighted mean of" in model["meaning"]
    value, lower, upper = model["own"]["mae"]
    assert lower <= value <= upper
    assert 0.5 < model["coverage"][0] <= 1.0
    assert scores["leaky"] is False


def test_scores_equal_scikit_learn_on_the_written_predictions(run: Path) -> None:
    from sklearn.metrics import mean_absolute_error, r2_score

    frame = gpd.read_parquet(run / "predictions.parquet")
    scores = json.loads((run / "scores.json").read_text())["indicators"]["median_income"]
    kept = frame[frame["fold"].notna() & (frame["basis"].str.len() == frame["basis"].str.len().max())]
    row = scores["rows"][0]
    assert row["n"] == len(kept)
    assert np.isclose(row["fitted"]["r2"][0], r2_score(np.log(kept["target"]), np.log(kept["predicted"])), atol=1e-5)
    assert np.isclose(row["own"]["mae"][0], mean_absolute_error(kept["target"], kept["predicted"]), rtol=1e-5)


def test_report(run: Path) -> None:
    done = call("report", run)
    page = (run / "report.html").read_text()
    assert done["config"]["out"].endswith("report.html")
    assert "synthetic" in page.lower()
    assert call("report", run)["skipped"] is True


@pytest.mark.parametrize("probe", ["ridge", "mlp"])
def test_other_probes(city: Path, tmp_path: Path, probe: str) -> None:
    words = ["--embeddings", "colour+rcf:64", "--indicator", "carbon", "--log", "--block-m", 300, "--probe", probe]
    done = call("predict", city, *words, "--modalities", "image", "--out", tmp_path / "run")
    assert next(iter(done["facts"]["rows"])) == f"{probe} on image"


def test_random_splits_are_called_leaky(city: Path, tmp_path: Path) -> None:
    words = ["--embeddings", "none", "--indicator", "carbon", "--split", "random", "--modalities", "location"]
    done = call("predict", city, *words, "--out", tmp_path / "run")
    assert "leaky: neighbours on both sides" in done["warnings"]
    call("report", tmp_path / "run")
    assert "leaky" in (tmp_path / "run" / "report.html").read_text()


def test_groups_and_rates(city: Path, tmp_path: Path) -> None:
    words = ["--embeddings", "none", "--indicator", "carbon", "--per", "population", "--split", "leave_group_out"]
    done = call("predict", city, *words, "--modalities", "location,shape,poi,graph", "--out", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "scores.json").read_text())["indicators"]["carbon"]["per"] == "population"
    assert done["counts"]["scored"] > 20


def test_template_captions_never_tell_an_indicator(city: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(city, copy)
    done = call("caption", copy, "--captioner", "template", "--per-image", 1)
    captions = pd.read_parquet(copy / "captions.parquet")
    written = captions[captions["origin"] == "template"]
    assert len(written) == done["counts"]["captions"] > 0
    values = pd.read_parquet(copy / "indicators.parquet")["value"].dropna()
    assert not written["caption"].str.contains(r"\d", regex=True).any()
    assert len(values) > 0


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("predict CITY --embeddings none --indicator incom --out RUN", 2, "median_income|known"),
        ("predict CITY --indicator carbon --split blocks --out RUN", 2, "no split named 'blocks'"),
        ("predict CITY --indicator carbon --embeddings rcf:8 --out RUN", 1, "run `chorograph embed`"),
        ("predict CITY --indicator carbon --embeddings none --folds 500 --out RUN", 1, "fewer folds"),
        ("predict RUN --indicator carbon --out RUN", 1, "is not an area"),
        ("embed CITY --model color", 2, "did you mean 'colour'"),
        ("report RUN", 1, "RUN|does not exist|no "),
        ("run syntetic", 2, "did you mean 'synthetic'"),
        ("list encoder", 2, "did you mean 'encoders'"),
    ],
)
def test_mistakes_are_answered_and_leave_nothing(
    city: Path, tmp_path: Path, words: str, code: int, message: str
) -> None:
    import re

    place = {"CITY": str(city), "RUN": str(tmp_path / "RUN")}
    answer = call(*(place.get(word, word) for word in words.split()), code=code)
    assert re.search(message, answer["message"]), answer["message"]
    assert not list(tmp_path.glob("RUN/*.parquet"))


def test_wrong_use_is_exit_2() -> None:
    assert CliRunner().invoke(app, ["predict"]).exit_code == 2
    assert CliRunner().invoke(app, ["predikt"]).exit_code == 2


def test_every_verb_has_help_and_json() -> None:
    for name in VERBS:
        result = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "200"})
        assert result.exit_code == 0
        assert "--json" in result.output


@pytest.mark.parametrize("kind", ["encoders", "verbs", "recipes", "layouts", "tables"])
def test_list(kind: str) -> None:
    assert call("list", kind)["entries"]


def test_doctor() -> None:
    assert "chorograph" in call("doctor")


def test_ctrl_c_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "city"
    # A shell starts what it puts into the background deaf to Ctrl-C.
    program = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
    program += "from chorograph.cli import main; main()"
    command = [sys.executable, "-c", program, "area", "synthetic", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    # Wait until the draft stands beside its place: then it is in the middle of its work.
    while time.monotonic() < deadline and not list(tmp_path.glob(".city.*")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert "interrupted" in errors
    assert list(tmp_path.iterdir()) == []
