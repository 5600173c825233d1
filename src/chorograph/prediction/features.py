"""What is known of every region of an area, by modality: read and pooled once, whatever is asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.splits import duplicate_groups
from chorograph.ground.arrays import Matrix
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.models.encoders.registry import resolve
from chorograph.prediction import modalities as columns
from chorograph.prediction.crossfit import Fused

if TYPE_CHECKING:
    import geopandas as gpd

    from chorograph.area.folder import Area

MODALITIES = ("image", "context", "location", "shape", "poi", "graph", "text")
#: Parts of the graph, computed where they are asked for by name; `graph:NAME` are vectors of `graph embed`, and
#: `region:NAME` those of regions that were made elsewhere.
GRAPH_PARTS = ("graph-degrees", "graph-categories", "graph-surroundings", "graph-position")
#: Vectors of street views, made by `embed --view street` with the model of `embeddings`; where asked for by name.
STREET = "street"
POOLINGS = ("mean", "mean+std", "attention")
#: What a run uses unless told otherwise. On King County the others added nothing (docs/explanation/findings.md).
STANDARD = ("image", "context", "location")
#: What `--probe auto` may choose among where `standard` is asked for: those and what baselines read.
CHOOSABLE = ("image", "context", "location", "shape", "poi", "graph")


@dataclass(frozen=True)
class Features:
    """The features of an area's n regions: `blocks[modality]` is (n, width), NaN rows where a region lacks it.

    `embeddings`: the image vectors that `image` and `context` were pooled from, None without imagery.
    """

    area: Area
    blocks: Mapping[str, Matrix]
    embeddings: Embeddings | None = None

    @classmethod
    def none(cls, area: Area) -> Features:
        """Return features that say nothing: labels and folds can be had before any image is read."""
        return cls(area, {"none": np.zeros((len(area.regions), 1))})

    @property
    def regions(self) -> gpd.GeoDataFrame:
        """The area's regions, in the order of the rows."""
        return self.area.regions

    @cached_property
    def n_images(self) -> NDArray[np.int64]:
        """(n,) int: how many images of each region are held."""
        images = self.area.images
        counts = images[images["uri"].notna()]["region_id"].value_counts()
        return np.asarray(self.regions["region_id"].map(counts).fillna(0).to_numpy(np.int64))

    def duplicates(self, rows: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return equal numbers from 0 for those of the regions `rows` (n,) that share an identical image, else -1."""
        return duplicate_groups(self.area.images, self.regions["region_id"][rows])

    def fused(self, asked: str) -> Fused:
        """Return the modalities asked for, by names with commas between, `standard`, `choosable` or `all`.

        Raises `UnknownNameError` for a modality nobody knows, `InputError` for one that the area does not have.
        """
        return Fused({name: self.blocks[name] for name in self._names(asked)})

    def _names(self, asked: str) -> list[str]:
        if not self.blocks:
            raise InputError(f"{self.area.path} has no features at all: no geometry, images, POI counts or graph")
        if asked == "all":
            return list(self.blocks)
        if asked == "choosable":
            # Where the graph is all that there is, its parts say more than what is drawn from it at once.
            alone = [name for name in self.blocks if name in GRAPH_PARTS]
            return alone or [name for name in self.blocks if name in CHOOSABLE] or list(self.blocks)
        if asked == "standard":
            # An area with a graph alone is predicted from that.
            return [name for name in STANDARD if name in self.blocks] or list(self.blocks)
        names = split_names(asked)
        for name in names:
            if name not in (*MODALITIES, STREET, *GRAPH_PARTS) and not name.startswith(columns.AT_REST):
                raise UnknownNameError.of(
                    "modality", name, (*MODALITIES, STREET, *GRAPH_PARTS, "graph:NAME", "region:NAME")
                )
            if name not in self.blocks:
                raise InputError(f"{self.area.path} has no {name} features; it has {', '.join(self.blocks)}")
        return names


def uses_imagery(area: Area, embeddings: str) -> bool:
    """Return whether image vectors are read: asked for by name, or by default of an area that holds images."""
    if embeddings != "default":
        return embeddings != "none"
    return bool(area.sizes().get("images held", 0))


def read_features(
    area: Area,
    embeddings: Embeddings | NDArray[Any] | None,
    *,
    modalities: str = "standard",
    pooling: str = "mean",
    texts: str | None = None,
) -> Features:
    """Return the features of every modality that the area has, pooled to regions.

    An array as `embeddings` holds a row for each region already, (regions, width), NaN where a region has none.
    Captions (`texts`: the model of their vectors), street views, parts of the graph and its vectors are among them only
    where `modalities` names them; the parts also where the area has a graph alone. Raises `InputError` where vectors
    asked for by name are not there.
    """
    regions = area.regions
    ids = regions["region_id"]
    blocks: dict[str, Matrix] = {}
    if isinstance(embeddings, np.ndarray):
        blocks["image"] = _given(embeddings, len(regions))
        embeddings = None
    elif embeddings is not None:
        # Attention pools anew in every fold; what is compared before that takes the mean.
        how = "mean" if pooling == "attention" else pooling
        blocks["image"] = columns.image_features(area.images, embeddings.image_ids, embeddings.vectors, ids, how)
    if regions.geometry.notna().any():
        if "image" in blocks:
            blocks["context"] = columns.context_features(blocks["image"], regions)
        blocks["location"] = columns.location_features(regions)
        blocks["shape"] = columns.shape_features(regions)
    if area.has("poi_counts"):
        blocks["poi"] = columns.poi_features(area.read("poi_counts"), ids)
    if area.has("triples"):
        blocks["graph"] = columns.graph_features(area.triples, area.entities, ids)
    # An area with a graph alone is predicted from its parts.
    alone = GRAPH_PARTS if modalities == "standard" and set(blocks) == {"graph"} else ()
    for name in (*split_names(modalities), *alone):
        if name in GRAPH_PARTS or name.startswith(columns.AT_REST):
            blocks[name] = columns.graph_part(area, name)
        elif name == STREET and embeddings is not None:
            blocks[name] = columns.street_features(area, embeddings.model, ids)
    if texts is not None:
        vectors = Embeddings.read(area.embeddings_path(f"text:{resolve(texts)}"))
        blocks["text"] = columns.image_features(area.images, vectors.image_ids, vectors.vectors, ids, "mean")
    return Features(
        area,
        {name: block for name, block in blocks.items() if block.shape[1] and np.isfinite(block).all(1).any()},
        embeddings,
    )


def _given(vectors: NDArray[Any], regions: int) -> Matrix:
    """Return vectors of regions as a modality; `InputError` where there is not one for each."""
    if vectors.ndim != 2 or len(vectors) != regions:
        raise InputError(f"an array of embeddings needs a row for each of {regions} regions, not shape {vectors.shape}")
    return vectors.astype(np.float64)


def split_names(asked: str) -> list[str]:
    """Return the names in a list with commas."""
    return [name.strip() for name in asked.split(",")]
