"""Reading by windows: GeoTIFF of several kinds, other images, and files that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer

from chorograph.area.images import read_rgb
from chorograph.ground.errors import InputError
from chorograph.searching import large_image
from chorograph.searching.large_image import open_large_image

PLACE = {"crs": "EPSG:32633", "transform": rasterio.Affine(2, 0, 400_000, 0, -2, 5_800_000)}


def write(path: Path, bands: NDArray[Any], **more: Any) -> Path:
    count, height, width = bands.shape
    profile = {"driver": "GTiff", "count": count, "height": height, "width": width, "dtype": bands.dtype}
    with rasterio.open(path, "w", **profile, **{**PLACE, **more}) as dataset:
        dataset.write(bands)
    return path


@pytest.fixture
def bands() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 120, 200), dtype=np.uint8)


def test_windows_of_a_geotiff(tmp_path: Path, bands: NDArray[np.uint8]) -> None:
    path = write(tmp_path / "a.tif", bands, compress="deflate")
    with open_large_image(path) as image:
        assert image.shape == (120, 200)
        assert np.array_equal(image.read((10, 50, 20, 90)), np.moveaxis(bands, 0, -1)[10:50, 20:90])
        assert image.small(100).shape == (60, 100, 3)
        assert image.position is not None
        found = image.position.lonlat(np.array([[0.0, 0.0], [200.0, 120.0]]))
    corners = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    expected = [corners.transform(400_000, 5_800_000), corners.transform(400_400, 5_799_760)]
    assert found == pytest.approx(np.array(expected))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_tiff_without_position(tmp_path: Path, bands: NDArray[np.uint8]) -> None:
    path = write(tmp_path / "a.tif", bands, crs=None, transform=None)
    with open_large_image(path) as image:
        assert image.position is None


def test_parts_without_data(tmp_path: Path, bands: NDArray[np.uint8]) -> None:
    bands[:, :, :100] = 0
    bands[:, :, 100:] |= 1
    with open_large_image(write(tmp_path / "a.tif", bands, nodata=0)) as image:
        assert image.read((0, 50, 0, 100)) is None
        half = image.read((0, 50, 50, 150))
    assert half is not None
    assert (half[:, :50] == 255).all()
    assert np.array_equal(half[:, 50:], np.moveaxis(bands, 0, -1)[:50, 100:150])


@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_other_values_are_stretched(tmp_path: Path, dtype: str) -> None:
    ramp = np.tile(np.linspace(0, 3000, 200), (1, 120, 1)).astype(dtype)
    with open_large_image(write(tmp_path / "a.tif", ramp)) as image:
        pixels = image.read((0, 120, 0, 200))
    assert pixels is not None
    assert pixels.shape == (120, 200, 3)
    assert (pixels[0, 0, 0], pixels[0, -1, 0]) == (0, 255)
    assert pixels[0, 100, 1] == pytest.approx(128, abs=2)


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.tile(np.array([0, 1], np.uint8), (1, 4, 5)), photometric="palette")
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {0: (255, 0, 0, 255), 1: (0, 0, 255, 255)})
    with open_large_image(path) as image:
        pixels = image.read((0, 1, 0, 2))
    assert pixels is not None
    assert pixels.tolist() == [[[255, 0, 0], [0, 0, 255]]]


def test_another_image_is_decoded(png: Path, picture: NDArray[np.uint8]) -> None:
    with open_large_image(png) as image:
        assert image.position is None
        assert np.array_equal(image.read((5, 700, 30, 900)), picture[5:700, 30:900])
        assert max(image.small(65).shape) == 65


def test_files_that_cannot_be_read(tmp_path: Path, bands: NDArray[np.uint8]) -> None:
    whole = write(tmp_path / "whole.tif", bands).read_bytes()
    text = b"not an image at all"
    cases = {
        "cut.tif": whole[: len(whole) // 2],
        "head.tif": whole[:100],
        "text.tif": text,
        "text.png": text,
        "e.jpg": b"",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=name), open_large_image(tmp_path / name) as image:
            image.read((0, 120, 0, 200))
    with pytest.raises(InputError, match="does not exist"), open_large_image(tmp_path / "none.tif"):
        pass
    with pytest.raises(InputError, match="no file"), open_large_image(tmp_path):
        pass


def test_a_tiff_too_large_is_refused_before_it_is_read(
    tmp_path: Path, bands: NDArray[np.uint8], png: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_image, "MAX_PIXELS", 20_000)
    monkeypatch.setattr(large_image, "MAX_DECODED_PIXELS", 20_000)
    with pytest.raises(InputError, match="cut it in parts"), open_large_image(write(tmp_path / "a.tif", bands)):
        pass
    with pytest.raises(InputError, match="GeoTIFF"), open_large_image(png):
        pass


def test_a_tiff_opens_no_other_file(tmp_path: Path, bands: NDArray[np.uint8]) -> None:
    write(tmp_path / "a.tif", bands)
    (tmp_path / "a.vrt").write_text(
        '<VRTDataset rasterXSize="9" rasterYSize="9"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>'
        "<SourceFilename>a.tif</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(InputError, match=r"a\.vrt"), open_large_image(tmp_path / "a.vrt"):
        pass


def test_where_white_is_zero_both_readers_agree(tmp_path: Path, bands: NDArray[np.uint8]) -> None:
    path = write(tmp_path / "scan.tif", bands[:1], photometric="miniswhite")
    with open_large_image(path) as image:
        pixels = image.read((0, image.shape[0], 0, image.shape[1]))
    assert pixels is not None
    np.testing.assert_array_equal(pixels[..., 0], 255 - bands[0])
    np.testing.assert_array_equal(pixels, read_rgb(path))
