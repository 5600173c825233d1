"""The scores of semantic localisation, against worked values and OpenCV."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from chorograph.ground.errors import InputError
from chorograph.metrics import localization as metrics

SQUARE = [[400, 400], [600, 400], [600, 600], [400, 600]]
CIRCLE = metrics.region_circles([SQUARE], compat=True)


def peak(x: float, y: float, sigma: float, side: int = 1200) -> NDArray[np.float64]:
    rows, columns = np.mgrid[:side, :side]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))


def points(*where: tuple[float, float]) -> NDArray[np.float64]:
    return np.array(where, dtype=float).reshape(-1, 2)


def test_rsu_of_worked_maps() -> None:
    mask = np.zeros((10, 10), bool)
    mask[0] = True
    assert metrics.rsu(np.full((10, 10), 0.5), mask) == pytest.approx(0.506879, abs=1e-6)
    assert metrics.rsu(np.where(mask, 0.0, 1.0), mask) == 0
    assert metrics.rsu(np.where(mask, 1.0, 0.0), mask) > 0.999999
    assert metrics.rsu(np.zeros((10, 10)), mask) == 0


def test_circle_of_a_square() -> None:
    assert CIRCLE.tolist() == [[500, 500, 212]]
    assert metrics.region_circles([SQUARE])[0] == pytest.approx([500, 500, 150 * 2**0.5])
    assert metrics.region_circles([[[5, 5], [5, 5], [5, 5]]], compat=True).tolist() == [[5, 5, 1]]


@pytest.mark.parametrize(
    ("centres", "expected"),
    [([], 1.0), ([(500, 500)], 0.0), ([(606, 500)], 0.182426), ([(900, 900)], 1.0)],
)
def test_ras_of_worked_centres(centres: list[tuple[float, float]], expected: float) -> None:
    assert metrics.ras(CIRCLE, points(*centres)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("centres", "expected"),
    [
        ([], 0.0),
        ([(500, 500)], 1.0),
        ([(450, 500), (550, 500)], 0.517411),
        ([(450, 500), (550, 500), (500, 500)], 0.503469),
        ([(500, 500), (500, 500)], 0.635335),
    ],
)
def test_rda_of_worked_centres(centres: list[tuple[float, float]], expected: float) -> None:
    assert metrics.rda(CIRCLE, points(*centres)) == pytest.approx(expected, abs=1e-6)


def test_rmi_of_published_rows() -> None:
    assert metrics.rmi(1, 0, 1) == 1
    assert metrics.rmi(0, 1, 0) == 0
    assert metrics.rmi(0.755636, 0.258044, 0.730925) == pytest.approx(0.744670, abs=1e-6)
    assert metrics.rmi(0.759515, 0.256649, 0.741806) == pytest.approx(0.749430, abs=1e-6)


def test_a_whole_map() -> None:
    probability = peak(500, 500, 120)
    assert metrics.region_mask(probability.shape, [SQUARE]).sum() == 40_401
    assert metrics.attention_centres(probability, compat=True).tolist() == [[502, 502]]
    scores = metrics.localization_scores(probability, [SQUARE], compat=True)
    expected = {"rsu": 0.99999878, "rda": 1.0, "ras": 0.00213967, "rmi": 0.99925063}
    assert scores == pytest.approx(expected, abs=1e-8)
    eight_bits = metrics.localization_scores(np.uint8(255 * probability) / 255.0, [SQUARE], compat=True)
    assert eight_bits["rmi"] == pytest.approx(0.99925074, abs=1e-8)


def test_the_default_moves_no_peak() -> None:
    assert metrics.attention_centres(peak(500, 500, 120)).tolist() == [[500, 500]]
    assert metrics.localization_scores(peak(500, 500, 120), [SQUARE])["ras"] == 0


@pytest.mark.parametrize("compat", [True, False])
def test_two_peaks_are_two_centres(compat: bool) -> None:
    shift = 2 if compat else 0
    both = np.maximum(peak(300, 300, 60), 0.9 * peak(900, 900, 60))
    expected = [[300 + shift] * 2, [900 + shift] * 2]
    assert metrics.attention_centres(both, compat=compat).tolist() == expected


@pytest.mark.parametrize("compat", [True, False])
@pytest.mark.parametrize("value", [0.0, 0.4, 0.6, 1.0])
@pytest.mark.parametrize("shape", [(1, 1), (30, 40), (1200, 1200)])
def test_a_flat_map_gives_numbers(value: float, compat: bool, shape: tuple[int, int]) -> None:
    flat = np.full(shape, value)
    centres = metrics.attention_centres(flat, compat=compat)
    assert len(centres) == (1 if compat and value >= 0.5 else 0)
    region = [[0, 0], [shape[1] // 2, 0], [shape[1] // 2, shape[0] // 2], [0, shape[0] // 2]]
    scores = metrics.localization_scores(flat, [region], compat=compat)
    assert np.isfinite(list(scores.values())).all()


@pytest.mark.parametrize("shape", [(300, 417), (30, 40), (7, 9)])
def test_smoothing_is_opencvs(shape: tuple[int, int]) -> None:
    probability = np.random.default_rng(0).random(shape)
    expected = np.asarray(probability * 255.0, dtype=np.uint8)
    for _ in range(5):
        expected = cv2.boxFilter(expected, -1, (50, 50))
    assert np.array_equal(metrics._smooth_compat(probability), expected)


def filled(shape: tuple[int, int], regions: list[Any]) -> NDArray[np.bool_]:
    return cv2.fillPoly(np.zeros(shape), [np.array(region, np.int32) for region in regions], 1) > 0


def test_masks_are_opencvs() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        height, width = rng.integers(20, 200, 2).tolist()
        regions = [rng.uniform(0, [width, height], (rng.integers(3, 9), 2)).tolist() for _ in range(rng.integers(1, 3))]
        found = metrics.region_mask((height, width), regions, compat=True)
        assert np.array_equal(found, filled((height, width), regions))


def test_overlapping_regions_are_a_union_by_default() -> None:
    regions = [[[2, 2], [12, 2], [12, 12], [2, 12]], [[6, 6], [16, 6], [16, 16], [6, 16]]]
    union = filled((20, 20), regions[:1]) | filled((20, 20), regions[1:])
    assert np.array_equal(metrics.region_mask((20, 20), regions), union)
    assert not metrics.region_mask((20, 20), regions, compat=True)[9, 9]


def test_a_region_half_outside_is_cut_at_the_border() -> None:
    mask = metrics.region_mask((10, 10), [[[-5, -5], [4, -5], [4, 4], [-5, 4]]])
    assert mask.sum() == 25
    assert mask[:5, :5].all()


@pytest.mark.parametrize(
    "regions",
    [
        [],
        [[[0, 0], [1, 1]]],
        [[[20, 20], [30, 20], [30, 30]]],
        [[[0, 0], [5, 0], [5, 5]], [[0, -9], [5, -9], [5, -2]]],
        [[[0, 0], [float("nan"), 0], [5, 5]]],
    ],
)
def test_regions_that_cannot_be_scored(regions: list[Any]) -> None:
    with pytest.raises(InputError, match="region"):
        metrics.localization_scores(np.ones((10, 10)), regions)


@pytest.mark.real
def test_the_published_annotations(real_data: Callable[[str], Path]) -> None:
    samples = json.loads((real_data("selo") / "anno.json").read_text())
    assert len(samples) == 59
    assert len({sample["jpg_name"] for sample in samples}) == 22
    assert sum(len(sample["points"]) for sample in samples) == 103
    for sample in samples[:12]:
        width, height = (int(most) + 2 for most in np.concatenate([np.array(p) for p in sample["points"]]).max(axis=0))
        found = metrics.region_mask((height, width), sample["points"], compat=True)
        assert np.array_equal(found, filled((height, width), sample["points"]))
        assert np.array_equal(found, metrics.region_mask((height, width), sample["points"]))
