"""Encoding an area's images, each content once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.ground.errors import AreaError, ImageError, InputError
from chorograph.ground.files import sha256_bytes
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.models.devices import device_of
from chorograph.models.encoders.kept import keep, restore_kept, stored_as
from chorograph.models.encoders.protocols import ImageEncoder
from chorograph.models.encoders.registry import load_encoder

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.area.folder import Area

#: The engine that is none: a loop in this process.
PLAIN = "plain"
#: Images that are decoded and encoded together.
_BATCH = 64
#: Threads that decode; more of them wait for each other.
_READERS = 16
#: How many images an encoder such as `rcf` is fitted on.
_SAMPLE = 512


def embed_images(
    area: Area,
    model: str,
    ledger: Ledger,
    *,
    view: str = "satellite",
    device: str = "auto",
    seed: int = 0,
    engine: str = PLAIN,
    ray_address: str | None = None,
    progress: Progress = silent,
) -> Embeddings:
    """Encode the held images of `view`, write `embeddings/SLUG.parquet`, and return the vectors.

    `engine`: `plain` for a loop, or `native` or `ray` for a Daft plan, which does not begin anew where it is killed.

    Vectors are addressed by content: an image whose bytes and encoder are unchanged is not encoded again, and equal
    images are encoded once. Images that cannot be read are left out and counted. `InputError` where none is left.
    """
    images = area.images
    wanted = images[(images["view"] == view) & images["uri"].notna()].drop_duplicates("image_id")
    ledger.drop("known but not held", int(((images["view"] == view) & images["uri"].isna()).sum()))
    if wanted.empty:
        raise InputError(f"{area.path} holds no {view} images to encode")
    encoder = load_encoder(model, device_of(device))
    _fit(encoder, area, wanted, view, seed, ledger)
    path = area.embeddings_path(stored_as(encoder.name, view))
    known = _stored(path, encoder)
    keys = _contents(area, wanted)
    first_of_key = {key: row for row, key in reversed(list(enumerate(keys)))}
    todo = [row for key, row in first_of_key.items() if key not in known]
    todo.sort()
    uris = wanted["uri"].to_numpy(object)
    if engine == PLAIN:
        encoded = _encode(encoder, area, uris, todo, ledger)
    else:
        load = _loader(area, model, device, view)
        encoded = _planned(load, encoder.fingerprint, area, uris, todo, ledger, engine, ray_address)
    for done, (row, vector) in enumerate(encoded, start=1):
        known[keys[row]] = vector
        progress(f"encoding with {encoder.name}", done, len(todo))
    rows = [row for row, key in enumerate(keys) if key in known]
    if not rows:
        raise InputError(f"none of the {len(wanted)} {view} images of {area.path} could be read")
    ledger.count("images", len(wanted))
    ledger.count("encoded now", len(todo))
    ledger.count("vectors", len(rows))
    ledger.count("width", encoder.dim)
    embeddings = Embeddings(
        model=encoder.name,
        fingerprint=encoder.fingerprint,
        image_ids=wanted["image_id"].to_numpy(object)[rows],
        sha256=keys[rows],
        vectors=np.stack([known[keys[row]] for row in rows]),
    )
    ledger.outputs.append(embeddings.write(path))
    return embeddings


def _loader(area: Area, model: str, device: str, view: str) -> Callable[[], ImageEncoder]:
    """Return what makes the same encoder in another process: parts that were fitted take up what they learnt."""
    path = area.path.resolve()

    def load() -> ImageEncoder:
        from chorograph.area.folder import Area

        again = load_encoder(model, device_of(device))
        restore_kept(again, Area.open(path), view)
        return again

    return load


def _planned(
    load: Callable[[], ImageEncoder],
    identity: str,
    area: Area,
    uris: NDArray[np.object_],
    rows: Sequence[int],
    ledger: Ledger,
    engine: str,
    ray_address: str | None,
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (row, vector) from a Daft plan; partitions that are finished lie in the area until all are."""
    from chorograph.embedding.plan import encode_by_plan

    work = area.path / "embeddings" / "parts"
    paths = [(row, area.resolve(uris[row]).resolve()) for row in rows]
    for row, found in encode_by_plan(load, identity, paths, work, name=engine, ray_address=ray_address):
        if isinstance(found, str):
            ledger.drop(f"image {found}")
        else:
            yield row, found
    shutil.rmtree(work, ignore_errors=True)


def _contents(area: Area, images: pd.DataFrame) -> NDArray[np.object_]:
    """Return what names each image's content: its hash in the table, else that of its bytes."""
    keys = images["sha256"].to_numpy(object, copy=True)
    uris, ids = images["uri"].to_numpy(object), images["image_id"].to_numpy(object)
    for row in np.flatnonzero(images["sha256"].isna()):
        try:
            keys[row] = sha256_bytes(area.read_encoded(uris[row]))
        except ImageError:
            keys[row] = f"unread:{ids[row]}"  # its reason is counted where it is decoded
    return keys


def _stored(path: Path, encoder: ImageEncoder) -> dict[str, NDArray[np.float32]]:
    """Return the vectors that this very encoder made before, by the hash of their image."""
    try:
        before = Embeddings.read(path)
    except (InputError, AreaError):
        return {}
    if before.fingerprint != encoder.fingerprint or before.dim != encoder.dim:
        return {}
    return dict(zip(before.sha256, before.vectors, strict=True))


def _encode(
    encoder: ImageEncoder, area: Area, uris: NDArray[np.object_], rows: Sequence[int], ledger: Ledger
) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """Yield (row, vector); threads read the next batch, and resize it where the encoder says how, meanwhile."""
    prepare = getattr(encoder, "prepare", None)

    def read(row: int) -> NDArray[np.uint8] | str:
        try:
            pixels = area.read_image(uris[row])
        except ImageError as error:
            return error.reason
        return pixels if prepare is None else prepare(pixels)

    batches = [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]
    with ThreadPoolExecutor(max_workers=min(_READERS, os.cpu_count() or 1)) as readers:
        pending = [readers.submit(read, row) for row in batches[0]] if batches else []
        for number, batch in enumerate(batches):
            images = [one.result() for one in pending]
            pending = [readers.submit(read, row) for row in (batches[number + 1] if number + 1 < len(batches) else ())]
            for reason in images:
                if isinstance(reason, str):
                    ledger.drop(f"image {reason}")
            held = [(row, image) for row, image in zip(batch, images, strict=True) if not isinstance(image, str)]
            if held:
                yield from zip([row for row, _ in held], encoder.encode([image for _, image in held]), strict=True)


def _read(
    area: Area, uris: NDArray[np.object_], rows: Sequence[int]
) -> tuple[list[tuple[int, NDArray[np.uint8]]], list[str]]:
    read, failed = [], []
    for row in rows:
        try:
            read.append((row, area.read_image(uris[row])))
        except ImageError as error:
            failed.append(error.reason)
    return read, failed


def _fit(encoder: ImageEncoder, area: Area, images: pd.DataFrame, view: str, seed: int, ledger: Ledger) -> None:
    """Fit the parts that must see the area first, once: what they learnt is kept beside their vectors."""
    for part in restore_kept(encoder, area, view):
        drawn = np.random.default_rng(seed).permutation(len(images))[:_SAMPLE]
        read, _ = _read(area, images["uri"].to_numpy(object), drawn.tolist())
        if not read:
            raise InputError(f"none of {len(drawn)} images of {area.path} could be read to fit {part.name}")
        part.fit([pixels for _, pixels in read], seed=seed)
        ledger.count(f"images that {part.name} was fitted on", len(read))
        keep(part, area, view)
