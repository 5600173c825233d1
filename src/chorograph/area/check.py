"""Checking an area as a whole: the rules between its tables, and whether its images open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chorograph.area.tables import TABLES, conform, row_list
from chorograph.ground.errors import ChorographError, ImageError
from chorograph.ground.files import sha256_bytes
from chorograph.ground.stage import Progress, silent

if TYPE_CHECKING:
    import pandas as pd

    from chorograph.area.folder import Area

#: (table, column, table that must know the value, its column)
_REFERENCES = (
    ("images", "region_id", "regions", "region_id"),
    ("captions", "image_id", "images", "image_id"),
    ("captions_original", "image_id", "images", "image_id"),
    ("captions_dropped", "image_id", "images", "image_id"),
    ("image_facts", "image_id", "images", "image_id"),
    ("descriptions", "region_id", "regions", "region_id"),
    ("indicators", "region_id", "regions", "region_id"),
    ("poi_counts", "region_id", "regions", "region_id"),
    ("entities", "region_id", "regions", "region_id"),
    ("triples", "head", "entities", "entity"),
    ("triples", "tail", "entities", "entity"),
    ("ratings", "image_id", "images", "image_id"),
)


def check_area(area: Area, *, open_images: bool = True, progress: Progress = silent) -> list[str]:
    """Return what is wrong with `area`, one sentence a problem; an empty list means that it keeps the contract.

    With `open_images` every held image is also decoded and its bytes compared with `sha256`.
    """
    problems: list[str] = []
    frames: dict[str, pd.DataFrame] = {}
    for name in TABLES:
        if not area.has(name):
            continue
        try:
            frames[name] = conform(name, area.read(name))
        except ChorographError as error:
            problems.append(str(error))
    for table, column, other, key in _REFERENCES:
        if table not in frames:
            continue
        if other not in frames:
            if area.has(other) or frames[table][column].isna().all():
                continue
            problems.append(f"{table}: {column} is filled, but there is no {other}.parquet")
            continue
        unknown = frames[table][column].notna() & ~frames[table][column].isin(frames[other][key])
        if unknown.any():
            first = frames[table].loc[unknown, column].iloc[0]
            problems.append(f"{table}: {column} {first!r} is not in {other} ({row_list(unknown)})")
    if open_images and "images" in frames:
        problems += _check_images(area, frames["images"], progress)
    return problems


def _check_images(area: Area, images: pd.DataFrame, progress: Progress) -> list[str]:
    problems = []
    held = images[images["uri"].notna()]
    for done, (image_id, uri, sha256) in enumerate(
        held[["image_id", "uri", "sha256"]].itertuples(index=False, name=None), start=1
    ):
        try:
            area.read_image(uri)
            if sha256 is not None and sha256_bytes(area.read_encoded(uri)) != sha256:
                problems.append(f"image {image_id!r}: the bytes of {uri} are not those that were recorded")
        except ImageError as error:
            problems.append(f"image {image_id!r}: {uri}: {error.reason}")
        except ChorographError as error:
            problems.append(f"image {image_id!r}: {error}")
        progress("checking images", done, len(held))
    return problems
