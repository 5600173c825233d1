from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import verde
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.geometry import Point

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.area.splits import (
    EARTH_RADIUS_M,
    Clusters,
    Given,
    LeaveGroupOut,
    RandomFolds,
    SpatialBlocks,
    block_of,
    duplicate_groups,
    parse_split,
    to_sphere,
)
from chorograph.ground.errors import InputError, UnknownNameError

AREA = Area(Path(), "a", "a")


def _regions(lon: np.ndarray, lat: np.ndarray, group: list[str] | None = None) -> gpd.GeoDataFrame:
    points = [Point(x, y).buffer(1e-4) for x, y in zip(lon, lat, strict=True)]
    ids = [f"r{i}" for i in range(len(points))]
    return gpd.GeoDataFrame({"region_id": ids, "group": group}, geometry=points, crs=4326)


def _none(number: int) -> np.ndarray:
    return np.full(number, -1, dtype=np.int64)


def _scattered(number: int, seed: int, spread: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.uniform(10, 10 + spread, number), rng.uniform(50, 50 + spread, number)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), number=st.integers(40, 120), buffer_m=st.sampled_from([0.0, 500.0, 3000.0]))
def test_no_fold_shares_a_block_or_breaks_a_buffer(seed: int, number: int, buffer_m: float) -> None:
    lon, lat = _scattered(number, seed)
    regions = _regions(lon, lat)
    folds = SpatialBlocks(block_m=4000, buffer_m=buffer_m, seed=seed).folds(AREA, regions, _none(number))
    points = regions.geometry.representative_point()
    blocks = block_of(points.x.to_numpy(), points.y.to_numpy(), 4000)
    positions = to_sphere(points.x.to_numpy(), points.y.to_numpy())
    tested_somewhere = np.zeros(number, dtype=int)
    for _, train, test in folds:
        tested_somewhere += test
        assert not set(blocks[train]) & set(blocks[test])
        if buffer_m and train.any():
            distance = np.linalg.norm(positions[train][:, None] - positions[test][None], axis=2)
            assert distance.min() >= buffer_m - 1.0
    assert (tested_somewhere == 1).all()


def test_folds_are_nearly_equal() -> None:
    lon, lat = _scattered(300, 0)
    folds = SpatialBlocks(block_m=4000).folds(AREA, _regions(lon, lat), _none(300))
    sizes = np.bincount(folds.fold)
    assert sizes.max() - sizes.min() <= 5


def test_a_far_region_moves_no_block() -> None:
    lon, lat = _scattered(100, 1)
    before = block_of(lon, lat, 5000)
    after = block_of(np.r_[lon, -120.0], np.r_[lat, -30.0], 5000)[:-1]
    assert len({*zip(before, after, strict=True)}) == len(set(before)) == len(set(after))


def test_blocks_are_as_wide_as_verdes() -> None:
    # verde moves its blocks to the data's extent, so numbers differ; counts and extents must not.
    lon, lat = _scattered(2000, 2, spread=0.6)
    east = np.radians(lon) * EARTH_RADIUS_M * np.cos(np.radians(50.3))
    north = np.radians(lat) * EARTH_RADIUS_M
    _, theirs = verde.block_split((east, north), spacing=5000, adjust="region")
    ours = block_of(lon, lat, 5000)
    assert abs(len(set(ours)) - len(set(theirs))) / len(set(theirs)) < 0.25
    for block in set(ours):
        inside = ours == block
        assert np.ptp(north[inside]) <= 5000 + 1
        assert np.ptp(east[inside]) <= 5000 * 1.02


def test_distances_on_the_sphere_equal_pyproj() -> None:
    from pyproj import Geod

    lon, lat = _scattered(50, 3)
    positions = to_sphere(lon, lat)
    ours = np.linalg.norm(positions[1:] - positions[:-1], axis=1)
    _, _, theirs = Geod(a=EARTH_RADIUS_M, f=0).inv(lon[:-1], lat[:-1], lon[1:], lat[1:])
    assert np.allclose(ours, theirs, rtol=1e-5)


def test_identical_images_stay_in_one_fold() -> None:
    lon, lat = _scattered(60, 4)
    regions = _regions(lon, lat)
    images = pd.DataFrame({"region_id": ["r0", "r30", "r30", "r59", "r5"], "sha256": ["a", "a", "b", "b", "c"]})
    duplicates = duplicate_groups(images, regions["region_id"])
    assert duplicates[0] == duplicates[30] == duplicates[59] >= 0
    assert duplicates[5] == -1
    for split in (SpatialBlocks(block_m=2000), RandomFolds()):
        folds = split.folds(AREA, regions, duplicates)
        assert folds.fold[0] == folds.fold[30] == folds.fold[59]
    assert folds.merged_duplicates == 2


def test_too_few_blocks_say_what_to_change() -> None:
    lon, lat = _scattered(20, 5, spread=0.001)
    with pytest.raises(InputError, match=r"1 separate blocks .* of 20 labelled regions cannot fill 5 folds"):
        SpatialBlocks().folds(AREA, _regions(lon, lat), _none(20))


def test_leave_group_out_tests_each_group_once() -> None:
    lon, lat = _scattered(30, 6)
    folds = LeaveGroupOut().folds(AREA, _regions(lon, lat, ["x", "y", "z"] * 10), _none(30))
    assert [int(test.sum()) for _, _, test in folds] == [10, 10, 10]


def test_leave_group_out_needs_groups() -> None:
    lon, lat = _scattered(4, 7)
    with pytest.raises(InputError, match="group for every labelled region"):
        LeaveGroupOut().folds(AREA, _regions(lon, lat, ["x", "y", "z", None]), _none(4))


def test_a_region_without_geometry_refuses_spatial_splits() -> None:
    regions = _regions(*_scattered(5, 8))
    regions.loc[2, "geometry"] = None
    with pytest.raises(InputError, match="'r2' has no geometry"):
        SpatialBlocks().folds(AREA, regions, _none(5))


def _area_with_split(tmp_path: Path) -> Area:
    regions = _regions(*_scattered(10, 9))
    with AreaDraft(tmp_path / "area", "a") as draft:
        draft.write("regions", regions)
        roles = ["train"] * 6 + ["val"] * 2 + ["test"] * 2
        draft.write_split("published", pd.DataFrame({"region_id": regions["region_id"], "role": roles}))
    return Area.open(tmp_path / "area")


def test_a_given_split_tests_once(tmp_path: Path) -> None:
    area = _area_with_split(tmp_path)
    ((_, train, test),) = list(Given("published").folds(area, area.regions, _none(10)))
    assert train.tolist() == [True] * 8 + [False] * 2
    assert test.tolist() == [False] * 8 + [True] * 2


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), buffer_m=st.sampled_from([0.0, 2000.0]))
def test_clusters_stay_whole_and_keep_the_buffer(seed: int, buffer_m: float) -> None:
    lon, lat = _scattered(80, seed)
    folds = Clusters(buffer_m=buffer_m, seed=seed).folds(AREA, _regions(lon, lat), _none(80))
    positions = to_sphere(lon, lat)
    for group in np.unique(folds.groups):
        assert len(np.unique(folds.fold[folds.groups == group])) == 1
    for _, train, test in folds:
        if buffer_m and train.any():
            assert np.linalg.norm(positions[train][:, None] - positions[test][None], axis=2).min() >= 0.999 * buffer_m
    again = Clusters(buffer_m=buffer_m, seed=seed).folds(AREA, _regions(lon, lat), _none(80))
    assert np.array_equal(folds.fold, again.fold)


def test_an_unknown_split_offers_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="spatial_block"):
        parse_split("spatial_blocks", block_m=1, buffer_m=0, folds=5, seed=0)
    area = _area_with_split(tmp_path)
    with pytest.raises(InputError, match="it holds: published"):
        area.split("publishd")
