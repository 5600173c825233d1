"""Pictures that are more than eight bits of red, green and blue: what they hold, and how they are shown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from chorograph.area.raster_files import NoRasterError, open_raster
from chorograph.ground.errors import ImageError, InputError

_DEEP_MODES = {"I": "32-bit integers", "F": "floating-point numbers"}
#: Tags of TIFF: bits a sample, samples a pixel, whether further samples are opacity, what a sample is.
_BITS, _SAMPLES, _EXTRA, _FORMAT = 258, 277, 338, 339
#: How many pictures say the range of all.
_SAMPLE = 50
#: How many pixels of one are looked at.
_SAMPLE_PX = 65_536


@dataclass(frozen=True)
class Depth:
    """What the pixels of a picture are: so many bands of numbers of a kind, of so many bits."""

    bands: int
    bits: int
    kind: str
    opacity: bool = False

    @property
    def deep(self) -> bool:
        """Whether somebody must say which numbers are black and white."""
        return self.bits > 8 or self.kind != "whole numbers"

    @property
    def needs_choice(self) -> bool:
        """Whether it is more than eight bits of grey or of red, green and blue (and perhaps opacity)."""
        return self.deep or self.bands - self.opacity not in (1, 3)

    def __str__(self) -> str:
        return f"{self.bands} band{'s' if self.bands > 1 else ''} of {self.bits}-bit {self.kind}"


@dataclass(frozen=True)
class Scaling:
    """Which numbers become black and white, and which bands red, green and blue (from 1); None: nobody said."""

    low: float | None = None
    high: float | None = None
    bands: tuple[int, ...] | None = None


def depth_of(path: Path) -> Depth | None:
    """Return what a picture's pixels are, without decoding them; None where that cannot be told."""
    try:
        with path.open("rb") as file:
            begin = file.read(256)
        if begin[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _depth_of_tiff(path)
        if (depth := _depth_of_colours(begin)) is not None and depth.deep:
            return depth  # Pillow would show the upper eight bits of each
        with Image.open(path) as image:
            if image.mode in _DEEP_MODES:
                return Depth(1, 32, _DEEP_MODES[image.mode])
            if image.mode.startswith("I;16"):
                return Depth(1, 16, "whole numbers")
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, Image.DecompressionBombError):
        pass  # whoever opens it finds the reason
    return None


def _depth_of_colours(begin: bytes) -> Depth | None:
    """Return what the header of a PNG or JPEG 2000 with several bands says; None for any other picture."""
    if begin.startswith(b"\x89PNG") and len(begin) > 25 and begin[25] in (2, 4, 6):
        return Depth({2: 3, 4: 2, 6: 4}[begin[25]], begin[24], "whole numbers", begin[25] != 2)
    if begin[4:8] == b"jP  " and 0 < (at := begin.find(b"ihdr")) < 240:
        bands, bits = int.from_bytes(begin[at + 12 : at + 14], "big"), (begin[at + 14] & 127) + 1
        return Depth(bands, bits, "whole numbers", bands in (2, 4)) if bands > 1 else None
    return None


def parse_scale(text: str | None) -> tuple[float, float] | None:
    """Return (low, high) of `LOW:HIGH`; None for None and `auto`."""
    if text is None or text == "auto":
        return None
    low, colon, high = text.partition(":")
    try:
        pair = float(low), float(high)
    except ValueError:
        pair = (0.0, 0.0)
    if not colon or not pair[0] < pair[1] or not np.isfinite(pair).all():
        raise InputError(f"--scale is LOW:HIGH (the numbers that become black and white) or auto, not {text!r}")
    return pair


def parse_bands(text: str | None) -> tuple[int, ...] | None:
    """Return band numbers from 1 of `4,3,2` or of one band; None for None."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if len(parts) not in (1, 3) or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise InputError(f"--bands is one or three numbers of bands from 1, such as 4,3,2, not {text!r}")
    return tuple(int(part) for part in parts)


def choose_scaling(paths: Sequence[Path], scale: str | None, bands: str | None, notes: list[str]) -> Scaling:
    """Return how the pictures among `paths` that need it are shown; the same for all, so that they can be compared.

    Raises `InputError` that says what they hold and what to choose, where nobody said and they are deep.
    """
    pair, chosen = parse_scale(scale), parse_bands(bands)
    held = [(path, depth) for path in paths if (depth := depth_of(path)) is not None and depth.needs_choice]
    if not held:
        return Scaling(0.0, 255.0, chosen)
    path, depth = held[0]
    shown = chosen or ((1, 2, 3) if depth.bands >= 3 else (1,))
    if chosen is None and depth.bands - depth.opacity not in (1, 3):
        first = "first three were taken as red, green and blue" if depth.bands > 3 else "first was taken as grey"
        notes.append(f"{path.name} and the like hold {depth}: the {first}; say others with --bands")
    if pair is not None or not any(depth.deep for _, depth in held):
        low, high = pair or (0.0, 255.0)
        return Scaling(low, high, shown)
    low, high = _range([path for path, depth in held if depth.deep], shown)
    if scale is None:
        raise InputError(
            f"{path}: {depth} ({len(held)} such pictures): say which numbers become black and white with --scale, for "
            f"example --scale {low:.4g}:{high:.4g} (their 2nd and 98th percentile, which --scale auto takes)"
        )
    notes.append(f"numbers from {low:.6g} to {high:.6g} are shown as black to white (--scale auto)")
    return Scaling(low, high, shown)


def scaled(path: Path, depth: Depth, scaling: Scaling) -> NDArray[np.uint8]:
    """Return a deep or many-banded picture as uint8 (height, width, 3); what it says is no data is black.

    `ImageError` where it cannot be read, or has not the bands asked for.
    """
    values = read_bands(path, scaling.bands or (1,))
    low, high = scaling.low, scaling.high
    if low is None or high is None:
        raise ImageError(f"{depth}, and no --scale says how they are shown", path)
    return to_bytes(values, low, high)


def to_bytes(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Return (height, width, 1 or 3) numbers as uint8 (height, width, 3): `low` black, `high` white, NaN black."""
    with np.errstate(invalid="ignore"):
        grey = np.clip((values - low) / (high - low) * 255.0, 0.0, 255.0)
    found = np.nan_to_num(np.rint(grey)).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(found, 3, axis=2) if found.shape[2] == 1 else found)


def read_bands(path: Path, bands: Sequence[int], *, most_px: int | None = None) -> NDArray[np.float64]:
    """Return bands (numbered from 1) of a picture as (height, width, bands), NaN where it says there is no data.

    With `most_px` a raster of more pixels is read in steps, so that about as many come.
    """
    if tuple(bands) == (1,):
        try:
            with Image.open(path) as image:
                if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                    return np.asarray(image, dtype=np.float64)[..., None]
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
            pass  # what Pillow cannot, GDAL may
    try:
        with open_raster(path) as raster:
            if max(bands) > raster.count:
                raise ImageError(f"band {max(bands)} is asked for, and it has {raster.count}", path)
            step = max(1.0, (raster.width * raster.height / (most_px or np.inf)) ** 0.5)
            shape = (len(bands), max(1, int(raster.height / step)), max(1, int(raster.width / step)))
            read = raster.read(list(bands), masked=True, out_shape=shape).astype(np.float64)
    except NoRasterError as error:
        raise ImageError("truncated", path) from error
    return np.moveaxis(read.filled(np.nan), 0, 2)


def _depth_of_tiff(path: Path) -> Depth:
    with path.open("rb") as file:
        header = file.read(8)
        if 43 in header[2:4]:  # BigTIFF
            header += file.read(8)
        tags: Any = TiffImagePlugin.ImageFileDirectory_v2(header)
        file.seek(tags.next)
        tags.load(file)
    bits = tags.get(_BITS, (1,))
    kinds = {1: "whole numbers", 2: "whole numbers with a sign", 3: "floating-point numbers"}
    formats = tags.get(_FORMAT, (1,))
    kind = kinds.get(int(formats[0] if isinstance(formats, tuple) else formats), "numbers of another kind")
    extra = tags.get(_EXTRA, ())
    bands = int(tags.get(_SAMPLES, 1))
    opacity = bands in (2, 4) and any(
        int(value) in (1, 2) for value in (extra if isinstance(extra, tuple) else (extra,))
    )
    return Depth(bands, int(max(bits) if isinstance(bits, tuple) else bits), kind, opacity)


def _range(paths: Sequence[Path], bands: Sequence[int]) -> tuple[float, float]:
    """Return the 2nd and 98th percentile of the numbers in pictures evenly drawn from `paths`."""
    drawn = [paths[index] for index in np.unique(np.linspace(0, len(paths) - 1, min(len(paths), _SAMPLE)).astype(int))]
    parts = []
    for path in drawn:
        try:
            parts.append(read_bands(path, bands, most_px=_SAMPLE_PX).ravel())
        except ImageError:
            continue  # counted or told when it is taken in
    values = np.concatenate([*parts, np.empty(0)])
    values = values[np.isfinite(values)]
    if not values.size:
        raise InputError(f"{paths[0]} and the like hold no number")
    low, high = (float(edge) for edge in np.percentile(values, (2, 98)))
    return (low, high) if high > low else (low, low + 1.0)
