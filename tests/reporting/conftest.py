"""A small made-up area and run folder, so that the report is tested without any other stage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Source

if TYPE_CHECKING:
    from playwright.sync_api import Page

SIDE = 8
#: The first regions have no label.
UNLABELLED = 12


def grid(side: int = SIDE) -> gpd.GeoDataFrame:
    """Return side x side square regions of 1 km near the equator, one with a hole."""
    step = 0.009
    boxes = [shapely.box(i * step, j * step, (i + 1) * step, (j + 1) * step) for j in range(side) for i in range(side)]
    hole = shapely.box(0.3 * step, 0.3 * step, 0.6 * step, 0.6 * step)
    boxes[0] = boxes[0].difference(hole)
    ids = [f"r{index:03d}" for index in range(side * side)]
    names = [f"Quarter {index}" if index % 3 else None for index in range(side * side)]
    return gpd.GeoDataFrame({"region_id": ids, "name": names, "group": None}, geometry=boxes, crs="EPSG:4326")


def write_area(path: Path, *, synthetic: bool = True, title: str = "Gridville", name: str | None = None) -> Path:
    """Write an area of `grid()` with two tiles a region; the name of region r001 may be set."""
    regions = grid()
    if name is not None:
        regions.loc[1, "name"] = name
    rng = np.random.default_rng(0)
    sources = [Source("Made tiles", "CC0-1.0", "nobody", "https://example.org/tiles")]
    with AreaDraft(path, name="gridville", title=title, sources=sources, synthetic=synthetic) as draft:
        draft.write("regions", regions)
        rows = []
        for region in regions["region_id"]:
            for tile in range(2):
                pixels = rng.integers(0, 255, (64, 48, 3), dtype=np.uint8)
                uri, digest = draft.write_image(f"{region}-{tile}", pixels)
                rows.append((f"{region}-{tile}", region, "satellite", uri, "made", "CC0-1.0", digest))
        columns = ["image_id", "region_id", "view", "uri", "source", "licence", "sha256"]
        draft.write("images", pd.DataFrame(rows, columns=columns))
    return path


def score_row(name: str, kind: str, r2: float, **changes: Any) -> dict[str, Any]:
    """Return a row of scores.json."""
    metrics = {"r2": [r2, r2 - 0.05, r2 + 0.04], "rmse": [40.0, 35.0, 46.0], "mae": [30.0, 25.0, 35.0]}
    metrics["spearman"] = [0.8, 0.7, 0.9]
    model = kind == "model"
    row = {"name": name, "kind": kind, "meaning": f"what {name} means", "n": SIDE * SIDE - UNLABELLED}
    row |= {"fitted": metrics, "own": metrics, "coverage": [0.91, 0.85, 0.95] if model else None}
    return row | {"mean_width": 120.0 if model else None} | changes


def write_run(
    path: Path,
    area: Path | str,
    *,
    frame: Callable[[gpd.GeoDataFrame], gpd.GeoDataFrame] | None = None,
    **changes: Any,
) -> Path:
    """Write a run folder over `grid()`; `changes` replace keys of scores.json, `frame` edits the predictions."""
    rng = np.random.default_rng(1)
    regions = grid().drop(columns=["name", "group"])
    count = len(regions)
    truth = 1000 + 400 * np.sin(np.arange(count) / 9) + rng.normal(0, 30, count)
    truth[:UNLABELLED] = np.nan
    predicted = 1000 + 400 * np.sin(np.arange(count) / 9) + rng.normal(0, 40, count)
    width = 60 + 20 * rng.random(count)
    fold = pd.array([None if np.isnan(t) else i % 4 for i, t in enumerate(truth)], dtype="Int64")
    predictions = gpd.GeoDataFrame(
        {
            "region_id": regions["region_id"], "indicator": "floor_space", "fold": fold, "target": truth,
            "predicted": predicted, "lower": predicted - width, "upper": predicted + width, "level": 0.9,
            "basis": "image+location", "n_images": 2,
        },
        geometry=regions.geometry, crs=regions.crs,
    )  # fmt: skip
    path.mkdir(parents=True)
    (frame(predictions) if frame else predictions).to_parquet(path / "predictions.parquet")
    scores = {
        "indicator": "floor_space", "unit": "m2", "fitted_unit": "m2", "log": False, "per": None, "level": 0.9,
        "leaky": False, "split": {"name": "spatial_block", "block_m": 6000.0, "buffer_m": 500.0, "folds": 4, "seed": 0},
        "counts": {"regions": count, "labelled": count - UNLABELLED, "duplicate image groups": 0}, "dropped": {},
        "rows": [
            score_row("gp on image + location", "model", 0.81),
            score_row("mean", "baseline", -0.03, own={"r2": [-0.03, None, None]}),
            score_row("location", "baseline", 0.62),
        ],
        "warnings": ["3 tiles could not be read"],
    }  # fmt: skip
    (path / "scores.json").write_text(json.dumps(scores | changes), encoding="utf-8")
    manifest = {"stage": "predict", "version": "0.1.0", "config": {"area": str(area), "seed": 0}, "wall_s": 1.5}
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def make_grid() -> Callable[..., gpd.GeoDataFrame]:
    """How to make regions."""
    return grid


@pytest.fixture(scope="session")
def make_area() -> Callable[..., Path]:
    """How to write an area of those regions."""
    return write_area


@pytest.fixture(scope="session")
def make_run() -> Callable[..., Path]:
    """How to write a run folder of those regions."""
    return write_run


@pytest.fixture(scope="session")
def make_row() -> Callable[..., dict[str, Any]]:
    """How to write a row of scores.json."""
    return score_row


@pytest.fixture(scope="session")
def area(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An area of 64 regions; tests do not write to it."""
    return write_area(tmp_path_factory.mktemp("areas") / "gridville")


@pytest.fixture
def page() -> Iterator[Page]:
    """A page of the system's Chromium, as wide and tall as a small laptop's screen."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    executable = next((path for path in found if path), None)
    if executable is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 1366, "height": 768})
        browser.close()
