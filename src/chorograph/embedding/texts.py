"""Encoding an area's captions: one vector an image, the mean of those of its captions."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from chorograph.area.embeddings import Embeddings
from chorograph.ground.errors import InputError
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.devices import device_of
from chorograph.models.encoders.lsa import LatentSemanticAnalysis
from chorograph.models.encoders.registry import load_text_encoder

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: Captions that are encoded between two notes of progress.
_BATCH = 256


def text_name(model: str) -> str:
    """Return the name under which an area files the vectors of its captions."""
    return f"text:{model}"


def embed_captions(
    area: Area,
    model: str,
    ledger: Ledger,
    *,
    view: str = "satellite",
    device: str = "auto",
    seed: int = 0,
    progress: Progress = silent,
) -> Embeddings:
    """Encode the captions of the images of `view`, write `embeddings/text-SLUG.parquet`, and return the vectors.

    Equal captions are encoded once; a caption counts whether or not its image is held. `InputError` where no image has
    a caption.
    """
    views = area.images.loc[area.images["view"] == view, "image_id"]
    captions = area.captions[area.captions["image_id"].isin(views)].sort_values(["image_id", "rank", "caption_id"])
    if captions.empty:
        raise InputError(f"{area.path} has no captions of {view} images; `chorograph caption` writes some")
    encoder = load_text_encoder(model, device_of(device), seed=seed)
    distinct = sorted(set(captions["caption"]))
    if isinstance(encoder, LatentSemanticAnalysis):  # learnt from all texts at once
        vectors = encoder.encode_texts(distinct)
    else:
        parts = []
        for start in range(0, len(distinct), _BATCH):
            parts.append(encoder.encode_texts(distinct[start : start + _BATCH]))
            progress(f"encoding captions with {encoder.name}", min(start + _BATCH, len(distinct)), len(distinct))
        vectors = np.concatenate(parts)
    row_of = {caption: row for row, caption in enumerate(distinct)}
    image_ids = captions["image_id"].unique()
    means, hashes = np.zeros((len(image_ids), vectors.shape[1]), dtype=np.float32), []
    for number, (_, said) in enumerate(captions.groupby("image_id", sort=False)["caption"]):
        means[number] = vectors[[row_of[caption] for caption in said]].mean(0)
        hashes.append(hashlib.sha256("\0".join(said).encode()).hexdigest())
    ledger.count("captions", len(captions))
    ledger.count("distinct captions", len(distinct))
    ledger.count("vectors", len(image_ids))
    ledger.count("width", vectors.shape[1])
    name = text_name(model)
    embeddings = Embeddings(name, encoder.fingerprint, image_ids.astype(object), np.array(hashes, object), means)
    ledger.outputs.append(embeddings.write(area.embeddings_path(name)))
    return embeddings
