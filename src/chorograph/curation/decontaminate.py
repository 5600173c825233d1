"""Keeping test sets out of a corpus: by bytes, and by looks in any of the eight orientations."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import MARK, Area, read_split
from chorograph.area.images import hashes_of_reduced
from chorograph.area.tables import TABLES
from chorograph.curation.pictures import read_pictures
from chorograph.curation.steps.near_hashes import near_pairs
from chorograph.curation.steps.validity import inspect_image, orientations
from chorograph.ground.errors import ImageError
from chorograph.ground.files import atomic_path, sha256_bytes
from chorograph.ground.stage import Progress, silent
from chorograph.shards.samples import read_samples
from chorograph.shards.write import ShardWriter

_ORIENTATIONS = ("upright", "turned 90", "turned 180", "turned 270", "mirrored", "mirrored, turned 90",
                 "mirrored, turned 180", "mirrored, turned 270")  # fmt: skip


@dataclass(frozen=True)
class ForbiddenImages:
    """Images that a corpus must not hold: digests, and hashes in eight orientations."""

    names: tuple[str, ...]
    sha256: dict[str, int]
    hashes: NDArray[np.uint64]  # (n, 8)


def read_tests(paths: Sequence[Path], drop: Callable[[str], None], progress: Progress = silent) -> ForbiddenImages:
    """Read what must not be in a corpus."""
    names: list[str] = []
    digests: dict[str, int] = {}
    hashes: list[NDArray[np.uint64]] = []
    for path in paths:
        for picture in read_pictures(path, drop):
            try:
                found = orientations(inspect_image(picture.data).small[None])[0]
            except ImageError as error:
                drop(f"test image {error.reason}")
                continue
            digests.setdefault(sha256_bytes(picture.data), len(names))
            names.append(f"{path.name}:{picture.name}")
            hashes.append(found)
            if len(names) % 100 == 0:
                progress("reading test images", len(names), len(names))
    return ForbiddenImages(tuple(names), digests, np.array(hashes, dtype=np.uint64).reshape(-1, 8))


def find_contamination(
    image_ids: Sequence[str], sha256: Sequence[str], hashes: NDArray[np.uint64], tests: ForbiddenImages, distance: int
) -> pd.DataFrame:
    """Return the corpus images that are test images: image_id, test image, how, bits; the nearest where several are."""
    distinct, inverse = np.unique(np.concatenate([hashes, tests.hashes.ravel()]), return_inverse=True)
    of_test = np.zeros(len(distinct), dtype=bool)
    of_test[inverse[len(hashes) :]] = True
    pairs = near_pairs(distinct, distance, of_test)
    near: dict[int, list[int]] = {place: [place] for place in np.flatnonzero(of_test).tolist()}
    for a, b in pairs.tolist():
        for one, other in ((a, b), (b, a)):
            if of_test[other]:
                near.setdefault(one, []).append(other)
    where: dict[int, int] = {}
    for flat, place in enumerate(inverse[len(hashes) :].tolist()):
        where.setdefault(place, flat)
    rows = []
    for number, (image_id, digest) in enumerate(zip(image_ids, sha256, strict=True)):
        if digest in tests.sha256:
            rows.append((image_id, tests.names[tests.sha256[digest]], "same bytes", 0))
        elif hashes[number] and (found := near.get(int(inverse[number]))):
            bits, best = min((int(np.bitwise_count(distinct[f] ^ hashes[number])), f) for f in found if distinct[f])
            test, turn = divmod(where[best], 8)
            rows.append((image_id, tests.names[test], f"same look, {_ORIENTATIONS[turn]}", bits))
    return pd.DataFrame(rows, columns=["image_id", "test_image", "how", "bits"])


def hash_corpus(
    area: Area, drop: Callable[[str], None], progress: Progress = silent
) -> tuple[list[str], list[str], NDArray[np.uint64]]:
    """Return image ids, digests and hashes of the images that a corpus holds and that decode."""
    ids, digests, small = [], [], []
    held = area.images.dropna(subset="uri")
    for done, (image_id, uri) in enumerate(held[["image_id", "uri"]].itertuples(index=False, name=None), start=1):
        try:
            data = area.read_encoded(uri)
            small.append(inspect_image(data).small)
        except ImageError as error:
            drop(f"image of the corpus {error.reason}")
            continue
        ids.append(image_id)
        digests.append(sha256_bytes(data))
        progress("hashing the corpus", done, len(held))
    return ids, digests, hashes_of_reduced(np.array(small, dtype=np.uint8).reshape(-1, 32, 32))


def write_without(area: Area, removed: pd.DataFrame, out: Path) -> int:
    """Write the corpus without the `removed` images: tables, splits, files and shards under the same names.

    `removed.parquet` beside the tables says which and why. Returns how many images are left.
    """
    gone = set(removed["image_id"])
    images = area.images[~area.images["image_id"].isin(gone)]
    with AreaDraft(out, area.name, area.title, area.sources, area.synthetic, area.facts) as draft:
        kept_in: dict[str, set[str]] = {}
        for uri in images["uri"].dropna():
            shard, mark, key = uri.partition(MARK)
            if mark:
                kept_in.setdefault(f"{shard}{MARK[:-1]}", set()).add(key)
            else:
                target = draft.folder / uri
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(area.resolve(uri), target)
        for shard, keys in kept_in.items():
            place = draft.folder / shard
            with ShardWriter(place.parent, place.name, max_samples=2**62, max_bytes=2**62) as writer:
                for sample in read_samples(area.resolve(shard), lambda reason: None):
                    if sample.key in keys:
                        writer.write(sample.key, sample.members)
        for table in TABLES:
            if area.has(table):
                frame = images if table == "images" else area.read(table)
                if table != "images" and "image_id" in frame.columns:
                    frame = frame[~frame["image_id"].isin(gone)]
                draft.write(table, frame)
        for split in sorted((area.path / "splits").glob("*.parquet")):
            frame = read_split(split)
            draft.write_split(split.stem, frame[~frame["image_id"].isin(gone)] if "image_id" in frame else frame)
        with atomic_path(draft.folder / "removed.parquet") as temporary:
            removed.to_parquet(temporary, index=False)
    return len(images)
