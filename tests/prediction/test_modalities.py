from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from pyproj import Geod
from scipy.sparse import csr_array
from shapely.geometry import Point, Polygon, box

from chorograph.prediction.modalities import (
    _components,
    context_features,
    graph_features,
    image_features,
    location_features,
    poi_features,
    shape_features,
)

REGIONS = gpd.GeoDataFrame(
    {"region_id": ["a", "b", "c"]}, geometry=[box(10, 50, 10.1, 50.1), box(10.1, 50, 10.2, 50.1), None], crs=4326
)
IDS = REGIONS["region_id"]


def test_pooling_equals_pandas() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(6, 4)).astype(np.float32)
    images = pd.DataFrame({"image_id": list("uvwxyz"), "region_id": ["a", "a", "b", None, "a", "gone"]})
    ids = images["image_id"].to_numpy(object)
    pooled = image_features(images, ids, vectors, IDS, "mean+std")
    grouped = pd.DataFrame(vectors.astype(np.float64)).groupby(images["region_id"].to_numpy())
    expected = np.hstack([grouped.mean().loc[["a", "b"]], grouped.std(ddof=0).loc[["a", "b"]]])
    assert np.allclose(pooled[:2], expected, atol=1e-6)
    assert np.isnan(pooled[2]).all()
    assert np.array_equal(image_features(images, ids, vectors, IDS, "mean")[:2], pooled[:2, :4])


def test_location_keeps_distances() -> None:
    place = location_features(REGIONS)
    _, _, metres = Geod(ellps="WGS84").inv(10.05, 50.05, 10.15, 50.05)
    assert np.isclose(np.linalg.norm(place[0] - place[1]), metres / 1000, rtol=0.005)
    assert np.isnan(place[2]).all()


def test_shape_equals_geodesic_measures() -> None:
    shape = shape_features(REGIONS)
    area, length = Geod(ellps="WGS84").geometry_area_perimeter(REGIONS.geometry[0])
    assert np.isclose(np.exp(shape[0, 0]), abs(area) / 1e6, rtol=1e-4)
    assert np.isclose(np.exp(shape[0, 1]), length / 1000, rtol=1e-3)
    assert np.isclose(shape[0, 2], shape[0, 1] - shape[0, 0] / 2)
    assert np.isnan(shape[2]).all()


def test_context_is_what_lies_around() -> None:
    points = [Point(10 + 0.01 * k, 50).buffer(0.001) for k in range(30)]
    regions = gpd.GeoDataFrame({"region_id": [str(k) for k in range(30)]}, geometry=points, crs=4326)
    pooled = np.zeros((30, 1))
    pooled[20] = 1.0
    pooled[5] = np.nan
    context = context_features(pooled, regions)[:, 0]
    assert context[20] == context.max()
    assert context[19] > context[17] > context[10]
    assert np.isclose(context[18], context[22])
    assert np.isfinite(context[5])  # without images of its own, it still has surroundings


def test_counts_of_points_of_interest() -> None:
    counts = pd.DataFrame({"region_id": ["a", "a", "b"], "poi": ["shop", "school", "shop"], "count": [3, 1, 0]})
    features = poi_features(counts, IDS)
    assert np.allclose(features[0], np.log1p([1, 3]))
    assert np.allclose(features[1], 0)
    assert np.isnan(features[2]).all()


def test_graph_features_ignore_the_order_of_facts() -> None:
    triples = pd.DataFrame(
        [("r:a", "borderBy", "r:b"), ("r:b", "borderBy", "r:a"), ("r:a", "has", "k:shop"), ("p:1", "locateAt", "r:b")],
        columns=["head", "relation", "tail"],
    )
    entities = pd.DataFrame({"entity": ["r:a", "r:b", "k:shop", "p:1"], "region_id": ["a", "b", None, None]})
    features = graph_features(triples, entities, IDS)
    again = graph_features(triples.iloc[::-1], entities.iloc[::-1], IDS)
    assert np.allclose(np.abs(features[:2]), np.abs(again[:2]))
    assert np.isnan(features[2]).all()
    # Out-degrees: borderBy, has; in-degrees: borderBy, locateAt.
    assert np.allclose(features[0, :4], np.log1p([1, 1, 1, 0]))
    assert np.allclose(features[1, :4], np.log1p([1, 0, 1, 1]))


def test_a_line_has_no_shape() -> None:
    flat = gpd.GeoDataFrame({"region_id": ["a"]}, geometry=[Polygon([(0, 0), (1, 1), (0, 0)])], crs=4326)
    assert np.isnan(shape_features(flat)).all()


@pytest.mark.parametrize("shape", [(40, 200), (60, 14), (9, 30)])
def test_components_of_facts_are_numpys(shape: tuple[int, int]) -> None:
    table = np.random.default_rng(0).poisson(0.2, shape).astype(np.float64)
    table[:, 3] = 0
    found = _components(csr_array(table))
    used = table[:, table.any(0)] / np.sqrt(table.sum(0)[table.any(0)])
    left, values, _ = np.linalg.svd(used - used.mean(0), full_matrices=False)
    width = min(10, *used.shape)
    assert np.allclose(np.abs(found), np.abs(left[:, :width] * values[:width]), atol=1e-10)
