"""Regions by words, by an example region or by a picture, from the vectors of their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.models.encoders.protocols import ImageEncoder, ImageTextEncoder
from chorograph.searching.index import VectorIndex, best_rows, open_index, unit_rows

#: A region is as good as its best images on average: of fewer where it has fewer.
_BEST_IMAGES = 3
#: Images that are asked for, for each region wanted, where an index finds them.
_IMAGES_A_REGION = 8


@dataclass(frozen=True)
class Hit:
    """A region that was found: its score (a cosine, or a weight of words), and what spoke for it, best first."""

    region_id: str
    score: float
    image_ids: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


class ImageSearch:
    """Searches an area's regions by the vectors of their satellite images. Rows follow `region_ids`."""

    def __init__(self, area: Area, embeddings: Embeddings, folder: Path | None = None) -> None:
        """`folder` keeps the index of very many vectors; without it they are all compared."""
        self.region_ids = area.regions["region_id"].astype(str).to_numpy(object)
        region_of = area.images.dropna(subset=["region_id"]).set_index("image_id")["region_id"]
        rows = pd.Index(self.region_ids).get_indexer(
            region_of.reindex(embeddings.image_ids).fillna("").to_numpy(object)
        )
        held = rows >= 0
        self.model = embeddings.model
        self.image_ids = embeddings.image_ids[held]
        self.region = rows[held].astype(np.int64)
        self.vectors = unit_rows(embeddings.vectors[held])
        self._folder = folder

    @cached_property
    def index(self) -> VectorIndex:
        """The index of the image vectors."""
        return open_index(self.vectors, self._folder)

    @cached_property
    def means(self) -> NDArray[np.float32]:
        """The mean vector of each region's images (regions, dim), of unit length; zero where it has none."""
        total = np.zeros((len(self.region_ids), self.vectors.shape[1]), dtype=np.float32)
        np.add.at(total, self.region, self.vectors)
        # What all images of the area share says nothing about one region.
        counted = np.bincount(self.region, minlength=len(self.region_ids))[:, None]
        centred = np.where(counted > 0, total / np.maximum(counted, 1) - self.vectors.mean(axis=0), 0)
        return unit_rows(centred.astype(np.float32))

    def by_vector(
        self, query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_] | None = None, best: int = _BEST_IMAGES
    ) -> list[Hit]:
        """Return the k regions whose `best` images are nearest to a query (dim,); `allowed` (regions,) narrows them."""
        if query.shape != (self.vectors.shape[1],):
            raise InputError(f"a vector of {query.shape[0]} numbers is not one of {self.model}")
        images = None if allowed is None else allowed[self.region]
        rows, _ = self.index.search(query, min(len(self.vectors), k * _IMAGES_A_REGION + 50), images)
        # The images found name the candidates; each is then judged by the best of all its images.
        own = np.flatnonzero(np.isin(self.region, np.unique(self.region[rows])))
        similarity = self.vectors[own] @ unit_rows(query[None])[0]
        frame = pd.DataFrame({"region": self.region[own], "row": own, "similarity": similarity})
        ranked = frame.sort_values("similarity", ascending=False, kind="stable").groupby("region").head(best)
        regions = ranked.groupby("region", sort=False)
        score = regions["similarity"].mean().sort_values(ascending=False, kind="stable").head(k)
        shown: Any = regions["row"].agg(list)
        return [
            Hit(str(self.region_ids[region]), float(value), tuple(map(str, self.image_ids[shown[region]])))
            for region, value in zip(score.index.tolist(), score.tolist(), strict=True)
        ]

    def by_region(self, region_id: str, k: int, allowed: NDArray[np.bool_] | None = None) -> list[Hit]:
        """Return the k regions whose images look most like those of one; without itself."""
        row = self._row(region_id)
        if not np.any(self.means[row]):
            raise InputError(f"region {region_id!r} has no image with a vector of {self.model}")
        score = (self.means @ self.means[row]).astype(np.float64)
        score[~np.any(self.means, axis=1)] = -np.inf
        score[row] = -np.inf
        if allowed is not None:
            score[~allowed] = -np.inf
        return [Hit(str(self.region_ids[other]), float(score[other])) for other in best_rows(score, k)]

    def by_image(self, pixels: Pixels, encoder: ImageEncoder, k: int, allowed: NDArray[np.bool_] | None) -> list[Hit]:
        """Return the k regions with the image that looks most like a picture (height, width, 3)."""
        return self.by_vector(encoder.encode([pixels])[0], k, allowed, best=1)

    def by_words(self, text: str, encoder: ImageTextEncoder, k: int, allowed: NDArray[np.bool_] | None) -> list[Hit]:
        """Return the k regions that a sentence fits best."""
        return self.by_vector(np.asarray(encoder.encode_texts([text])[0], dtype=np.float32), k, allowed)

    def _row(self, region_id: str) -> int:
        rows = np.flatnonzero(self.region_ids == region_id)
        if not len(rows):
            raise UnknownNameError.of("region", region_id, self.region_ids[:10_000].tolist())
        return int(rows[0])


class TextSearch:
    """Searches an area's regions by the words of their captions and descriptions: what works without any model.

    Words weigh by how rare they are (TF-IDF of words and pairs, English words that say nothing left out).
    """

    def __init__(self, region_ids: Sequence[str], texts: pd.DataFrame) -> None:
        """`texts`: region_id, text, one row a caption or description."""
        from sklearn.feature_extraction.text import TfidfVectorizer

        index = pd.Index(np.asarray(region_ids, dtype=object))
        held = texts[index.get_indexer(pd.Index(texts["region_id"])) >= 0].drop_duplicates(["region_id", "text"])
        if held.empty:
            raise InputError("the area holds no captions or descriptions to search; `chorograph caption` writes some")
        self.region_ids = index.to_numpy(object)
        self.texts = held["text"].to_numpy(object)
        self.region = index.get_indexer(pd.Index(held["region_id"])).astype(np.int64)
        self._weigh = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, stop_words="english", norm="l2")
        try:
            self._weights = self._weigh.fit_transform(self.texts)
        except ValueError:
            raise InputError("the area's captions and descriptions hold no word to search for") from None

    @classmethod
    def of(cls, area: Area, descriptions: pd.DataFrame | None = None) -> TextSearch:
        """Read the captions of an area's images, and the descriptions (region_id, sentence) of its regions if any."""
        region_of = area.images.dropna(subset=["region_id"]).set_index("image_id")["region_id"]
        captions = area.captions
        texts = pd.DataFrame({"region_id": captions["image_id"].map(region_of), "text": captions["caption"]}).dropna()
        if descriptions is not None and len(descriptions):
            said = descriptions.rename(columns={"sentence": "text"})[["region_id", "text"]]
            texts = pd.concat([texts, said], ignore_index=True)
        return cls(area.regions["region_id"].astype(str).tolist(), texts)

    def by_words(self, text: str, k: int, allowed: NDArray[np.bool_] | None = None) -> list[Hit]:
        """Return the k regions whose texts share the most telling words with a sentence; none where no word is."""
        weight = np.asarray((self._weights @ self._weigh.transform([text]).T).todense()).ravel()
        score = np.zeros(len(self.region_ids))
        # A region is as good as its best text: many captions are no merit.
        np.maximum.at(score, self.region, weight)
        score[score == 0] = -np.inf
        if allowed is not None:
            score[~allowed] = -np.inf
        return [self._hit(region, float(score[region]), weight) for region in best_rows(score, k)]

    def _hit(self, region: int, score: float, weight: NDArray[np.float64]) -> Hit:
        own = np.flatnonzero((self.region == region) & (weight > 0))
        best = own[np.argsort(-weight[own], kind="stable")][:_BEST_IMAGES]
        return Hit(str(self.region_ids[region]), score, texts=tuple(map(str, self.texts[best])))
