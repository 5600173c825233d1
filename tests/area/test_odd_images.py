"""One opener for all: odd tags, decoders with exceptions of their own, bands, bit depths, formats."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from PIL import Image, ImageOps

from chorograph.area import images
from chorograph.area.images import is_opacity, open_grey, open_image, read_rgb
from chorograph.ground.errors import ImageError
from chorograph.ground.image_formats import FORMATS, extension_of, format_of
from chorograph.searching.large_image import open_large_image

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def picture(seed: int = 0, size: tuple[int, int] = (40, 30)) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def coded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def with_exif(jpeg: bytes, *tags: tuple[int, int, int, bytes]) -> bytes:
    """Put tags (number, type, count, four bytes) into a JPEG, whatever sense they make."""
    entries = b"".join(struct.pack("<HHI", *tag[:3]) + tag[3] for tag in tags)
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


def write_tiff(path: Path, bands: NDArray[Any], **more: Any) -> Path:
    profile = {"driver": "GTiff", "count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
    with rasterio.open(path, "w", **profile, dtype=bands.dtype, **more) as file:
        file.write(bands)
    return path


@pytest.fixture
def rgb() -> NDArray[np.uint8]:
    return np.moveaxis(np.asarray(picture(3)), -1, 0)


TURNED = (274, 3, 1, struct.pack("<HH", 6, 0))
ODD_TAGS = {
    "a number as text": (296, 2, 2, b"2\0\0\0"),
    "text as a number": (271, 3, 1, struct.pack("<HH", 9, 0)),
    "a type that is none": (305, 99, 1, bytes(4)),
    "values beyond the file": (270, 2, 10**6, struct.pack("<I", 10**6)),
    "a fraction without room": (282, 5, 1, struct.pack("<I", 10**6)),
    "a directory that leads nowhere": (0x8769, 4, 1, struct.pack("<I", 60_000)),
}


@pytest.mark.parametrize("odd", ODD_TAGS)
def test_an_odd_tag_costs_no_pixels(odd: str) -> None:
    jpeg = coded(picture(), "JPEG", quality=95)
    tagged = with_exif(jpeg, *sorted([TURNED, ODD_TAGS[odd]]))
    assert np.array_equal(read_rgb(tagged), np.rot90(np.asarray(Image.open(io.BytesIO(jpeg))), -1))
    assert open_grey(tagged).size == (30, 40)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_upright_is_what_pillow_makes_of_it(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    data = coded(picture(), form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data)).convert("RGB"))
    if form == "TIFF":  # which Pillow turns itself as it reads
        expected = Image.open(io.BytesIO(data)).convert("RGB")
    assert np.array_equal(read_rgb(data), np.asarray(expected))


@pytest.mark.parametrize("error", [RuntimeError("codec"), struct.error("unpack"), KeyError("tile"), MemoryError()])
def test_a_decoders_own_exception_is_a_reason(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Image.Image) -> None:
        raise error

    data = coded(picture(), "PNG")
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(ImageError) as caught:
        read_rgb(data)
    assert caught.value.reason in ("cannot be decoded", "truncated")


def test_damage_of_any_kind_is_a_reason() -> None:
    random = np.random.default_rng(0)
    for known in FORMATS:
        whole = coded(picture(), known.name)
        for _ in range(40):
            data = bytearray(whole)
            for at in random.integers(0, len(data), 4):
                data[at] = random.integers(0, 256)
            cut = bytes(data[: random.integers(1, len(data) + 1)])
            for opener in (read_rgb, open_grey):
                try:
                    opener(cut, max_pixels=10**6)
                except ImageError as error:
                    assert error.reason


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: str(known.name))
def test_every_format_of_the_table_is_known_by_its_bytes_and_read(known: Any) -> None:
    data = coded(picture(), known.name)
    assert format_of(data) is known
    assert extension_of(data) == known.extensions[0]
    assert np.abs(read_rgb(data).astype(int) - np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).mean() < 2


def test_a_big_endian_tiff_is_a_tiff() -> None:
    pixels = np.asarray(picture())
    tags = [(256, 4, 1, 40), (257, 4, 1, 30), (258, 3, 3, 134), (259, 3, 1, 1 << 16), (262, 3, 1, 2 << 16),
            (273, 4, 1, 140), (277, 3, 1, 3 << 16), (278, 4, 1, 30), (279, 4, 1, pixels.nbytes)]  # fmt: skip
    directory = b"".join(struct.pack(">HHII", *tag) for tag in tags)
    head = struct.pack(">2sHIH", b"MM", 42, 8, len(tags)) + directory + bytes(4)
    data = head.ljust(134, b"\0") + struct.pack(">HHH", 8, 8, 8) + pixels.tobytes()
    assert np.array_equal(read_rgb(data), pixels)
    assert extension_of(data) == "tif"


def test_another_format_is_called_by_its_name() -> None:
    with pytest.raises(ImageError, match=r"format not supported \(TGA\): convert to JPEG or PNG"):
        read_rgb(coded(picture(), "TGA"))
    assert format_of(coded(picture(), "TGA")) is None


def test_near_infrared_is_no_opacity(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    near = np.full((1, *rgb.shape[1:]), 20, np.uint8)
    near[:, :, :20] = 220
    near[:, :5] = 0
    path = write_tiff(tmp_path / "a.tif", np.concatenate([rgb, near]))
    assert np.array_equal(read_rgb(path), np.moveaxis(rgb, 0, -1))
    with open_large_image(path) as large:
        assert np.array_equal(large.read((0, 30, 0, 40)), np.moveaxis(rgb, 0, -1))


def test_what_is_clear_or_no_data_is_white_in_both_readers(tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    mask = np.full((1, *rgb.shape[1:]), 255, np.uint8)
    mask[:, :10] = 0
    wanted = np.moveaxis(rgb.copy(), 0, -1)
    wanted[:10] = 255
    files = [write_tiff(tmp_path / "alpha.tif", np.concatenate([rgb, mask]))]
    held = np.where(mask > 0, np.maximum(rgb, 1), 0).astype(np.uint8)
    files.append(write_tiff(tmp_path / "nodata.tif", held, nodata=0))
    for path, expected in zip(files, (wanted, np.maximum(wanted, 1)), strict=True):
        assert np.array_equal(read_rgb(path), expected)
        with open_large_image(path) as large:
            assert np.array_equal(large.read((0, 30, 0, 40)), expected)


def test_only_a_mask_is_opacity() -> None:
    assert is_opacity(np.array([0, 255, 255], np.uint8))
    assert not is_opacity(np.array([0, 0], np.uint8))
    assert not is_opacity(np.array([0, 254, 255], np.uint8))


@pytest.mark.parametrize(
    ("bands", "held"),
    [
        (lambda rgb: np.concatenate([*[rgb] * 4, rgb[:1]]), r"13 x 8 bit"),
        (lambda rgb: rgb.astype(np.uint16) * 12, r"3 x 16 bit"),
        (lambda rgb: (rgb[:1] / 800).astype(np.float32), r"float"),
        (lambda rgb: (rgb / 800).astype(np.float32), r"3 x 32 bit float"),
        (lambda rgb: (rgb[:1] / 800).astype(np.float64), r"float"),
        (lambda rgb: rgb[:1].astype(np.int8), r"8 bit signed"),
        (lambda rgb: rgb[:1].astype(np.int32) * 1000, r"values from \d+ to \d{5,}"),
        (lambda rgb: -rgb[:1].astype(np.int32) - 1, r"values from -\d+ to -1"),
    ],
)
def test_stacks_are_called_what_they_are(bands: Any, held: str, tmp_path: Path, rgb: NDArray[np.uint8]) -> None:
    path = write_tiff(tmp_path / "a.tif", bands(rgb))
    with pytest.raises(ImageError, match=rf"bands or bit depth not supported \(.*{held}\): convert to 8-bit RGB"):
        read_rgb(path)
    half = path.read_bytes()[: path.stat().st_size // 2]
    with pytest.raises(ImageError, match="truncated"):
        open_image(half)


def test_a_name_that_no_file_can_have_is_missing() -> None:
    for name in ("a\0b.jpg", "a" * 400):
        with pytest.raises(ImageError):
            read_rgb(Path(name))


def test_no_other_place_opens_images_by_itself() -> None:
    source = Path(images.__file__).parents[1]
    # A user's own files may be deeper than 8 bits, or of a format that no area holds: they are read to be scaled.
    own = {"acquisition/own/imagery/pictures.py", "acquisition/own/imagery/pixels.py"}
    # What `generate` wrote is asked for the marks in its metadata alone.
    allowed = {"area/images.py", "ground/fetching/images.py", "generation/pictures.py"} | own
    found = {str(file.relative_to(source)) for file in source.rglob("*.py") if "Image.open(" in file.read_text()}
    assert found <= allowed
