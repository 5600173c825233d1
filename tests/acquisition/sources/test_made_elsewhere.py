"""AlphaEarth's and TESSERA's files as vectors of regions: dequantised, weighed, named; profiles without a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from raster_made import write_raster
from shapely.geometry import box
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score

import chorograph as cg
from chorograph.acquisition.sources.vectors.alphaearth import dequantised
from chorograph.area.folder import Area
from chorograph.graph.vectors import GraphEmbeddings
from chorograph.ground.errors import InputError
from chorograph.ground.settings import configure
from chorograph.ground.stage import silent
from chorograph.prediction.crossfit import cross_fit
from chorograph.prediction.features import Features, read_features
from chorograph.verbs.table import get_verb

#: A window of UTM zone 33 about (15, 50): the corner of the rasters, in metres.
WEST, NORTH, SIDE = 500_000, 5_540_000, 64


def _vectors(rows: int, columns: int, seed: int = 0) -> Any:
    """Return unit vectors (64, rows, columns) that change over the ground."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(64, rows // 8, columns // 8)).repeat(8, 1).repeat(8, 2)
    vectors = coarse + 0.3 * rng.normal(size=(64, rows, columns))
    return vectors / np.linalg.norm(vectors, axis=0)


def _quantised(vectors: Any) -> Any:
    return np.clip(np.sign(vectors) * np.sqrt(np.abs(vectors)) * 127.5, -127, 127).round().astype(np.int8)


def _regions() -> gpd.GeoDataFrame:
    """Return nine squares over the rasters whose borders cut cells, and one far away."""
    edges = np.linspace(3.3, SIDE - 3.7, 4) * 10
    squares = [
        box(WEST + edges[i], NORTH - edges[j + 1], WEST + edges[i + 1], NORTH - edges[j])
        for j in range(3)
        for i in range(3)
    ]
    flat = gpd.GeoSeries([*squares, box(WEST + 5e4, NORTH, WEST + 5.1e4, NORTH + 1e3)], crs=32633)
    ids = [f"r{k}" for k in range(10)]
    return gpd.GeoDataFrame({"region_id": ids}, geometry=flat.to_crs(4326), crs=4326)


def _expected(values: Any) -> Any:
    """Return the mean of each square by the share of each cell, reckoned by the edges alone (64, …) -> (9, 64)."""
    edges = np.linspace(3.3, SIDE - 3.7, 4)
    cells = np.arange(SIDE)
    share = np.stack(
        [np.clip(np.minimum(edges[k + 1], cells + 1) - np.maximum(edges[k], cells), 0, 1) for k in range(3)]
    )
    sums = np.einsum("jr,brc,ic->jib", share, np.nan_to_num(values), share)
    weight = np.einsum("jr,rc,ic->ji", share, np.isfinite(values).all(0).astype(float), share)
    return (sums / weight[..., None]).reshape(9, -1)


@pytest.fixture
def area(tmp_path: Path) -> Path:
    _regions().to_file(tmp_path / "regions.geojson")
    verb = get_verb("area new")
    verb(configure(verb.settings, {"regions": tmp_path / "regions.geojson", "out": tmp_path / "area"}), silent)
    return tmp_path / "area"


def _add(area: Path, path: Path, **asked: Any) -> dict[str, Any]:
    verb = get_verb("area add embeddings")
    return verb(configure(verb.settings, {"area": area, "from_": path, **asked}), silent).manifest


def _read(area: Path, name: str) -> GraphEmbeddings:
    return GraphEmbeddings.read(Area.open(area).embeddings_path(name))


@pytest.mark.parametrize("south_up", [True, False])
def test_alphaearth_is_dequantised_before_the_mean(area: Path, tmp_path: Path, south_up: bool) -> None:
    stored = _quantised(_vectors(SIDE, SIDE))
    stored[:, :20, :20] = -128
    folder = tmp_path / "v1" / "annual" / "2023" / "33N"
    folder.mkdir(parents=True)
    profile: dict[str, Any] = {"nodata": -128, "interleave": "pixel", "south_up": south_up}
    # Two files side by side, as the bucket cuts a zone; a region lies on both.
    write_raster(folder / "x1.tiff", stored[:, :, :40], WEST, NORTH, 10, "EPSG:32633", **profile)
    write_raster(folder / "x2.tiff", stored[:, :, 40:], WEST + 400, NORTH, 10, "EPSG:32633", **profile)
    manifest = _add(area, folder, name="alphaearth")
    held = _read(area, "alphaearth")
    assert list(held.region_ids) == [f"r{k}" for k in range(9)]
    expected = _expected(dequantised(stored))
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(held.vectors, expected, atol=2e-4)
    late = _expected(np.where(stored == -128, np.nan, stored.astype(float)))
    late = np.sign(late) * (late / 127.5) ** 2
    cosine = (late * held.vectors).sum(1) / np.linalg.norm(late, axis=1)
    assert cosine.max() < 0.97  # what averaging before would have given
    assert manifest["facts"]["vectors"]["version"] == "v1" and manifest["facts"]["vectors"]["year"] == 2023
    assert manifest["dropped"] == {"region without vectors": 1}
    assert "CC-BY-4.0" in held.note
    source = Area.open(area).sources[-1]
    assert "produced by Google and Google DeepMind" in source.attribution


def test_what_is_not_said_is_asked_for_and_years_are_not_mixed(area: Path, tmp_path: Path) -> None:
    stored = _quantised(_vectors(SIDE, SIDE))
    path = write_raster(tmp_path / "aef.tif", stored, WEST, NORTH, 10, "EPSG:32633", nodata=-128)
    with pytest.raises(InputError, match="--version"):
        _add(area, path, name="a")
    with pytest.raises(InputError, match="--year"):
        _add(area, path, name="a", version="v1")
    _add(area, path, name="a", version="v1", year=2021)
    for year in (2022, 2023):
        folder = tmp_path / "v1" / "annual" / str(year) / "33N"
        folder.mkdir(parents=True)
        write_raster(folder / "x.tiff", stored, WEST, NORTH, 10, "EPSG:32633", nodata=-128)
    with pytest.raises(InputError, match="2 years"):
        _add(area, tmp_path / "v1", name="b")
    with pytest.raises(InputError, match="--replace"):
        _add(area, tmp_path / "v1" / "annual" / "2022", name="a")


def test_tessera_as_tiles_of_numpy_and_as_geotiff(area: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    stored = rng.integers(-127, 128, (SIDE, SIDE, 128)).astype(np.int8)
    scales = rng.uniform(0.01, 0.05, (SIDE, SIDE)).astype(np.float32)
    scales[:10] = np.nan
    folder = tmp_path / "tessera"
    tile = folder / "global_0.1_degree_representation" / "2024" / "grid_15.05_49.95"
    grids = folder / "global_0.1_degree_tiff_all"
    tile.mkdir(parents=True)
    grids.mkdir()
    np.save(tile / "grid_15.05_49.95.npy", stored)
    np.save(tile / "grid_15.05_49.95_scales.npy", scales)
    with pytest.raises(InputError, match=r"grid .* is missing"):
        _add(area, folder, name="tessera", version="v1")
    write_raster(grids / "grid_15.05_49.95.tiff", np.ones((SIDE, SIDE), "u1"), WEST, NORTH, 10, "EPSG:32633")
    (folder / "tessera_metadata.json").write_text(json.dumps({"dataset_version": "v1.1", "dataset_variant": "cam"}))
    manifest = _add(area, folder, name="tessera")
    assert manifest["facts"]["vectors"]["version"] == "v1.1-cam" and manifest["facts"]["vectors"]["year"] == 2024
    values = np.moveaxis(stored.astype(float) * scales[..., None], 2, 0)
    np.testing.assert_allclose(_read(area, "tessera").vectors, _expected(values), atol=2e-3)
    path = write_raster(tmp_path / "t.tif", values.astype("f4"), WEST, NORTH, 10, "EPSG:32633", nodata=float("nan"))
    _add(area, path, name="tiff", version="v1", year=2024)
    np.testing.assert_allclose(_read(area, "tiff").vectors, _read(area, "tessera").vectors, atol=1e-5)


def test_a_region_is_profiled_without_any_picture_beside_imagery_on_the_same_blocks(tmp_path: Path) -> None:
    """A made stand-in in AlphaEarth's layout: what stands on the ground of the made city, through random weights."""
    area = cg.synthetic_city(tmp_path / "city", regions=40, tiles_per_region=1, seed=3)
    flat = area.regions.geometry.to_crs(32633)
    west, south, east, north = flat.total_bounds
    side = int(max(east - west, north - south) / 96) + 1
    rows, columns = np.mgrid[0:100, 0:100]
    points = shapely.points(west + (columns.ravel() - 1.5) * side, north - (rows.ravel() - 1.5) * side)
    cell, region = shapely.STRtree(flat.to_numpy()).query(points, predicate="intersects")[:2]
    values = area.indicators.pivot_table(index="region_id", columns="indicator", values="value")
    truth = values["median_income"]
    known = np.full(100 * 100, float(np.log(truth).median()))
    known[cell] = np.log(truth.reindex(area.regions["region_id"].iloc[region])).to_numpy()
    known[~np.isfinite(known)] = np.nanmedian(known)
    level = (known - known.mean()) / known.std()
    rng = np.random.default_rng(0)
    ground = np.stack([level, np.ones_like(level)], axis=1) @ rng.normal(size=(2, 64))
    ground += 0.5 * rng.normal(size=ground.shape)
    ground /= np.linalg.norm(ground, axis=1, keepdims=True)
    stored = _quantised(ground.T.reshape(64, 100, 100))
    corner = (west - 2 * side, north + 2 * side)
    path = write_raster(tmp_path / "aef.tif", stored, *corner, side, "EPSG:32633", nodata=-128)
    _add(tmp_path / "city", path, name="alphaearth", version="v1", year=2024)
    area = cg.Area.open(tmp_path / "city")
    target = np.log(truth.reindex(area.regions["region_id"]).to_numpy(float))
    labelled = np.isfinite(target)
    nobody = np.full(int(labelled.sum()), -1)
    folds = cg.SpatialBlocks(block_m=1500).folds(area, area.regions[labelled], nobody)

    def r2(features: Features, modality: str) -> float:
        """Return R2 on regions of other blocks; both modalities are judged on the same ones."""
        found = cross_fit(features.fused(modality), target, folds, lambda *_: RidgeCV(np.logspace(-3, 3, 13)))
        both = labelled & np.isfinite(imagery.blocks["image"]).all(1)
        return float(r2_score(target[both], found.predicted[both]))

    imagery = read_features(area, cg.embed(area, model="colour"))
    elsewhere = read_features(area, None, modalities="region:alphaearth")
    assert "image" not in elsewhere.blocks
    assert r2(elsewhere, "region:alphaearth") > max(0.5, r2(imagery, "image"))
