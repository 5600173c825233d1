"""Corpora in shards: made of other areas, or of RS5M's files. Images go into tars, tables point into them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from chorograph.acquisition.config import PackConfig
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area, Source
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.files import sha256_bytes
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.shards.rs5m import archive_samples, read_metadata
from chorograph.shards.write import ShardWriter, shard_key

_SHARDS = "shards"
_RS5M = Source(
    "RS5M", licence="each image's own", attribution="Zhang et al. 2024", url="https://github.com/om-ai-lab/RS5M"
)
#: How encoded images begin, and the extension of their kind.
_KINDS = ((b"\xff\xd8\xff", "jpg"), (b"\x89PNG", "png"), (b"RIFF", "webp"), (b"II*\0", "tif"), (b"MM\0*", "tif"))
#: What an image of a corpus keeps of its row in an area.
_KEPT = ("view", "url", "lon", "lat", "zoom", "x", "y", "captured", "source", "licence")


@dataclass(frozen=True)
class Packed:
    """An image on its way into a shard: its bytes, its row of the images table, and (caption, origin, score) each."""

    image_id: str
    data: bytes
    row: dict[str, Any]
    captions: Sequence[tuple[str, str, float | None]]


def pack(config: PackConfig, ledger: Ledger, progress: Progress = silent) -> None:
    """Write the images and captions of areas as one corpus of shards; several areas' ids are told apart by their names.

    With `split`, only images whose role there is among `roles`; the split is filed in the corpus too. What cannot be
    read is counted. Raises `InputError` where nothing is left.
    """
    areas = [Area.open(path) for path in config.areas]
    if len({area.name for area in areas}) < len(areas):
        raise InputError(f"two of the areas have one name ({', '.join(area.name for area in areas)}); rename one")
    roles: dict[str, str] = {}
    sources = [source for area in areas for source in area.sources]
    title = " and ".join(area.title for area in areas)
    with AreaDraft(config.out, config.out.name, title, sources, all(area.synthetic for area in areas)) as draft:
        every = (image for area in areas for image in _of_area(area, config, len(areas) > 1, roles, ledger, progress))
        kept = write_packed(draft, every, config.shard_samples, ledger)
        if config.split:
            frame = pd.DataFrame({"image_id": kept, "role": [roles[image_id] for image_id in kept]})
            draft.write_split(config.split, frame)


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
    captions: dict[str, str] = {}
    for file in files:
        captions |= read_metadata(file, ledger.drop)

    def images() -> Iterator[Packed]:
        done = 0
        for group in groups:
            for sample in archive_samples(sorted(source.glob(f"{group}_a?")), captions, ledger.drop):
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
            members: dict[str, Any] = {_extension(image.data): image.data}
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


def _of_area(
    area: Area, config: PackConfig, several: bool, roles: dict[str, str], ledger: Ledger, progress: Progress
) -> Iterator[Packed]:
    """Yield the images of an area that are wanted, and enter their roles."""
    images = area.images[area.images["uri"].notna()].drop_duplicates("image_id").sort_values("image_id")
    ledger.drop("known but not held", int(area.images["uri"].isna().sum()))
    if config.split:
        role = images["image_id"].map(area.split(config.split).set_index("image_id")["role"])
        wanted = role.isin([name.strip() for name in config.roles.split(",")])
        ledger.drop("of another role", int((~wanted).sum()))
        images, role = images[wanted], role[wanted]
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
        if config.split:
            roles[image_id] = role.iloc[done - 1]
        yield Packed(image_id, data, {column: row[column] for column in kept}, said.get(row["image_id"], []))
        progress(f"packing {area.name}", done, len(images))


def _extension(data: bytes) -> str:
    return next((extension for start, extension in _KINDS if data.startswith(start)), "jpg")
