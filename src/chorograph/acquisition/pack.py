"""Corpora in shards: made of other areas, or of RS5M's files. Images go into tars, tables point into them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from chorograph.acquisition.corpus import class_facts
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area, Source
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.files import sha256_bytes
from chorograph.ground.image_formats import extension_of
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.shards.rs5m import archive_samples, check_parts, read_metadata
from chorograph.shards.tar import ENDS
from chorograph.shards.write import ShardWriter, shard_key

_SHARDS = "shards"
_RS5M = Source(
    "RS5M", licence="each image's own", attribution="Zhang et al. 2024", url="https://github.com/om-ai-lab/RS5M"
)
#: What an image of a corpus keeps of its row in an area.
_KEPT = ("view", "url", "lon", "lat", "zoom", "x", "y", "captured", "source", "licence")


@dataclass(frozen=True)
class Packed:
    """An image on its way into a shard: its bytes, its row of the images table, and (caption, origin, score) each."""

    image_id: str
    data: bytes
    row: dict[str, Any]
    captions: Sequence[tuple[str, str, float | None]]


def pack(
    areas: Sequence[Area],
    out: Path,
    ledger: Ledger,
    *,
    split: str | None = None,
    roles: Collection[str] = ("train", "val"),
    shard_samples: int = 10_000,
    progress: Progress = silent,
) -> None:
    """Write images, captions and classes of areas as one corpus of shards; several areas' ids begin with their names.

    With `split`, only images whose role there is among `roles`; the split is filed in the corpus too. What cannot be
    read is counted. Raises `InputError` where nothing is left.
    """
    if len({area.name for area in areas}) < len(areas):
        raise InputError(f"two of the areas have one name ({', '.join(area.name for area in areas)}); rename one")
    role_of: dict[str, str] = {}
    sources = [source for area in areas for source in area.sources]
    title = " and ".join(area.title for area in areas)
    with AreaDraft(out, out.name, title, sources, all(area.synthetic for area in areas)) as draft:
        wanted = None if split is None else (split, roles)
        every = (i for area in areas for i in _of_area(area, wanted, len(areas) > 1, role_of, ledger, progress))
        kept = write_packed(draft, every, shard_samples, ledger)
        held = set(kept)
        classes = [pair for area in areas for pair in _classes_of(area, len(areas) > 1) if pair[0] in held]
        if classes:
            triples, entities = class_facts(classes)
            draft.write("entities", entities)
            draft.write("triples", triples)
        if split is not None:
            frame = pd.DataFrame({"image_id": kept, "role": [role_of[image_id] for image_id in kept]})
            draft.write_split(split, frame)


def import_rs5m(
    source: Path, out: Path, ledger: Ledger, *, skip_bad: bool = False, progress: Progress = silent
) -> None:
    """Build a corpus of shards from RS5M's split archives (`NAME.tar.gz_aa`, ...) and the CSV files beside them.

    Its WebDataset tars need no import: `pretrain` reads them as they are.
    """
    groups = sorted({path.name.rpartition("_")[0] for path in source.glob("*.tar.gz_a?")})
    files = sorted(source.glob("*.csv"))
    if not groups or not files:
        raise InputError(
            f"{source} holds no split archives (pub11.tar.gz_aa, ...) with CSV files of captions beside them"
        )
    for group in groups:
        check_parts(sorted(source.glob(f"{group}_a?")))
    captions: dict[str, str] = {}
    for file in files:
        captions |= read_metadata(file, ledger.drop)

    def images() -> Iterator[Packed]:
        done = 0
        for group in groups:
            parts = sorted(source.glob(f"{group}_a?"))

            def drop(reason: str, last: Path = parts[-1]) -> None:
                if reason in ENDS and not skip_bad:
                    raise InputError(
                        f"{last}: {reason}: a part after it is missing, or one cut off; get all parts, or take what "
                        "can be read with --skip-bad"
                    )
                ledger.drop(reason)

            for sample in archive_samples(parts, captions, drop):
                row = {"view": "satellite", "source": _RS5M.name, "licence": _RS5M.licence}
                yield Packed(sample.name, sample.image(), row, [(sample.caption(), "web", None)])
                done += 1
                progress("reading images", done, len(captions))

    with AreaDraft(out, out.name, "RS5M", [_RS5M]) as draft:
        write_packed(draft, images(), 10_000, ledger)


def write_packed(draft: AreaDraft, images: Iterator[Packed], shard_samples: int, ledger: Ledger) -> list[str]:
    """Write images into shards of a draft, and its tables; returns the ids written, in order."""
    rows, texts = [], []
    with ShardWriter(draft.folder / _SHARDS, "{:04d}.tar", max_samples=shard_samples) as writer:
        for image in images:
            extension = extension_of(image.data)
            if extension is None:
                ledger.drop("image of no known format")
                continue
            members: dict[str, Any] = {extension: image.data}
            if image.captions:
                members["txt"] = image.captions[0][0]
            if len(image.captions) > 1:
                members["json"] = {"image_id": image.image_id, "captions": [text for text, *_ in image.captions]}
            uri = f"{_SHARDS}/{writer.write(shard_key(image.image_id), members)}"
            rows.append({**image.row, "image_id": image.image_id, "uri": uri, "sha256": sha256_bytes(image.data)})
            texts += [
                (f"{image.image_id}#{rank}", image.image_id, rank, *said) for rank, said in enumerate(image.captions)
            ]
    if not rows:
        raise InputError(f"no image was left to write into {draft.path}")
    draft.write("images", pd.DataFrame(rows))
    names = ["caption_id", "image_id", "rank", "caption", "origin", "score"]
    draft.write("captions", pd.DataFrame(texts, columns=names))
    ledger.count("images", len(rows))
    ledger.count("captions", len(texts))
    ledger.count("shards", len(writer.paths))
    return [row["image_id"] for row in rows]


def _classes_of(area: Area, several: bool) -> Iterator[tuple[str, str]]:
    """Yield (image_id in the corpus, class) of the images of an area that have one."""
    for image_id, kind in area.image_classes().items():
        yield f"{area.name}/{image_id}" if several else image_id, kind


def _of_area(
    area: Area,
    wanted: tuple[str, Collection[str]] | None,
    several: bool,
    role_of: dict[str, str],
    ledger: Ledger,
    progress: Progress,
) -> Iterator[Packed]:
    """Yield the images of an area, of a split only those of the `wanted` roles, and enter their roles."""
    images = area.images[area.images["uri"].notna()].drop_duplicates("image_id").sort_values("image_id")
    ledger.drop("known but not held", int(area.images["uri"].isna().sum()))
    if wanted is not None:
        split, roles = wanted
        role = area.roles(split, images)
        taken = role.isin(roles)
        ledger.drop("of another role", int((~taken).sum()))
        images, role = images[taken], role[taken]
    captions = area.captions.sort_values(["image_id", "rank", "caption_id"])
    said: dict[str, list[tuple[str, str, float | None]]] = {}
    for image_id, caption, origin, score in captions[["image_id", "caption", "origin", "score"]].itertuples(
        index=False
    ):
        said.setdefault(image_id, []).append((caption, origin, score))
    kept = [column for column in _KEPT if column in images.columns]
    for done, row in enumerate(images.to_dict("records"), start=1):
        image_id = f"{area.name}/{row['image_id']}" if several else row["image_id"]
        try:
            data = area.read_encoded(row["uri"])
        except ImageError as error:
            ledger.drop(f"image {error.reason}")
            continue
        if wanted is not None:
            role_of[image_id] = role.iloc[done - 1]
        yield Packed(image_id, data, {column: row[column] for column in kept}, said.get(row["image_id"], []))
        progress(f"packing {area.name}", done, len(images))
