"""Folds that test at the distances of use, against the distributions that they must match."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point

from chorograph.area.folder import Area
from chorograph.area.splits import DistanceMatched, parse_split, to_sphere
from chorograph.area.splits.matched import Matching, distances, distances_of_tests, match_folds
from chorograph.ground.errors import InputError


def _positions(number: int, seed: int, side_km: float = 40.0) -> np.ndarray:
    flat = np.random.default_rng(seed).uniform(0, side_km * 1000, (number, 2))
    return np.column_stack([flat, np.zeros(number)])


def _far_corner(positions: np.ndarray) -> np.ndarray:
    """Positions that lie 15 to 25 km beyond the labelled ones."""
    beyond = _positions(80, 99, 10.0)
    return beyond + np.array([positions[:, 0].max() + 15_000, 0.0, 0.0])


def test_w_is_the_area_between_the_two_distribution_functions() -> None:
    rng = np.random.default_rng(0)
    use, tested = rng.gamma(2, 1000, 60), rng.gamma(3, 1000, 90)
    steps = np.arange(0, 30_000, 1.0)
    ecdf = [(np.searchsorted(np.sort(values), steps, side="right") / len(values)) for values in (use, tested)]
    assert Matching(use, tested).w == pytest.approx(np.abs(ecdf[0] - ecdf[1]).sum(), rel=1e-3)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), number=st.integers(20, 120), folds=st.integers(2, 6))
def test_every_region_is_tested_once_and_no_fold_is_over_half(seed: int, number: int, folds: int) -> None:
    positions = _positions(number, seed)
    fold, _ = match_folds(positions, np.random.default_rng(seed).gamma(2, 2000, 50), folds)
    sizes = np.bincount(fold, minlength=folds)
    assert sizes.sum() == number
    assert sizes.min() > 0
    assert sizes.max() <= max(0.5, 1.2 / folds) * number


def test_labels_strewn_among_the_unlabelled_get_folds_like_random_ones() -> None:
    positions = _positions(300, 1)
    use = distances(_positions(300, 2), positions)
    fold, _ = match_folds(positions, use, 5)
    matched = Matching(use, distances_of_tests(positions, fold))
    # A fold trains on four fifths of the labels, so that even random folds test a little too far.
    assert matched.w < 0.2 * use.mean()
    assert matched.w <= 1.05 * Matching(use, distances_of_tests(positions, np.arange(300) % 5)).w


def test_unlabelled_regions_far_away_get_folds_far_away() -> None:
    positions = _positions(300, 1)
    use = distances(_far_corner(positions), positions)
    fold, _ = match_folds(positions, use, 5)
    matched = Matching(use, distances_of_tests(positions, fold))
    random = Matching(use, distances_of_tests(positions, np.arange(300) % 5))
    # Nothing within a square of 40 km can be tested at 15 to 25 km; the folds go as far as they can.
    assert matched.w < random.w
    assert np.median(matched.tested) > 3 * np.median(random.tested)


def test_the_match_is_no_worse_than_that_of_random_folds_or_of_few_clusters() -> None:
    positions = _positions(200, 5)
    # Use in a hole of the map: further than random folds, nearer than quarters of it.
    use = distances(np.array([[20_000.0, 20_000.0, 0.0]]) + _positions(60, 6, 4.0), positions) + 3000
    fold, clusters = match_folds(positions, use, 5)
    found = Matching(use, distances_of_tests(positions, fold)).w
    assert found <= Matching(use, distances_of_tests(positions, np.arange(200) % 5)).w
    assert found < 0.25 * use.mean()
    assert 5 < len(np.unique(clusters)) < 200


def test_many_regions_are_clustered_from_cells() -> None:
    positions = _positions(2600, 3)
    use = distances(_positions(50, 4), positions)
    fold, _ = match_folds(positions, use, 4)
    assert Matching(use, distances_of_tests(positions, fold)).w < 0.2 * use.mean()


def test_regions_of_identical_images_share_a_fold() -> None:
    positions = _positions(60, 7)
    twins = np.full(60, -1)
    twins[[3, 40]] = 0
    twins[[5, 20, 59]] = 1
    fold, _ = match_folds(positions, np.full(10, 100.0), 3, twins)
    assert fold[3] == fold[40]
    assert len(set(fold[[5, 20, 59]])) == 1


def _area(monkeypatch: pytest.MonkeyPatch, labelled: int) -> tuple[Area, gpd.GeoDataFrame]:
    rng = np.random.default_rng(0)
    points = [Point(x, y).buffer(1e-3) for x, y in rng.uniform([-122, 47], [-121.6, 47.3], (60, 2))]
    regions = gpd.GeoDataFrame({"region_id": [f"r{i}" for i in range(60)]}, geometry=points, crs=4326)
    monkeypatch.setattr(Area, "regions", property(lambda self: regions))
    return Area(Path(), "a", "a"), regions.iloc[:labelled]


def test_the_split_reads_the_unlabelled_regions_of_the_area(monkeypatch: pytest.MonkeyPatch) -> None:
    area, labelled = _area(monkeypatch, 45)
    split = parse_split("distance_matched", block_m=4000, buffer_m=0, folds=4, seed=0)
    assert isinstance(split, DistanceMatched)
    folds = split.folds(area, labelled, np.full(45, -1))
    assert sorted(np.unique(folds.fold)) == [0, 1, 2, 3]
    points = area.regions.geometry.representative_point()
    sphere = to_sphere(points.x.to_numpy(), points.y.to_numpy())
    use = distances(sphere[45:], sphere[:45])
    random = Matching(use, distances_of_tests(sphere[:45], np.arange(45) % 4)).w
    assert Matching(use, distances_of_tests(sphere[:45], folds.fold)).w <= random


def test_an_area_with_every_label_has_nothing_to_match(monkeypatch: pytest.MonkeyPatch) -> None:
    area, labelled = _area(monkeypatch, 60)
    with pytest.raises(InputError, match="every region has a label"):
        DistanceMatched().folds(area, labelled, np.full(60, -1))
