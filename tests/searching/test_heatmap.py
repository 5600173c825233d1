"""The map of a query, against loops over pixels and OpenCV."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from chorograph.metrics.localization import localization_scores
from chorograph.searching.heatmap import CellMap, mean_similarity, median_size, probability, smooth
from chorograph.searching.localize import probability_map
from chorograph.searching.windows import windows

SHAPES = [(300, 1000), (100, 120), (769, 1300), (1024, 700)]


@pytest.fixture(scope="module")
def published() -> ModuleType:
    """Return the benchmark, which holds the published arithmetic written out."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "localization.py"
    spec = importlib.util.spec_from_file_location("localization_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shape", SHAPES)
def test_the_mean_is_that_of_a_loop(shape: tuple[int, int], published: ModuleType) -> None:
    at = windows(shape)
    similarities = np.random.default_rng(0).normal(size=len(at))
    found = mean_similarity(at, similarities, shape)
    expected = published.published_mean(at, similarities, shape)
    assert found.shape == shape
    assert np.abs(found.pixels() - expected).max() < 1e-9
    assert found.at(shape[0] - 1, 7) == pytest.approx(expected[-1, 7])


def test_pixels_without_windows_get_the_lowest_mean() -> None:
    found = mean_similarity(np.array([[0, 4, 0, 4], [0, 4, 2, 6]]), np.array([0.5, 0.1]), (6, 8)).pixels()
    assert found[0].tolist() == pytest.approx([0.5, 0.5, 0.3, 0.3, 0.1, 0.1, 0.1, 0.1])
    assert (found[4:] == found.min()).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [3, 51, 251])
def test_the_median_is_opencvs(shape: tuple[int, int], size: int) -> None:
    at = windows(shape)
    rng = np.random.default_rng(size)
    for similarities in (rng.random(len(at)), np.sin(at[:, 0] / 300) + np.cos(at[:, 2] / 200)):
        cells = probability(mean_similarity(at, similarities, shape), compat=True)
        expected = cv2.medianBlur(cells.pixels().astype(np.uint8), size)
        assert np.array_equal(smooth(cells, size, np.uint8), expected)


def test_the_median_of_any_cells() -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        rows, columns = (np.unique(np.r_[0, rng.integers(1, 90, rng.integers(1, 9)), 90]) for _ in range(2))
        cells = CellMap(rows, columns, rng.integers(0, 9, (len(rows) - 1, len(columns) - 1)).astype(float))
        size = 2 * int(rng.integers(1, 30)) + 1
        expected = cv2.medianBlur(cells.pixels().astype(np.uint8), size)
        assert np.array_equal(smooth(cells, size, np.uint8), expected)


def test_the_whole_published_arithmetic(published: ModuleType) -> None:
    shape = (900, 1200)
    at, similarities, regions = published.made_up(shape)
    expected = published.published_map(published.published_mean(at, similarities, shape)) / 255.0
    found = probability_map(mean_similarity(at, similarities, shape), compat=True)
    assert np.array_equal(found, expected)
    scores = localization_scores(found, regions, compat=True)
    assert scores == pytest.approx(published.published_scores(expected, regions), abs=1e-12)


def test_the_default_differs_by_what_eight_bits_lose() -> None:
    at = windows((900, 1200))
    similarity = mean_similarity(at, np.random.default_rng(0).random(len(at)), (900, 1200))
    exact, compat = probability_map(similarity), probability_map(similarity, compat=True)
    assert exact.dtype == np.float32
    assert 0 < np.abs(exact - compat).max() <= 1 / 255


@pytest.mark.parametrize("compat", [True, False])
def test_a_flat_map_is_zero(compat: bool) -> None:
    similarity = mean_similarity(windows((300, 400)), np.full(len(windows((300, 400))), 0.1), (300, 400))
    assert (probability_map(similarity, compat=compat) == 0).all()


def test_the_median_is_as_wide_as_published() -> None:
    assert median_size(256) == 251
    assert all(median_size(step) % 2 == 1 for step in range(16, 300))
