"""Opening images that strangers made: never a crash of the run, always a reason."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from chorograph.ground.errors import ImageError

#: Larger images are refused before their pixels are decoded (a decompression bomb is a few kB on disk).
MAX_PIXELS = 64_000_000

#: What stands between a shard and a key in the place of an image inside a shard.
MARK = ".tar#"

#: How files begin that were images once: cut off inside their header, they are truncated, not something else.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"II*\0", b"MM\0*", b"BM")

#: Grey levels: an image that varies less is compressed sky or sea, and its hash would be noise.
_FLAT = 2.0
#: The first 8 rows of the 32-point cosine transform (type II), unscaled.
_COSINES = np.cos(np.pi / 32 * np.outer(np.arange(8), np.arange(32) + 0.5)).astype(np.float32)


def open_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open an image as 8-bit RGB: upright (EXIF), alpha over white, 16-bit and CMYK converted.

    Raises `ImageError` with the reason: missing, empty, not an image, truncated, too large.
    """
    label = source if isinstance(source, Path) else f"{len(source)} bytes"
    data = _read_bytes(source)
    try:
        with warnings.catch_warnings():
            # Pillow warns between one and two times its own limit; ours is checked below, on every size.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
    except Image.DecompressionBombError as error:
        raise ImageError("too large", label) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise ImageError("truncated" if data.startswith(_SIGNATURES) else "not an image", label) from error
    if image.width * image.height > max_pixels:
        raise ImageError("too large", label)
    try:
        image.load()
        return _to_rgb(ImageOps.exif_transpose(image))
    except Image.DecompressionBombError as error:
        raise ImageError("too large", label) from error
    except (OSError, ValueError, SyntaxError, IndexError, TypeError, MemoryError) as error:
        # Each decoder has its own way to fail on missing bytes; all of them mean the same to the user.
        raise ImageError("truncated", label) from error


def read_rgb(
    source: Path | bytes, *, max_pixels: int = MAX_PIXELS, at_least: tuple[int, int] | None = None
) -> NDArray[np.uint8]:
    """Read an image as uint8 (height, width, 3); same conversions and errors as `open_image`.

    Plain JPEGs take the fast way through libjpeg-turbo; everything unusual goes through Pillow. With `at_least`
    (height, width) a JPEG that is larger is decoded to the smallest number of eighths of its size that is not smaller
    than that, which skips work and averages pixels as it goes; everything else comes at full size.
    """
    data = _read_bytes(source)
    if data[:2] == b"\xff\xd8" and b"Exif\x00\x00" not in data[:4096]:
        try:
            height, width, colourspace, _ = simplejpeg.decode_jpeg_header(data)
            if colourspace not in ("CMYK", "YCCK") and height * width <= max_pixels:
                least_height, least_width = at_least or (0, 0)
                pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
                    data, colorspace="RGB", min_height=least_height, min_width=least_width
                )
                return pixels
        except ValueError:
            pass  # damaged: Pillow below finds the reason
    label_error: ImageError
    try:
        return np.asarray(open_image(data, max_pixels=max_pixels))
    except ImageError as error:
        label_error = error
    raise ImageError(label_error.reason, source if isinstance(source, Path) else label_error.source) from label_error


def read_encoded(place: Path) -> bytes:
    """Return the bytes of an image: of a file, or of the sample KEY of a shard for `SHARD.tar#KEY`.

    `ImageError` ("missing") where there are none.
    """
    shard, mark, key = str(place).partition(MARK)
    if mark:
        from chorograph.shards.index import read_image_bytes

        return read_image_bytes(Path(f"{shard}{mark[:-1]}"), key)
    try:
        return place.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise ImageError("missing", place) from error


def _read_bytes(source: Path | bytes) -> bytes:
    data = source if isinstance(source, bytes) else read_encoded(source)
    if not data:
        raise ImageError("empty", source if isinstance(source, Path) else "0 bytes")
    return data


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        # Pillow clips 16-bit values at 255 when asked for RGB; a linear stretch of the full range keeps the picture.
        values = np.asarray(image, dtype=np.float64)
        top = 65535.0 if image.mode.startswith("I;16") or values.max(initial=0.0) > 255.0 else 255.0
        image = Image.fromarray(np.clip(values / top * 255.0, 0.0, 255.0).astype(np.uint8))
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


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
