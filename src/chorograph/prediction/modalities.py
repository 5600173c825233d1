"""What is known of a region, as columns of numbers: imagery, surroundings, place, outline, points of interest, graph.

Every function returns (regions, width) float64 in the order of the regions, with NaN rows where a region lacks the
modality. None of them sees a label, so they are computed once for all folds; what is fitted (scales, components,
penalties) is fitted inside the fold, by the probe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from chorograph.area.middle import equal_area
from chorograph.area.splits import to_sphere
from chorograph.ground.arrays import Indices, Matrix

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.area.folder import Area


#: How vectors of regions at rest are asked for: those of `graph embed`, and those made elsewhere.
AT_REST = ("graph:", "region:")
#: Components kept of the graph's region-to-region links, and of its other facts.
_COMPONENTS = 10
#: Regions whose surroundings are averaged at once: bounds the memory of large areas.
_CHUNK = 2000


def image_features(
    images: pd.DataFrame,
    image_ids: NDArray[np.object_],
    vectors: NDArray[np.float32],
    region_ids: pd.Series[str],
    pooling: str,
) -> Matrix:
    """Pool image vectors (n, width) to regions: their mean, or mean and standard deviation side by side."""
    region_of = images.set_index("image_id")["region_id"].reindex(pd.Index(image_ids))
    rows = pd.Index(region_ids).get_indexer(pd.Index(region_of))
    held = rows >= 0
    sums = np.zeros((len(region_ids), vectors.shape[1]))
    squares = np.zeros_like(sums)
    np.add.at(sums, rows[held], vectors[held].astype(np.float64))
    counts = np.bincount(rows[held], minlength=len(region_ids)).astype(np.float64)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(counts > 0, sums / counts, np.nan)
        if pooling == "mean":
            return mean
        np.add.at(squares, rows[held], vectors[held].astype(np.float64) ** 2)
        spread = np.sqrt(np.maximum(squares / counts - mean**2, 0.0))
    return np.hstack([mean, spread])


def context_features(pooled: Matrix, regions: gpd.GeoDataFrame) -> Matrix:
    """Return the pooled imagery around each region: a Gaussian-weighted mean over all regions, itself included.

    The bandwidth is one and a half times the median distance between nearest neighbours, so that it follows the size of
    the regions. Imagery only: what lies around a region is seen, not what was measured there.
    """
    positions = _positions(regions)
    seen = np.isfinite(pooled).all(1) & np.isfinite(positions).all(1)
    context = np.full_like(pooled, np.nan)
    if seen.sum() < 3:
        return context
    spacing = KDTree(positions[seen]).query(positions[seen], k=2)[0][:, 1]
    bandwidth = 1.5 * float(np.median(spacing[spacing > 0])) if (spacing > 0).any() else 1.0
    placed = np.flatnonzero(np.isfinite(positions).all(1))
    for start in range(0, len(placed), _CHUNK):
        rows = placed[start : start + _CHUNK]
        squared = (cdist(positions[rows], positions[seen]) / bandwidth) ** 2
        # Relative to the nearest, so that a remote region still takes after its nearest neighbour.
        weight = np.exp(-0.5 * (squared - squared.min(1, keepdims=True)))
        context[rows] = (weight @ pooled[seen]) / weight.sum(1, keepdims=True)
    return context


def location_features(regions: gpd.GeoDataFrame) -> Matrix:
    """Return the place of a point inside each region on the sphere, (regions, 3), in kilometres from the middle.

    Chords of the sphere are distances on the ground at the size of a city, without choosing a projection.
    """
    positions = _positions(regions) / 1000.0
    return np.asarray(positions - np.nanmean(positions, axis=0))


def shape_features(regions: gpd.GeoDataFrame) -> Matrix:
    """Return log area (km2), log perimeter (km) and log compactness (perimeter / square root of area)."""
    import geopandas as gpd

    held = regions.geometry.notna().to_numpy()
    shape = np.full((len(regions), 3), np.nan)
    flat = gpd.GeoSeries(regions.geometry[held], crs=regions.crs).to_crs(equal_area(regions, units="km"))
    area, length = flat.area.to_numpy(), flat.length.to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        shape[held] = np.stack([np.log(area), np.log(length), np.log(length / np.sqrt(area))], axis=1)
    shape[~np.isfinite(shape).all(1)] = np.nan  # a point or a line has no shape
    return shape


def poi_features(poi_counts: pd.DataFrame, region_ids: pd.Series[str]) -> Matrix:
    """Return ln(1 + count) of each kind of point of interest; a region of which no count is told has none of them."""
    wide = poi_counts.pivot_table(index="region_id", columns="poi", values="count", aggfunc="sum", fill_value=0)
    counts = wide.reindex(pd.Index(region_ids)).to_numpy(np.float64)
    return np.asarray(np.log1p(counts))


def graph_features(triples: pd.DataFrame, entities: pd.DataFrame, region_ids: pd.Series[str]) -> Matrix:
    """Return what the knowledge graph tells of each region, without labels.

    For each relation the logarithms of 1 + a region's outgoing and incoming facts; ten components of its links to other
    regions, and ten of its facts about anything else. Components are those of the singular value decomposition of the
    tables of facts, each column divided by the root of its sum so that frequent partners do not rule.
    """
    region_of = entities.dropna(subset=["region_id"]).set_index("entity")["region_id"]
    index = pd.Index(region_ids)
    head = index.get_indexer(pd.Index(triples["head"].map(region_of)))
    tail = index.get_indexer(pd.Index(triples["tail"].map(region_of)))
    number = len(index)
    relation, _ = pd.factorize(triples["relation"], sort=True)
    kinds = int(relation.max(initial=-1)) + 1
    degrees = np.zeros((number, 2 * kinds))
    np.add.at(degrees, (head[head >= 0], relation[head >= 0]), 1.0)
    np.add.at(degrees, (tail[tail >= 0], kinds + relation[tail >= 0]), 1.0)
    both = (head >= 0) & (tail >= 0)
    here = np.r_[head[both], tail[both]]
    links = _counts(here, np.r_[tail[both], number + head[both]], (number, 2 * number))
    other = (head >= 0) & (tail < 0)
    fact, facts = pd.factorize(triples["relation"][other] + "\t" + triples["tail"][other], sort=True)
    bag = _counts(head[other], fact, (number, len(facts)))
    features = np.hstack([np.log1p(degrees[:, degrees.any(0)]), _components(links), _components(bag)])
    features[degrees.sum(1) == 0] = np.nan
    return features


def street_features(area: Area, model: str, region_ids: pd.Series[str]) -> Matrix:
    """Pool the vectors of street views to regions: their mean; a region without any lacks the modality."""
    from chorograph.area.embeddings import Embeddings

    held = Embeddings.read(area.embeddings_path(f"street:{model}"))
    return image_features(area.images, held.image_ids, held.vectors, region_ids, "mean")


def graph_part(area: Area, name: str) -> Matrix:
    """Return a part of the graph, `graph-PART` of `chorograph.graph.profile`, or vectors at rest (`AT_REST`)."""
    ids = area.regions["region_id"]
    if name.startswith(AT_REST):
        from chorograph.graph.vectors import GraphEmbeddings

        held = GraphEmbeddings.read(area.embeddings_path(name.partition(":")[2]))
        rows = pd.Index(held.region_ids).get_indexer(pd.Index(ids))
        return np.where(rows[:, None] >= 0, held.vectors[rows].astype(np.float64), np.nan)
    from chorograph.graph.facts import Graph
    from chorograph.graph.profile import region_profile

    part = name.removeprefix("graph-")
    graph = Graph.read(area)
    return region_profile(graph, graph.rows_of(ids), (part,))[part]


def _counts(rows: Indices, columns: Indices, shape: tuple[int, int]) -> csr_array:
    """Return how often each pair of a row and a column is there; a table of facts is nearly empty."""
    return csr_array((np.ones(len(rows)), (rows, columns)), shape=shape)


def _components(table: csr_array) -> Matrix:
    used = table[:, table.sum(0) > 0]
    number = min(_COMPONENTS, *used.shape)
    if number == 0:
        return np.zeros((table.shape[0], 0))
    scaled = used @ diags_array(1 / np.sqrt(used.sum(0)))
    if number == min(used.shape):
        return np.asarray(PCA(number, svd_solver="full").fit_transform(scaled.toarray()))
    return np.asarray(PCA(number, svd_solver="arpack", random_state=0).fit_transform(scaled))


def _positions(regions: gpd.GeoDataFrame) -> Matrix:
    """Return positions on the sphere in metres, (regions, 3); NaN where a region has no geometry."""
    positions = np.full((len(regions), 3), np.nan)
    held = (regions.geometry.notna() & ~regions.geometry.is_empty).to_numpy()
    points = regions.geometry[held].representative_point()
    positions[held] = to_sphere(points.x.to_numpy(), points.y.to_numpy())
    return positions
