"""Opening images that strangers made: never a crash of the run, always a reason."""

from __future__ import annotations

import io
import logging
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.TiffImagePlugin import ImageFileDirectory_v2 as TiffTags

from chorograph.ground.errors import ImageError
from chorograph.ground.image_formats import FORMATS, format_of

#: Larger images are refused before their pixels are decoded (a decompression bomb is a few kB on disk).
MAX_PIXELS = 64_000_000
#: Larger files are refused unread: such an image of 16 bits and four bands takes half of it.
MAX_BYTES = 1024**3

#: What stands between a shard and a key in the place of an image inside a shard.
MARK = ".tar#"

#: What brings an image upright, by what its camera wrote of how it was held (EXIF 2.3, tag 274).
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow logs about a file it cannot read is in our reason; without a handler it would go to the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())

#: Grey levels: an image that varies less is compressed sky or sea, and its hash would be noise.
_FLAT = 2.0
#: The first 8 rows of the 32-point cosine transform (type II), unscaled.
_COSINES = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5)).astype(np.float32)


def open_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open an image as 8-bit RGB: upright (EXIF), alpha over white, 16-bit and CMYK converted.

    Of a TIFF's bands the first three are red, green and blue; a fourth is opacity only where it is 0 or 255 everywhere
    (`is_opacity`), as near infrared never is. Raises `ImageError` with the reason: missing, empty, not an image,
    truncated, too large, format not supported, bands or bit depth not supported, cannot be decoded.
    """
    label = source if isinstance(source, Path) else f"{len(source)} bytes"
    data = _read_bytes(source)
    with _reasons(data, label):
        image = _begin(data, max_pixels)
        image.load()
        _check_size(image, max_pixels)
        turn = _TURNS.get(_orientation(image))
        rgb = _to_rgb(image)
        # Not Pillow's exif_transpose: it writes all tags anew, and fails on any odd one among them.
        return rgb if turn is None else rgb.transpose(turn)


def open_grey(data: bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open an image whole, as grey where that is all that its file has to be asked for; else as RGB.

    A JPEG's own luma takes a third of the time of its colours, and Pillow lets other threads work meanwhile. Raises as
    `open_image`.
    """
    if data.startswith(b"\xff\xd8\xff"):
        with _reasons(data, f"{len(data)} bytes"):
            image = _begin(data, max_pixels)
            if image.mode in ("RGB", "L") and _orientation(image) == 1:
                image.draft("L", image.size)
                image.load()
                return image
    return Image.fromarray(read_rgb(data, max_pixels=max_pixels))


def read_tags(data: bytes, *directories: int) -> tuple[dict[int, Any], ...]:
    """Return the EXIF tags of an image, then those of each of its `directories`; its pixels are not decoded.

    Raises `ImageError` where the image is none or its tags cannot be read.
    """
    with _reasons(data, f"{len(data)} bytes"):
        exif = _begin(data, MAX_PIXELS).getexif()
        return dict(exif), *(dict(exif.get_ifd(directory)) for directory in directories)


def count_pixels(data: bytes, *, max_pixels: int = MAX_PIXELS) -> int:
    """Return how many pixels an image has, of which none is decoded. Raises as `open_image` does of a header."""
    with _reasons(data, f"{len(data)} bytes"):
        image = _begin(data, max_pixels)
        return image.width * image.height


def is_opacity(band: NDArray[np.uint8]) -> bool:
    """Whether a fourth band of a TIFF says where there is data: 0 or 255 everywhere, and not 0 alone.

    The file cannot be asked: GDAL's default calls any fourth band of bytes alpha.
    """
    return bool(np.isin(band, (0, 255)).all() and band.any())


def transparent_share(data: bytes) -> float | None:
    """Return the share of an image's pixels that are wholly transparent; None where its format or file knows of none.

    None too for what cannot be read.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return None
    try:
        with _reasons(data, f"{len(data)} bytes"):
            image = _begin(data, MAX_PIXELS)
            if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
                return None
            return float((np.asarray(image.convert("RGBA"))[..., 3] == 0).mean())
    except ImageError:
        return None


@contextmanager
def _reasons(data: bytes, label: object) -> Iterator[None]:
    """Turn whatever a decoder raises into an `ImageError` with its reason.

    Each has its own ways to fail (struct.error, KeyError, RuntimeError, …); none of them ends anybody's run.
    """
    try:
        with warnings.catch_warnings():
            # What Pillow warns of is counted by its reason where it matters; our own limit is checked on every size.
            warnings.simplefilter("ignore")
            yield
    except ImageError as error:
        raise ImageError(error.reason, label) from error
    except Image.DecompressionBombError as error:
        raise ImageError("too large", label) from error
    except (OSError, SyntaxError, EOFError, IndexError) as error:
        raise ImageError("truncated", label) from error
    except Exception as error:
        raise ImageError("cannot be decoded", label) from error


def _begin(data: bytes, max_pixels: int) -> Image.Image:
    """Read an image's header, in one of the formats of the table; its pixels are not decoded."""
    try:
        image = Image.open(io.BytesIO(data), formats=[known.name for known in FORMATS])
    except UnidentifiedImageError:
        raise ImageError(_unidentified(data), "") from None
    _check_size(image, max_pixels)
    return image


def _check_size(image: Image.Image, max_pixels: int) -> None:
    if image.width * image.height > max_pixels:
        raise ImageError("too large", "")


def _unidentified(data: bytes) -> str:
    """Return why no format of the table took an image."""
    known = format_of(data)
    if known is None:
        try:
            return f"format not supported ({Image.open(io.BytesIO(data)).format}): convert to JPEG or PNG"
        except Exception:
            return "not an image"
    return (_unread_tiff(data) if known.name == "TIFF" else None) or "truncated"


def _unread_tiff(data: bytes) -> str | None:
    """Return why a TIFF that is whole cannot be read, as its tags say it; None for one that is not whole."""
    try:
        file = io.BytesIO(data)
        tags = TiffTags(file.read(16 if data[2] == 43 or data[3] == 43 else 8))
        file.seek(tags.next)
        tags.load(file)
        starts, sizes = tags.get(273) or tags[324], tags.get(279) or tags[325]
        ends = [start + size for start, size in zip(starts, sizes, strict=True)]
        bits, kinds = tags.get(258, (1,)), {1: "", 2: " signed", 3: " float"}
        kind = kinds.get(tags.get(339, (1,))[0], " other")
        held = f"{tags.get(277, 1)} x {bits[0]} bit{kind}"
    except Exception:
        return None
    return None if max(ends) > len(data) else f"bands or bit depth not supported ({held}): convert to 8-bit RGB"


def _orientation(image: Image.Image) -> int:
    """Return how the camera was held, 1 for upright; a header that cannot be read says nothing."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def read_rgb(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, at_least: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Read an image as uint8 (height, width, 3); same conversions and errors as `open_image`.

    Plain JPEGs take the fast way through libjpeg-turbo; everything unusual goes through Pillow. With `at_least`
    (height, width) a JPEG that is larger is decoded to the smallest number of eighths of its size that is not smaller
    than that, which skips work and averages pixels as it goes; everything else comes at full size.
    """
    data = _read_bytes(source)
    fast = _fast_jpeg(data, max_pixels, at_least or (0, 0))
    if fast is not None:
        return fast
    try:
        return np.asarray(open_image(data, max_pixels=max_pixels))
    except ImageError as error:
        raise ImageError(error.reason, source if isinstance(source, Path) else error.source) from error


def _fast_jpeg(data: bytes, max_pixels: int, at_least: tuple[int, int]) -> NDArray[np.uint8] | None:
    """Decode a plain JPEG; None for all else, also one that is damaged: Pillow finds the reason."""
    if data[:2] != b"\xff\xd8" or b"Exif\x00\x00" in data[:4096]:
        return None
    try:
        height, width, colourspace, _ = simplejpeg.decode_jpeg_header(data)
        if colourspace in ("CMYK", "YCCK") or height * width > max_pixels:
            return None
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, colorspace="RGB", min_height=at_least[0], min_width=at_least[1]
        )
    except Exception:
        return None
    return pixels


def read_encoded(place: Path) -> bytes:
    """Return the bytes of an image: of a file, or of the sample KEY of a shard for `SHARD.tar#KEY`.

    `ImageError` ("missing") where there are none, and for what is no file of an image's size: a pipe would be waited
    for, a device or a sparse file read without end.
    """
    shard, mark, key = str(place).partition(MARK)
    if mark:
        from chorograph.shards.index import read_image_bytes

        return read_image_bytes(Path(f"{shard}{mark[:-1]}"), key)
    try:
        status = place.stat()
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise ImageError("no file", place)
        if status.st_size > MAX_BYTES:
            raise ImageError("too large", place)
        return place.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError) as error:
        raise ImageError("missing", place) from error  # ValueError: a name that no file can have
    except OSError as error:
        raise ImageError(f"cannot be read ({error.strerror})", place) from error


def _read_bytes(source: Path | bytes) -> bytes:
    data = source if isinstance(source, bytes) else read_encoded(source)
    if not data:
        raise ImageError("empty", source if isinstance(source, Path) else "0 bytes")
    return data


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        # Which values are black and white is not said, and a stretch of its own for each tile would hide differences.
        raise ImageError("bands or bit depth not supported (float): convert to 8-bit RGB", "")
    if image.mode.startswith("I"):
        # Pillow clips 16-bit values at 255 when asked for RGB; a linear stretch of the full range keeps the picture.
        values = np.asarray(image, dtype=np.float64)
        if values.size and (values.min() < 0 or values.max() > 65535):
            said = f"values from {values.min():g} to {values.max():g}"
            raise ImageError(f"bands or bit depth not supported ({said}): convert to 8-bit RGB", "")
        top = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0.0) > 255.0 else 255.0
        image = Image.fromarray(np.clip(values / top * 255.0, 0.0, 255.0).astype(np.uint8))
    if image.format == "TIFF" and 2 in image.tag_v2.get(339, ()) and image.mode in ("L", "RGB"):  # type: ignore[attr-defined]
        raise ImageError("bands or bit depth not supported (8 bit signed): convert to 8-bit RGB", "")
    if image.format == "TIFF" and image.mode in ("RGBA", "RGBX", "LA"):
        *colours, last = image.split()
        if image.mode == "RGBX" or not is_opacity(np.asarray(last)):
            return _over_white(np.asarray(Image.merge(image.mode[:-1], colours)), _nodata(image))
    elif image.format == "TIFF" and image.mode in ("RGB", "L") and _nodata(image) is not None:
        return _over_white(np.asarray(image), _nodata(image))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _nodata(image: Image.Image) -> float | None:
    """Return the value that stands for no data in a TIFF (GDAL's tag), or None."""
    try:
        return float(image.tag_v2[42113])  # type: ignore[attr-defined]
    except (KeyError, ValueError, TypeError):
        return None


def _over_white(pixels: NDArray[np.uint8], nodata: float | None) -> Image.Image:
    """Return pixels as RGB, white where all their bands say no data."""
    values = pixels.reshape(*pixels.shape[:2], -1)
    if nodata is not None:
        values = np.where((values == nodata).all(axis=-1, keepdims=True), np.uint8(255), values)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(values, (*pixels.shape[:2], 3))))


def perceptual_hash(pixels: NDArray[np.uint8]) -> np.uint64:
    """Return 64 bits that survive resizing and compression: near-copies differ in a few, others in about half of them.

    The signs of the lowest 8 x 8 cosine coefficients of the 32 x 32 grey image about their median (Zauner 2010). 0 for
    an image without contrast, which looks like every other such image.
    """
    return np.uint64(hashes_of_reduced(reduced(Image.fromarray(pixels))[None])[0])


def reduced(image: Image.Image) -> NDArray[np.uint8]:
    """Return the 32 x 32 grey pixels that a perceptual hash is made of."""
    grey = image if image.mode == "L" else image.convert("L")
    return np.asarray(grey.resize((32, 32), Image.Resampling.BOX))


def hashes_of_reduced(grey: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the perceptual hashes of (n, 32, 32) reduced images: many cost little more than one."""
    values = grey.astype(np.float32)
    low = _COSINES @ values @ _COSINES.T
    bits = low > np.median(low, axis=(1, 2), keepdims=True)
    hashes = np.packbits(bits.reshape(-1, 64), axis=1).view(np.uint64)[:, 0]
    return np.where(values.std(axis=(1, 2)) < _FLAT, np.uint64(0), hashes)
