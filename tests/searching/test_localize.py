"""A sentence and a large image in; a heat map, an overlay and polygons out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import rasterio
import shapely
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from chorograph.cli.app import app
from chorograph.ground.errors import InputError
from chorograph.ground.settings import configure
from chorograph.ground.stage import silent
from chorograph.searching.heatmap import CellMap
from chorograph.searching.localize import _to_256, find_peaks
from chorograph.verbs import localize

PLACE = {"crs": "EPSG:3857", "transform": rasterio.Affine(1, 0, 50_000, 0, -1, 90_000)}
#: Where the red square of the picture has its centre (x, y), in pixels.
CENTRE = (900, 600)


def run(image: Path, tmp_path: Path, **more: Any) -> tuple[dict[str, Any], dict[str, Any], Path]:
    config = localize.Settings(
        image=image, text="something red", model="any", out=tmp_path / "out", **{"steps": [128, 256, 512], **more}
    )
    outcome = localize.run(config, silent)
    assert localize.run(config, silent).skipped
    return outcome.manifest, json.loads((config.out / "peaks.geojson").read_text()), config.out


@pytest.fixture
def tif(picture: NDArray[np.uint8], tmp_path: Path) -> Path:
    path = tmp_path / "picture.tif"
    height, width, _ = picture.shape
    with rasterio.open(path, "w", driver="GTiff", count=3, height=height, width=width, dtype="uint8", **PLACE) as data:
        data.write(np.moveaxis(picture, -1, 0))
    return path


@pytest.mark.usefixtures("known_encoder")
@pytest.mark.parametrize("compat", [False, True])
def test_a_geotiff_stays_on_the_map(tif: Path, tmp_path: Path, compat: bool) -> None:
    manifest, peaks, out = run(tif, tmp_path, compat=compat)
    assert "lon" in peaks["coordinates"]
    best = peaks["features"][0]
    with rasterio.open(out / "heatmap.tif") as found:
        assert found.crs.to_epsg() == 3857
        assert found.transform == PLACE["transform"]
        values = found.read(1)
        assert found.tags()["sentence"] == "something red"
    assert values.shape == (900, 1300)
    assert 0 <= values.min() < 0.05
    assert values[CENTRE[1], CENTRE[0]] == pytest.approx(values.max(), abs=0.05)
    assert 0.8 < values.max() <= 1
    degrees = 360 / (2 * np.pi * 6378137)  # near the equator, where a metre is the same both ways
    expected = ((50_000 + CENTRE[0]) * degrees, (90_000 - CENTRE[1]) * degrees)
    assert shapely.geometry.shape(best["geometry"]).contains(shapely.Point(expected))
    assert best["properties"]["centre"] == pytest.approx(expected, abs=50 * degrees)
    assert manifest["counts"]["peaks"] == len(peaks["features"])
    assert Image.open(out / "overlay.png").size == (1300, 900)


@pytest.mark.usefixtures("known_encoder")
def test_a_png_is_answered_in_pixels(png: Path, tmp_path: Path) -> None:
    _, peaks, out = run(png, tmp_path)
    assert "pixels" in peaks["coordinates"]
    assert shapely.geometry.shape(peaks["features"][0]["geometry"]).contains(shapely.Point(CENTRE))
    heat = np.asarray(Image.open(out / "heatmap.png"))
    assert heat[CENTRE[1], CENTRE[0]] > 230
    assert heat[:100, :100].max() < 25
    assert not (out / "heatmap.tif").exists()


@pytest.mark.usefixtures("known_encoder")
def test_the_overlay_is_the_picture_under_colours(png: Path, picture: NDArray[np.uint8], tmp_path: Path) -> None:
    _, _, out = run(png, tmp_path)
    overlay = np.asarray(Image.open(out / "overlay.png")).astype(float)
    colours = (overlay - 0.7 * picture) / 0.3
    heat = np.asarray(Image.open(out / "heatmap.png"))
    expected = cv2.applyColorMap(heat, cv2.COLORMAP_JET)[..., ::-1].astype(float)
    outlined = (overlay == 255).all(axis=2)
    assert 0 < outlined.mean() < 0.01
    assert np.abs(colours - expected)[~outlined].max() < 8


@pytest.mark.usefixtures("known_encoder")
@pytest.mark.parametrize("size", [(40, 60), (1, 1), (700, 500)])
@pytest.mark.parametrize("compat", [False, True])
def test_small_and_flat_images_have_results(tmp_path: Path, size: tuple[int, int], compat: bool) -> None:
    path = tmp_path / "flat.png"
    Image.new("RGB", size, (90, 90, 90)).save(path)
    manifest, peaks, out = run(path, tmp_path, steps=[256, 512], compat=compat)
    assert peaks["features"] == []
    assert any("flat" in warning for warning in manifest["warnings"])
    assert any("smaller" in warning for warning in manifest["warnings"]) == (min(size) < 256)
    assert not np.asarray(Image.open(out / "heatmap.png")).any()


@pytest.mark.usefixtures("known_encoder")
def test_parts_without_data_are_not_looked_at(tif: Path, tmp_path: Path) -> None:
    with rasterio.open(tif, "r+") as data:
        mask = np.full(data.shape, 255, np.uint8)
        mask[:, :600] = 0
        data.write_mask(mask)
    manifest, peaks, _ = run(tif, tmp_path)
    assert manifest["dropped"]["window without data"] > 0
    assert peaks["features"][0]["properties"]["centre_px"] == pytest.approx(CENTRE, abs=60)
    with rasterio.open(tif, "r+") as data:
        data.write_mask(np.zeros(data.shape, np.uint8))
    with pytest.raises(InputError, match="no part"):
        run(tif, tmp_path)


@pytest.mark.usefixtures("known_encoder")
def test_settings_that_make_no_sense(png: Path, tmp_path: Path) -> None:
    good = {"image": png, "text": "red", "model": "any", "out": tmp_path / "out"}
    for wrong in ({"text": "  "}, {"level": 0.0}, {"steps": [3]}, {"image": tmp_path / "none.tif"}):
        with pytest.raises(InputError):
            localize.run(configure(localize.Settings, {**good, **wrong}), silent)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_a_model_without_a_text_tower_is_named(png: Path, tmp_path: Path) -> None:
    words = ["localize", str(png), "red", "--model", "colour", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    assert "colour has no text tower" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("side", [256, 512, 768, 300, 100])
def test_the_published_resize_is_opencvs(side: int) -> None:
    pixels = np.random.default_rng(side).integers(0, 256, (side, side, 3), dtype=np.uint8)
    expected = cv2.resize(pixels, (256, 256), interpolation=cv2.INTER_CUBIC)
    assert np.abs(_to_256(pixels).astype(int) - expected).max() <= 1


def test_peaks_are_the_parts_of_the_map() -> None:
    probability = np.zeros((60, 80), np.float32)
    probability[5:25, 10:40] = 0.8
    probability[10:20, 15:30] = 1.0
    probability[40:60, 50:80] = 0.9
    probability[50:55, 60:70] = 0.1
    probability[0, 0] = 0.95
    cells = CellMap(np.array([0, 30, 60]), np.array([0, 80]), np.array([[0.3], [0.2]]))
    first, second = find_peaks(probability, cells, 0.75, smallest_px=10)
    assert first.outline.equals(shapely.box(10, 5, 40, 25))
    assert first.centre == (22.5, 15.0)
    assert (first.probability, first.similarity, first.area_px) == (1.0, 0.3, 600)
    assert second.outline.equals(shapely.box(50, 40, 80, 60) - shapely.box(60, 50, 70, 55))
    assert len(find_peaks(probability, cells, 0.75)) == 3
    assert find_peaks(np.zeros((5, 5), np.float32), cells, 0.5) == []
