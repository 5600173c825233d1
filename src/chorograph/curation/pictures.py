"""Pictures wherever they lie: a shard, an area or corpus, a folder of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from chorograph.area.folder import Area
from chorograph.area.images import read_encoded
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.image_formats import find_image_files
from chorograph.shards.samples import read_samples


@dataclass(frozen=True)
class Picture:
    """An encoded image, what it is called, and its first caption where there is one."""

    name: str
    data: bytes
    caption: str = ""


def read_pictures(path: Path, drop: Callable[[str], None]) -> Iterator[Picture]:
    """Yield the pictures of a shard (.tar, .tar.gz), an area or corpus, or a folder; `drop` is told what is left out.

    Raises `InputError` where there are none of them.
    """
    if path.is_file():
        for sample in read_samples(path, drop):
            yield Picture(sample.name, sample.image(), sample.caption())
    elif (path / "area.toml").is_file():
        yield from _of_area(Area.open(path), drop)
    else:
        files = find_image_files(path, drop)
        if not files:
            raise InputError(f"{path} is neither a shard nor an area nor a folder with images")
        for file in files:
            try:
                yield Picture(str(file.relative_to(path)), read_encoded(file))
            except ImageError as error:
                drop(f"image {error.reason}")


def _of_area(area: Area, drop: Callable[[str], None]) -> Iterator[Picture]:
    captions = area.captions.drop_duplicates("image_id").set_index("image_id")["caption"]
    for image_id, uri in area.images[["image_id", "uri"]].itertuples(index=False, name=None):
        if not isinstance(uri, str):
            drop("image not held")
            continue
        try:
            yield Picture(image_id, area.read_encoded(uri), captions.get(image_id, ""))
        except ImageError as error:
            drop(f"image {error.reason}")
