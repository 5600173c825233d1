"""Judging images: decoded to grey where that is enough, with the same answers as the library's own reading."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bad_server import small_image
from chorograph.area.images import hashes_of_reduced, open_grey, perceptual_hash, read_rgb, reduced
from chorograph.curation.packs import PackWriter
from chorograph.curation.rows import Context
from chorograph.curation.steps.validity import ValidImages, inspect_image, orientations
from chorograph.ground.errors import ImageError
from synthetic_web import draw_aerial


def coded(image: Image.Image, form: str = "JPEG", **settings: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **settings)
    return file.getvalue()


def hashed(data: bytes) -> np.uint64:
    return np.uint64(hashes_of_reduced(inspect_image(data).small[None])[0])


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(0)
    return [draw_aerial(generator).resize((201, 150)) for _ in range(20)]


def test_a_hash_of_grey_is_that_of_colour_but_for_rounding(pictures: list[Image.Image]) -> None:
    for picture in pictures:
        data = coded(picture)
        assert open_grey(data, max_pixels=10**6).mode == "L"
        bits = np.bitwise_count(hashed(data) ^ perceptual_hash(read_rgb(data)))
        assert bits <= 2


def test_turning_an_image_turns_its_hashes(pictures: list[Image.Image]) -> None:
    for picture in pictures:
        pixels = np.asarray(picture)
        wanted = [np.rot90(side, turns) for side in (pixels, pixels[:, ::-1]) for turns in range(4)]
        hashes = [perceptual_hash(np.ascontiguousarray(view)) for view in wanted]
        assert np.bitwise_count(orientations(reduced(picture)[None])[0] ^ np.array(hashes)).max() <= 2


def test_unusual_images_go_through_the_library_s_own_reading(pictures: list[Image.Image]) -> None:
    picture = pictures[0]
    exif = Image.Exif()
    exif[274] = 6
    turned = inspect_image(coded(picture, exif=exif))
    assert (turned.width, turned.height) == (150, 201)
    for data in (coded(picture.convert("CMYK")), coded(picture, "PNG"), coded(picture.convert("RGBA"), "PNG")):
        found = inspect_image(data)
        assert (found.width, found.height) == (201, 150)
        assert np.bitwise_count(hashed(data) ^ hashed(coded(picture))) <= 6


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: b"", "empty"),
        (lambda data: data[:-500], "truncated"),
        (lambda data: data[:60], "truncated"),
        (lambda data: b"<html>" + data, "not an image"),
    ],
)
def test_what_does_not_decode_has_a_reason(spoil: Callable[[bytes], bytes], reason: str) -> None:
    with pytest.raises(ImageError) as error:
        inspect_image(spoil(small_image(1)))
    assert error.value.reason == reason
    with pytest.raises(ImageError, match="too large"):
        inspect_image(small_image(1), max_pixels=100)


def test_small_images_and_strips_leave(tmp_path: Path) -> None:
    sizes = [(96, 96), (20, 96), (900, 64), (64, 900)]
    rows = []
    with PackWriter(tmp_path) as writer:
        for key, size in enumerate(sizes):
            record = writer.add(key, {}, coded(Image.new("RGB", size, (90, 120, 60))))
            rows.append({"key": key, "pack": record.pack, "offset": record.offset, "length": record.length})
    drops = ValidImages(min_side=32, max_aspect=10).apply(rows, Context(str(tmp_path)))
    assert [drop and (drop.reason, drop.score) for drop in drops] == [
        None, ("image too small", 20), ("image is a strip", 900 / 64), ("image is a strip", 900 / 64),
    ]  # fmt: skip
    assert rows[0]["phash"] == 0  # without contrast
