from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chorograph.area.images import open_image, read_rgb
from chorograph.ground.errors import ImageError


def _encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _picture(mode: str = "RGB", size: tuple[int, int] = (40, 30)) -> Image.Image:
    rng = np.random.default_rng(0)
    return Image.fromarray(rng.integers(0, 256, (*size[::-1], 3), dtype=np.uint8)).convert(mode)


def _bomb() -> bytes:
    """A PNG of 50,000 x 50,000 pixels in a few hundred bytes, made by hand: no pixel data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>503 Service Unavailable</html>", "not an image"),
        (_encoded(_picture(), "JPEG")[:300], "truncated"),
        (_encoded(_picture(), "PNG")[:300], "truncated"),
        (_bomb(), "too large"),
    ],
)
def test_each_bad_image_has_its_reason(data: bytes, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "tile.jpg"
    file.write_bytes(data)
    for source in (data, file):
        for opener in (open_image, read_rgb):
            with pytest.raises(ImageError) as caught:
                opener(source)
            assert caught.value.reason == reason


def test_a_missing_file_or_a_folder_is_missing(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(ImageError, match="missing"):
            read_rgb(path)


def test_the_limit_is_ours_not_pillows() -> None:
    with pytest.raises(ImageError, match="too large"):
        read_rgb(_encoded(_picture(), "JPEG"), max_pixels=1000)


def test_jpeg_equals_pillow() -> None:
    data = _encoded(_picture(size=(256, 256)), "JPEG", quality=90)
    ours, theirs = read_rgb(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    # Two builds of libjpeg may round chroma upsampling differently by a few grey levels.
    assert np.abs(ours.astype(int) - theirs.astype(int)).mean() < 1.0


def test_alpha_lies_over_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (read_rgb(_encoded(clear, "PNG")) == 255).all()


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    ramp = Image.fromarray(np.array([[0, 256 * 100, 65535]], dtype=np.uint16))
    assert read_rgb(_encoded(ramp, "PNG"))[0, :, 0].tolist() == [0, 99, 255]


def test_cmyk_and_palette_become_rgb() -> None:
    assert read_rgb(_encoded(_picture("CMYK"), "JPEG")).shape == (30, 40, 3)
    assert read_rgb(_encoded(_picture("P"), "PNG")).shape == (30, 40, 3)


def test_exif_rotation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    data = _encoded(_picture(), "JPEG", exif=exif)
    assert read_rgb(data).shape == (40, 30, 3)


def _smooth(height: int, width: int) -> np.ndarray:
    coarse = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


@pytest.mark.parametrize(
    ("size", "at_least", "expected"),
    [
        ((1024, 1024), (224, 224), (256, 256)),
        ((256, 256), (224, 224), (224, 224)),
        ((300, 1000), (224, 224), (225, 750)),
        ((200, 1000), (224, 224), (200, 1000)),
        ((1024, 1024), None, (1024, 1024)),
    ],
)
def test_large_jpegs_are_scaled_as_they_are_decoded(
    size: tuple[int, int], at_least: tuple[int, int] | None, expected: tuple[int, int]
) -> None:
    picture = _smooth(*size)
    found = read_rgb(_encoded(Image.fromarray(picture), "JPEG", quality=95), at_least=at_least)
    assert found.shape == (*expected, 3)
    resized = np.asarray(Image.fromarray(picture).resize(expected[::-1], Image.Resampling.BOX), dtype=int)
    assert np.abs(found - resized).mean() < 2
    png = _encoded(Image.fromarray(picture), "PNG")
    np.testing.assert_array_equal(read_rgb(png, at_least=at_least), picture)
