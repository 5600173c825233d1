"""RS5M's other form: raw images in one archive split into parts, captions in CSV files beside it.

RS5M's pickled metadata (`*.pkl`) is never read: the CSV files hold the same, and reading a pickle runs what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from chorograph.ground.csv_rows import read_csv_rows
from chorograph.ground.errors import InputError
from chorograph.shards.samples import IMAGES, Sample
from chorograph.shards.tar import Drop, open_stream, split_name, walk

#: Columns that a caption stands in, the first one there is taken; the published files differ.
_CAPTIONS = ("text", "caption")
_NAME = "img_name"


def read_metadata(path: Path, drop: Drop) -> dict[str, str]:
    """Return captions by image name out of a CSV file of RS5M (`img_name`, `text` or `caption`), in its order.

    `drop` is told of rows without a name or caption or with fields beyond the columns, and of names that come again.
    Raises `InputError` for a pickle, for a file without these columns, and naming the row of a quote left open.
    """
    if path.suffix != ".csv":
        raise InputError(f"{path} is no CSV file; RS5M's pickles hold the same as its CSV files and are not read")
    captions: dict[str, str] = {}
    try:
        with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
            held, rows = read_csv_rows(file, path)
            column = next((name for name in _CAPTIONS if name in held), None)
            if column is None or _NAME not in held:
                raise InputError(f"{path} has the columns {held}; it needs {_NAME} and text or caption")
            for row in rows:
                name, caption = row.values.get(_NAME, "").strip(), row.values.get(column, "").strip()
                if row.surplus:
                    drop("row with more fields than columns")
                elif not name or not caption:
                    drop("row without a name or caption")
                elif name in captions:
                    drop("name that comes again")
                else:
                    captions[name] = caption
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read as CSV: {error}") from error
    return captions


def check_parts(parts: Sequence[Path]) -> None:
    """Raise `InputError` where a part of a split archive (`_aa`, `_ab`, ...) is missing: read on, images would be lost.

    All parts but the last are of one size; that the last is there is seen when the archive ends.
    """
    letters = [path.name[-1] for path in parts]
    wanted = [chr(ord("a") + number) for number in range(len(parts))]
    if letters != wanted:
        missing = next(letter for letter in map(chr, range(ord("a"), ord("z") + 1)) if letter not in letters)
        raise InputError(f"{parts[0].name[:-1]}{missing} is missing beside {parts[-1].name}; get all parts of it")
    sizes = [path.stat().st_size for path in parts]
    if len(set(sizes[:-1])) > 1:
        odd = next(path for path, size in zip(parts, sizes, strict=True) if size != sizes[0])
        raise InputError(f"{odd} is of another size than {parts[0].name}; a part was cut off: get it again")


def archive_samples(parts: Sequence[Path], captions: Mapping[str, str], drop: Drop) -> Iterator[Sample]:
    """Yield the captioned images of a split archive (`pub11.tar.gz_aa`, `_ab`, ...) read as one stream.

    Captions are found by the image's file name. An image without one is told to `drop`, as is what `walk` leaves out.
    """
    with open_stream(list(parts)) as stream:
        for member in walk(stream, drop):
            name, parted = PurePosixPath(member.name).name, split_name(member.name)
            if parted is None or parted[1].rpartition(".")[2] not in IMAGES:
                drop("member is no image")
            elif name not in captions:
                drop("image without a caption")
            else:
                members = {
                    "img_name": name.encode(),
                    "img_content": member.data or b"",
                    "caption": captions[name].encode(),
                }
                yield Sample(name, members)
