"""What could have told a model the answer: neighbours, repeated images, labels among the features, pretraining.

Every run is looked through. A *leak* makes a score worthless and stops the run unless it is allowed; a *note* is for
the reader to weigh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import KDTree
from scipy.stats import rankdata

from chorograph.area.splits import Folds, Split
from chorograph.ground.arrays import Matrix
from chorograph.ground.errors import ImageError
from chorograph.models.encoders.registry import images_seen

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.area.embeddings import Embeddings
    from chorograph.area.folder import Area


#: A feature whose values or ranks correlate with the label as closely as this is the label.
_SAME = 0.9999
#: Pairs of images are looked at whose vectors are nearer than this part of the median distance between images (on
#: King County different tiles lie beyond 0.157, recompressed ones mostly below 0.05), at most so many of them, and are
#: the same picture where their small luminances correlate so much.
_NEAR, _MOST_PAIRS, _SAME_PICTURE = 0.1, 2000, 0.97


@dataclass(frozen=True)
class Finding:
    """One thing found: `what` in words, how many regions it touches, and whether it is a leak or a note."""

    what: str
    regions: int
    leak: bool

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it."""
        return asdict(self)


def leaks_between_folds(
    area: Area,
    regions: gpd.GeoDataFrame,
    folds: Folds,
    split: Split,
    duplicates: NDArray[np.int64],
    embeddings: Embeddings | None,
) -> list[Finding]:
    """Return what the folds of labelled `regions` (n rows, as `folds`) let through, whichever the labels are.

    `duplicates`: equal numbers from 0 for regions that share an identical image.
    """
    findings = [
        _neighbours(regions, folds, split),
        _identical_images(regions["region_id"], folds, duplicates),
    ]
    if embeddings is not None:
        findings += [
            _near_duplicates(area, regions["region_id"], folds, embeddings),
            _seen_in_pretraining(regions["region_id"], area.images, embeddings),
        ]
    return [finding for finding in findings if finding is not None]


def labels_among_features(blocks: Mapping[str, Matrix], target: NDArray[np.float64]) -> list[Finding]:
    """Return which modalities (n, width) hold the labels (n,) themselves, or a monotone function of them."""
    findings = [_labels_among(name, block, target) for name, block in blocks.items()]
    return [finding for finding in findings if finding is not None]


def _neighbours(regions: gpd.GeoDataFrame, folds: Folds, split: Split) -> Finding | None:
    """Find tested regions that touch a region their model was trained on."""
    if regions.geometry.isna().any():
        return None
    one, other = regions.sindex.query(regions.geometry, predicate="intersects")
    touched = np.zeros(len(regions), dtype=bool)
    for _, train, tested in folds:
        touched[one[tested[one] & train[other]]] = True
    if not touched.any():
        return None
    tests = int((folds.fold >= 0).sum())
    remedy = "named leaky by its name" if split.leaky else "a buffer (--buffer-m) keeps training away"
    return Finding(
        f"{touched.sum()} of {tests} tested regions touch a training region; {remedy}", int(touched.sum()), False
    )


def _identical_images(region_ids: pd.Series[str], folds: Folds, duplicates: NDArray[np.int64]) -> Finding | None:
    """Find tested regions that share an identical image with a training region."""
    sharing: list[int] = []
    for _, train, tested in folds:
        shared = np.intersect1d(duplicates[tested & (duplicates >= 0)], duplicates[train & (duplicates >= 0)])
        sharing += np.flatnonzero(tested & np.isin(duplicates, shared)).tolist()
    if not sharing:
        return None
    what = (
        f"identical images stand on both sides of {len(sharing)} tested regions, for example one of region "
        f"{region_ids.iloc[sharing[0]]!r}; mend the split, or use spatial_block"
    )
    return Finding(what, len(sharing), True)


def _labels_among(name: str, block: Matrix, target: NDArray[np.float64]) -> Finding | None:
    """Find columns that are the label, or a monotone function of it."""
    rows = np.isfinite(block).all(1)
    if rows.sum() < 10:
        return None
    columns, label = block[rows], target[rows]
    closest = np.maximum(_correlation(columns, label), _correlation(rankdata(columns, axis=0), rankdata(label)))
    if not (closest >= _SAME).any():
        return None
    column = int(np.argmax(closest))
    what = f"column {column + 1} of the modality {name} is the label, or tells it exactly; remove it from its table"
    return Finding(what, int(rows.sum()), True)


def _near_duplicates(area: Area, region_ids: pd.Series[str], folds: Folds, embeddings: Embeddings) -> Finding | None:
    """Find images that are all but equal to one on the other side of a fold (recompressed, slightly retouched).

    Vectors propose pairs, pixels decide.
    """
    images = area.images.set_index("image_id").reindex(pd.Index(embeddings.image_ids))
    row = pd.Index(region_ids).get_indexer(pd.Index(images["region_id"]))
    held = np.flatnonzero(row >= 0)
    if len(held) < 2:
        return None
    points = _reduced(embeddings.vectors[held])
    shuffled = np.random.default_rng(0).permutation(len(points))
    typical = float(np.median(np.linalg.norm(points[shuffled] - points, axis=1)))
    pairs = held[KDTree(points).query_pairs(_NEAR * typical, output_type="ndarray").reshape(-1, 2)]
    crossing: dict[int, str] = {}
    for one, other in pairs[:_MOST_PAIRS]:
        # Trained on the one while the other is tested, in either direction.
        for image, twin in ((one, other), (other, one)):
            tested, trained = row[image], row[twin]
            number = folds.fold[tested]
            if number < 0 or folds.fold[trained] == number or folds.banned[number][trained] or tested in crossing:
                continue
            if _same_picture(area, images["uri"].iloc[image], images["uri"].iloc[twin]):
                crossing[int(tested)] = f"{embeddings.image_ids[image]} and {embeddings.image_ids[twin]}"
    if not crossing:
        return None
    what = (
        f"{len(crossing)} tested regions hold an image that is nearly the same as one of a training region, for "
        f"example {next(iter(crossing.values()))}; remove the copies, or give both regions one group and use "
        "leave_group_out"
    )
    return Finding(what, len(crossing), True)


def _same_picture(area: Area, one: str, other: str) -> bool:
    """Return whether two images are the same but for noise: their 32 x 32 px luminances correlate."""
    small = []
    for uri in (one, other):
        try:
            picture = Image.fromarray(area.read_image(uri)).convert("L").resize((32, 32), Image.Resampling.BOX)
        except ImageError:
            return False
        small.append(np.asarray(picture, dtype=np.float64).ravel())
    return bool(_correlation(small[0][:, None], small[1])[0] >= _SAME_PICTURE)


def _seen_in_pretraining(region_ids: pd.Series[str], images: pd.DataFrame, embeddings: Embeddings) -> Finding | None:
    """Find regions whose images the encoder was trained on; images and captions, never an indicator: hence a note."""
    seen = images_seen(embeddings.model)
    if not seen:
        return None
    of_region = images[images["sha256"].isin(seen) & images["region_id"].isin(region_ids)]
    number = int(of_region["region_id"].nunique())
    if number == 0:
        return None
    what = f"{number} of {len(region_ids)} labelled regions have images that the encoder was pretrained on, unlabelled"
    return Finding(what, number, False)


def _reduced(vectors: NDArray[np.float32], width: int = 32) -> Matrix:
    """Return the leading components of the standardised vectors: near in these is near in all that varies."""
    centred = vectors - vectors.mean(0)
    scaled = (centred / np.maximum(vectors.std(0), 1e-6)).astype(np.float64)
    _, axes = np.linalg.eigh(scaled.T @ scaled)
    return np.asarray(scaled @ axes[:, -width:])


def _correlation(columns: Matrix, label: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the absolute correlation of each column with the label; 0 for a constant one."""
    a, b = columns - columns.mean(0), label - label.mean()
    scale = np.sqrt((a**2).sum(0) * (b**2).sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(scale > 0, np.abs(a.T @ b) / scale, 0.0)
