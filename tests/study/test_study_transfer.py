"""The matrix of transfer on two chessboards that obey one law, and a third that obeys its opposite."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely.geometry import box
from typer.testing import CliRunner

from chorograph.area.draft import AreaDraft
from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.cli.app import app
from chorograph.ground.errors import InputError
from chorograph.ground.stage import silent
from chorograph.verbs.evaluate.transfer import Settings, run

SIDE = 12


def _board(path: Path, seed: int, slope: float, fingerprint: str = "f") -> Path:
    rng = np.random.default_rng(seed)
    number = SIDE * SIDE
    ids = [f"r{k}" for k in range(number)]
    cells = [
        box(0.01 * (k % SIDE), 0.01 * (k // SIDE), 0.01 * (k % SIDE + 1), 0.01 * (k // SIDE + 1)) for k in range(number)
    ]
    vectors = rng.normal(size=(number, 4)).astype(np.float32)
    value = slope * vectors[:, 0] + rng.normal(0, 0.3, number)
    sha = [f"{seed}-{k}" for k in range(number)]
    images = pd.DataFrame({"image_id": ids, "region_id": ids, "sha256": sha})
    labels = pd.DataFrame({"region_id": ids, "indicator": "rent", "value": value, "unit": "EUR", "source": "t"})
    with AreaDraft(path, path.name) as draft:
        draft.write("regions", gpd.GeoDataFrame({"region_id": ids}, geometry=cells, crs=4326))
        draft.write("images", images.assign(view="satellite", source="t", licence="t"))
        draft.write("indicators", labels)
    stored = Embeddings("colour", fingerprint, np.array(ids, dtype=object), np.array(sha, dtype=object), vectors)
    stored.write(Area.open(path).embeddings_path("colour"))
    return path


def _matrix(folder: Path, areas: list[Path]) -> pd.Series:
    config = Settings(areas=areas, indicator="rent", out=folder / "out", embeddings="colour", block_m=3000)
    run(config, silent)
    frame = pd.read_csv(folder / "out" / "transfer.csv")
    return frame.set_index(["trained_on", "tested_on"])["r2"]


def test_a_law_transfers_where_it_holds(tmp_path: Path) -> None:
    areas = [_board(tmp_path / "a", 0, 1.0), _board(tmp_path / "b", 1, 1.0), _board(tmp_path / "c", 2, -1.0)]
    r2 = _matrix(tmp_path, areas)
    assert len(r2) == 9
    assert min(r2["a", "a"], r2["a", "b"], r2["b", "a"]) > 0.8
    assert r2["a", "c"] < -1.0
    text = (tmp_path / "out" / "transfer.md").read_text()
    assert text.count("|") == 5 * 5


def test_vectors_of_encoders_that_differ_are_refused(tmp_path: Path) -> None:
    areas = [_board(tmp_path / "a", 0, 1.0), _board(tmp_path / "b", 1, 1.0, fingerprint="g")]
    with pytest.raises(InputError, match="cannot be compared"):
        _matrix(tmp_path, areas)
    assert not (tmp_path / "out" / "transfer.csv").exists()


def test_from_the_command_line(tmp_path: Path) -> None:
    a, b = _board(tmp_path / "a", 0, 1.0), _board(tmp_path / "b", 1, 1.0)
    asked = ["evaluate", "transfer", str(a), str(b), "--indicator", "rent", "--embeddings", "colour"]
    result = CliRunner().invoke(app, [*asked, "--out", str(tmp_path / "out"), "--block-m", "3000"])
    assert result.exit_code == 0, result.output
    assert "a -> b" in result.output
    wrong = CliRunner().invoke(app, [*asked, "--modalities", "location", "--out", str(tmp_path / "other")])
    assert wrong.exit_code == 2
    alone = CliRunner().invoke(app, ["evaluate", "transfer", str(a), "--indicator", "rent", "--out", "x"])
    assert alone.exit_code == 2
