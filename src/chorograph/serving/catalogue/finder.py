"""Search in a served area: the vectors, the model and the words that it has, loaded once, when first asked for."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.folder import Area
from chorograph.ground.arrays import Pixels
from chorograph.ground.errors import ChorographError, InputError
from chorograph.ground.files import check_regular, naming_damage
from chorograph.models.encoders.kept import load_kept_encoder
from chorograph.models.encoders.protocols import ImageEncoder
from chorograph.searching.regions import Hit, ImageSearch, TextSearch
from chorograph.serving.catalogue.served import ServedArea


@dataclass(frozen=True)
class Found:
    """An answer: what was searched by (`images`, `words`), the hits, and what a reader should know."""

    by: str
    hits: list[Hit]
    note: str = ""


class Finder:
    """Answers searches in one area. `model`: the encoder to use, else the best that the area has vectors of."""

    def __init__(self, served: ServedArea, model: str | None = None, device: str = "cpu") -> None:
        self._served = served
        self._asked = model
        self._device = device
        # Looking for similar regions must not wait for the model of words to be loaded.
        self._lock, self._vectors_lock = threading.RLock(), threading.RLock()

    def by_words(self, text: str, k: int, allowed: NDArray[np.bool_] | None = None) -> Found:
        """Find regions by a sentence: by what the images show where a text tower is, else by captions' words."""
        encoder, reason = self.tower()
        if encoder is not None:
            search = self._images(self._tables[0])
            return Found("images", search.by_words(text, encoder, k, allowed))
        return Found("words", self._texts.by_words(text, k, allowed), reason)

    def by_region(self, region_id: str, k: int, allowed: NDArray[np.bool_] | None = None) -> Found:
        """Find the regions that look most like one."""
        self._served.row(region_id)
        return Found("images", self._images(self._need_table()).by_region(region_id, k, allowed))

    def by_image(self, pixels: Pixels, k: int, allowed: NDArray[np.bool_] | None = None) -> Found:
        """Find the regions that look most like a picture."""
        search = self._images(self._need_table())
        return Found("images", search.by_image(pixels, self.encoder(), k, allowed))

    def encoder(self) -> ImageEncoder:
        """Return the encoder of the area's vectors."""
        with self._lock:
            return self._encoder

    def means(self) -> NDArray[np.float32]:
        """Return the mean vector of each region (regions, dim); zero where it has no image."""
        return self._images(self._need_table()).means

    def can(self) -> dict[str, Any]:
        """Say what can be searched, without loading a model."""
        tower = bool(self._tables) and _may_have_tower(self._tables[0])
        return {
            "words": "images" if tower else "words" if self._served.area.has("captions") else None,
            "similar": bool(self._tables),
            "model": self._tables[0] if self._tables else None,
        }

    def warm(self) -> None:
        """Load what the first search would wait for; an area without vectors or captions says so when asked."""
        try:
            self.by_words("buildings", 1)
        except ChorographError:
            return

    @cached_property
    def _tables(self) -> list[str]:
        """The models that the area has image vectors of: those that may have a text tower first."""
        models = []
        for path in sorted((self._served.area.path / "embeddings").glob("*.parquet")):
            with naming_damage(path, "vectors", "run `chorograph embed` again"):
                check_regular(path)
                held = pq.read_schema(path).names
                of_images = "image_id" in held and "model" in held
                model = str(pq.read_table(path, columns=["model"]).column("model")[0]) if of_images else ""
            if of_images and not model.startswith(("text:", "street:")):
                models.append(model)
        if self._asked is not None:
            if self._asked not in models:
                raise InputError(
                    f"{self._served.area.path} has no vectors of {self._asked!r}; run `chorograph embed` with it first "
                    f"(it has: {', '.join(models) or 'none'})"
                )
            return [self._asked]
        return sorted(models, key=lambda model: not _may_have_tower(model))

    def _need_table(self) -> str:
        if not self._tables:
            raise InputError(f"{self._served.area.title} has no image vectors; run `chorograph embed` first")
        return self._tables[0]

    def _images(self, model: str) -> ImageSearch:
        with self._vectors_lock:
            return self._search if model == self._tables[0] else self._open(model)

    @cached_property
    def _search(self) -> ImageSearch:
        return self._open(self._tables[0])

    def _open(self, model: str) -> ImageSearch:
        area, cache = self._served.area, self._served.cache
        folder = None if cache is None else cache / "vectors"
        return ImageSearch(area, Embeddings.read(area.embeddings_path(model)), folder)

    @cached_property
    def _encoder(self) -> ImageEncoder:
        return open_encoder(self._served.area, self._need_table(), self._device)

    def tower(self) -> tuple[Any, str]:
        """Return the encoder if it has a text tower, else None and why not."""
        with self._lock:
            return self._tower_once

    @cached_property
    def _tower_once(self) -> tuple[Any, str]:
        if not self._tables:
            return None, "The area has no image vectors (`chorograph embed`): searched by the words of its captions."
        model = Path(self._tables[0]).name
        if not _may_have_tower(self._tables[0]):
            return None, f"The image vectors are of {model}, which knows no words: searched by the words of captions."
        try:
            encoder = self._encoder
        except ChorographError as error:
            return None, f"{error}. Searched by the words of captions."
        if not hasattr(encoder, "encode_texts"):
            return None, f"{model} has no text tower: searched by the words of captions."
        return encoder, ""

    @property
    def _texts(self) -> TextSearch:
        with self._lock:
            return self._texts_once

    @cached_property
    def _texts_once(self) -> TextSearch:
        return TextSearch.of(self._served.area, self._served.descriptions)


def open_encoder(area: Area, model: str, device: str) -> ImageEncoder:
    """Return the encoder that an area's vectors were made with, its fitted parts as they were then."""
    # A checkpoint that was moved along with its area lies beside it still.
    beside = area.path.resolve().parent / Path(model).name
    moved = "/" in model and not Path(model).exists() and beside.is_dir()
    return load_kept_encoder(area, str(beside) if moved else model, device)


def _may_have_tower(model: str) -> bool:
    """Tell by its name whether an encoder may know words: a checkpoint's folder, open_clip, an adapter on one."""
    return "+" not in model and (model.startswith(("open_clip:", "adapter:")) or "/" in model or Path(model).is_dir())
