"""Pictures in a folder, and taking one into an area: opened first, scaled where it is deeper than eight bits."""

from __future__ import annotations

import io
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from chorograph.acquisition.own.imagery.pixels import Depth, Scaling, depth_of, scaled
from chorograph.area.images import MAX_PIXELS, read_encoded, read_rgb
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.image_formats import SUFFIXES, format_of
from chorograph.ground.stage import Ledger

#: Formats that Pillow opens with the help of other programs, or that are no pictures of the ground.
_NEVER = frozenset({"EPS", "WMF", "MPEG", "HDF5", "GRIB", "BUFR", "PDF", "FPX", "MIC"})
_WORLD = {".jgw", ".jpgw", ".jpegw", ".pgw", ".pngw", ".tfw", ".tifw", ".tiffw", ".wld"}
#: What lies beside pictures and is none.
_BESIDE = _WORLD | {".aux", ".xml", ".ovr", ".prj", ".txt", ".json", ".jsonl", ".csv", ".tsv", ".geojson", ".md", ".db"}
#: Grey levels: a picture that varies less shows nothing.
_FLAT = 1.0


class Images(Protocol):
    """Where pictures are taken into: a new area in the making, or an existing one."""

    def add_image(self, image_id: str, source: Path | bytes, suffix: str = ".jpg") -> tuple[str, str]:
        """Keep an encoded image; returns its uri and the SHA-256 of its bytes."""


@dataclass(frozen=True)
class Held:
    """A picture taken in: its place in the area, the hash of its bytes, and whether it shows nothing."""

    uri: str
    sha256: str
    flat: bool


def find_pictures(folder: Path, ledger: Ledger) -> dict[str, Path]:
    """Return the pictures at any depth below `folder` by their path within it, in order.

    Hidden files and folders, those of other programs (`__MACOSX`) and links that lead out are left out; a file that is
    no picture is counted by its suffix. `InputError` where `folder` is none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of tiles")
    root, found, others = folder.resolve(), {}, Counter[str]()
    for path in sorted(folder.rglob("*")):
        within = path.relative_to(folder)
        if any(part.startswith((".", "__MACOSX")) for part in within.parts) or not path.is_file():
            continue
        if not path.resolve().is_relative_to(root):
            ledger.drop("link that leads out of the folder")
        elif _is_picture(path):
            found[within.as_posix()] = path
        elif path.suffix.lower() not in _BESIDE:
            others[path.suffix.lower() or "without suffix"] += 1
    for suffix, number in others.items():
        ledger.drop(f"file in the folder of tiles that is no picture ({suffix})", number)
    return found


def by_stem(pictures: dict[str, Path]) -> dict[str, Path]:
    """Return pictures by their path without suffix; `InputError` naming both where two share one."""
    stems: dict[str, Path] = {}
    for name, path in pictures.items():
        stem = stem_of(name)
        if stem in stems:
            raise InputError(
                f"{stems[stem]} and {path} would both be the tile {stem!r}; rename one, or list the tiles by their "
                "full file names in a table (--tiles-table)"
            )
        stems[stem] = path
    return stems


def stem_of(name: str) -> str:
    """Return a file's path without its suffix, where that is one of a picture."""
    path = Path(name)
    return path.with_suffix("").as_posix() if path.suffix.lower() in _suffixes() else name


def folded(name: str) -> str:
    """Return a file's path without its suffix, in one Unicode form and case: what looks the same is the same."""
    return unicodedata.normalize("NFC", stem_of(name)).casefold()


def take(
    images: Images,
    image_id: str,
    path: Path,
    scaling: Scaling,
    ledger: Ledger,
    *,
    skip_bad: bool,
    where: str = "",
) -> Held | None:
    """Keep a picture that opens; one that cannot be read is an `InputError`, or with `skip_bad` counted and None."""
    try:
        data, suffix, pixels = _opened(path, scaling)
        uri, digest = images.add_image(image_id, data, suffix)
        return Held(uri, digest, bool(pixels.std(axis=(0, 1)).max() < _FLAT))
    except ImageError as error:
        if not skip_bad:
            place = f" ({where})" if where else ""
            raise InputError(
                f"{path}{place}: {error.reason}; mend it, or go on past bad images with --skip-bad"
            ) from error
        ledger.drop(f"image {error.reason}")
        return None


def _opened(path: Path, scaling: Scaling) -> tuple[bytes, str, NDArray[np.uint8]]:
    """Return the bytes to keep, their suffix, and the pixels; what others could not read back becomes PNG."""
    depth = depth_of(path)
    if depth is not None and (depth.needs_choice or scaling.bands is not None):
        pixels = scaled(path, depth, scaling)
        return _png(pixels), ".png", pixels
    data = read_encoded(path)
    known = format_of(data)
    if known is None and data:
        pixels = _by_pillow(path)
        return _png(pixels), ".png", pixels
    try:
        pixels = read_rgb(data)
    except ImageError:
        if depth is None:
            raise
        pixels = _by_gdal(path, depth)  # a TIFF whose compression Pillow has not
        return _png(pixels), ".png", pixels
    if scaling.bands not in (None, (1, 2, 3)):
        pixels = _banded(pixels, scaling.bands, path)
        return _png(pixels), ".png", pixels
    suffix = path.suffix.lower()
    return data, suffix if suffix in SUFFIXES or known is None else f".{known.extensions[0]}", pixels


def _by_pillow(path: Path) -> NDArray[np.uint8]:
    """Return the pixels of a picture of a rare format, which an area does not hold as it is."""
    try:
        with Image.open(path, formats=[name for name in Image.OPEN if name not in _NEVER]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise ImageError("too large", path)
            return np.asarray(image.convert("RGB"))
    except ImageError:
        raise
    except Exception as error:  # each decoder fails in its own way on what is no picture
        raise ImageError("not an image", path) from error


def _by_gdal(path: Path, depth: Depth) -> NDArray[np.uint8]:
    return scaled(path, depth, Scaling(0.0, 255.0, (1, 2, 3) if depth.bands >= 3 else (1,)))


def _banded(pixels: NDArray[np.uint8], bands: Sequence[int], path: Path) -> NDArray[np.uint8]:
    """Return the bands asked for of a picture of red, green and blue."""
    if max(bands) > 3:
        raise ImageError(f"band {max(bands)} is asked for, and it has 3", path)
    chosen = pixels[..., [band - 1 for band in bands]]
    return np.ascontiguousarray(np.broadcast_to(chosen, pixels.shape))


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _is_picture(path: Path) -> bool:
    if path.suffix.lower() in _suffixes():
        return True
    if path.suffix.lower() in _BESIDE:
        return False
    try:
        with path.open("rb") as file:
            return format_of(file.read(64)) is not None
    except OSError:
        return False


def _suffixes() -> frozenset[str]:
    """Return the suffixes of pictures: those of our table, and those that Pillow itself opens."""
    known = Image.registered_extensions()
    return SUFFIXES | {suffix for suffix, name in known.items() if name in Image.OPEN and name not in _NEVER}
