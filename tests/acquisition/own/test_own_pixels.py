"""Pictures that are more than eight bits of red, green and blue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from own_made import IDS, LAT, LON
from PIL import Image

from chorograph.acquisition.own.imagery.pixels import depth_of
from chorograph.acquisition.own.own_settings import OwnFiles
from chorograph.area.folder import Area
from chorograph.ground.errors import ImageError, InputError
from chorograph.ground.stage import Ledger

rasterio = pytest.importorskip("rasterio")
Build = Callable[..., tuple[Area, Ledger]]
RAMP = np.linspace(0.0, 1.0, 64).reshape(8, 8)


def _write(path: Path, bands: np.ndarray, driver: str = "GTiff", **others: object) -> None:
    height, width = bands.shape[-2:]
    with rasterio.open(
        path, "w", driver=driver, height=height, width=width, count=len(bands), dtype=bands.dtype, **others
    ) as file:
        file.write(bands)


@pytest.fixture
def tiles(files: OwnFiles) -> Callable[[np.ndarray], None]:
    """Return a function that makes all four tiles GeoTIFFs of these bands, a little brighter each."""

    def make(bands: np.ndarray, suffix: str = ".tif", **others: object) -> None:
        for path in files.tiles.iterdir():
            path.unlink()
        for k in range(4):
            _write(files.tiles / f"t{k}{suffix}", (bands * (1 + 0.01 * k)).astype(bands.dtype), **others)

    return make


@pytest.mark.parametrize(
    ("bands", "told"),
    [
        (RAMP[None].astype(np.float32), "1 band of 32-bit floating-point numbers"),
        (np.stack([RAMP] * 3).astype(np.float64), "3 bands of 64-bit floating-point numbers"),
        ((np.stack([RAMP] * 3) * 4000).astype(np.uint16), "3 bands of 16-bit whole numbers"),
        ((np.stack([RAMP] * 6) * 4000).astype(np.int16), "6 bands of 16-bit whole numbers with a sign"),
        ((RAMP[None] * 4000).astype(np.uint16), "1 band of 16-bit whole numbers"),
    ],
)
def test_deep_pictures_need_a_scale_and_keep_the_picture(
    build: Build, tiles: Callable[..., None], bands: np.ndarray, told: str
) -> None:
    tiles(bands)
    with pytest.raises(InputError, match=rf"t0\.tif: {told} \(4 such pictures\).*--scale"):
        build()
    top = float(bands.max())
    area, _ = build(scale=f"0:{top}")
    assert area.images["region_id"].tolist() == IDS
    pixels = area.read_image(area.images["uri"].iloc[0])
    assert pixels.dtype == np.uint8
    expected = np.rint(bands[0].astype(float) / top * 255)
    assert np.abs(pixels[..., 0] - expected).max() <= 1


def test_one_scale_for_all_by_itself(build: Build, tiles: Callable[..., None]) -> None:
    tiles(RAMP[None].astype(np.float32))
    area, ledger = build(scale="auto")
    assert any("are shown as black to white (--scale auto)" in warning for warning in ledger.warnings)
    first, last = (area.read_image(area.images["uri"].iloc[k]).astype(int) for k in (0, 3))
    assert (last - first).mean() > 1  # what is brighter stays brighter


@pytest.mark.parametrize("scale", ["1", "2:1", "a:b", "0:inf", ":"])
def test_a_scale_that_is_none(build: Build, tiles: Callable[..., None], scale: str) -> None:
    tiles(RAMP[None].astype(np.float32))
    with pytest.raises(InputError, match="--scale is LOW:HIGH"):
        build(scale=scale)


def test_bands_are_chosen(build: Build, tiles: Callable[..., None]) -> None:
    bands = np.stack([RAMP * level for level in (50, 100, 150, 250)]).astype(np.uint8)
    tiles(bands, photometric="MINISBLACK", alpha="NO")
    area, ledger = build()
    assert any("the first three were taken as red, green and blue" in warning for warning in ledger.warnings)
    pixels = area.read_image(area.images["uri"].iloc[0])
    assert pixels[-1, -1].tolist() == [50, 100, 150]  # near infrared is no opacity
    assert depth_of(Path(area.path / area.images["uri"].iloc[0])) is None


def test_bands_may_be_of_any_order(build: Build, tiles: Callable[..., None]) -> None:
    bands = np.stack([RAMP * level for level in (50, 100, 150, 250)]).astype(np.uint8)
    tiles(bands, photometric="MINISBLACK", alpha="NO")
    with pytest.raises(InputError, match="--bands is one or three numbers"):
        build(bands="4,x")
    area, _ = build(bands="4,3,2")
    assert area.read_image(area.images["uri"].iloc[0])[-1, -1].tolist() == [250, 150, 100]


def test_bands_of_plain_pictures_may_be_of_any_order(build: Build, tiles: Callable[..., None], files: OwnFiles) -> None:
    tiles((np.stack([RAMP, RAMP * 0, RAMP * 0]) * 200).astype(np.uint8))
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[..., 0] = 200
    Image.fromarray(pixels).save(files.tiles / "t0.png")
    (files.tiles / "t0.tif").unlink()
    area, _ = build(bands="3,2,1")
    first, second = (area.read_image(uri) for uri in area.images["uri"].iloc[:2])
    assert first[0, 0].tolist() == [0, 0, 200]
    assert second[-1, -1].tolist() == [0, 0, 202]


def test_colours_of_sixteen_bits_need_a_scale(build: Build, tiles: Callable[..., None]) -> None:
    tiles((np.stack([RAMP] * 3) * 4000).astype(np.uint16), ".png", driver="PNG")
    with pytest.raises(InputError, match=r"t0\.png: 3 bands of 16-bit whole numbers.*--scale"):
        build()
    area, _ = build(scale="0:4000")
    assert area.read_image(area.images["uri"].iloc[0])[-1, -1].tolist() == [255, 255, 255]


def test_two_bands_are_told(build: Build, tiles: Callable[..., None]) -> None:
    tiles((np.stack([RAMP, RAMP * 0]) * 200).astype(np.uint8))
    area, ledger = build()
    assert any("hold 2 bands of 8-bit whole numbers: the first was taken as grey" in w for w in ledger.warnings)
    assert area.read_image(area.images["uri"].iloc[0])[-1, -1].tolist() == [200, 200, 200]


def test_compressions_that_pillow_has_not(build: Build, tiles: Callable[..., None]) -> None:
    tiles((np.stack([RAMP] * 3) * 200).astype(np.uint8), compress="lerc")
    area, _ = build()
    assert area.read_image(area.images["uri"].iloc[0])[-1, -1].tolist() == [200, 200, 200]


def test_a_band_that_is_not_there(build: Build, tiles: Callable[..., None]) -> None:
    tiles(np.stack([RAMP] * 4).astype(np.float32))
    with pytest.raises((InputError, ImageError), match=r"t0\.tif.*band 9 is asked for, and it has 4"):
        build(bands="9", scale="0:1")


def test_what_is_no_data_is_black(build: Build, tiles: Callable[..., None]) -> None:
    bands = np.stack([RAMP] * 3).astype(np.float32)
    bands[:, 7, 7] = -9999
    tiles(bands, nodata=-9999)
    area, _ = build(scale="0:1")
    pixels = area.read_image(area.images["uri"].iloc[0])
    assert pixels[7, 7].tolist() == [0, 0, 0]
    assert pixels[7, 6].tolist() == [251, 251, 251]


@pytest.mark.parametrize(
    "suffix", [".png", ".webp", ".bmp", ".gif", ".jp2", ".ppm", ".JPG", ".jfif", ".tga", ".tif", ""]
)
def test_any_suffix_is_read_and_can_be_read_back(build: Build, files: OwnFiles, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    kinds = {".JPG": "JPEG", ".jfif": "JPEG", "": "PNG", ".jp2": "JPEG2000", ".tif": "TIFF"}
    for k in range(4):
        (files.tiles / f"t{k}.jpg").unlink()
        name = kinds.get(suffix, suffix[1:].upper())
        Image.fromarray(np.roll(pixels, k, 0)).save(files.tiles / f"t{k}{suffix}", name)
    area, ledger = build()
    assert ledger.dropped == {}
    assert len(area.images) == 4
    read = area.read_image(area.images["uri"].iloc[0])
    assert read.shape == (16, 16, 3)


def test_georeferences_inside_say_the_place(build: Build, files: OwnFiles) -> None:
    from rasterio.transform import from_bounds

    for k in range(4):
        (files.tiles / f"t{k}.jpg").unlink()
        x, y = LON[k], LAT
        _write(
            files.tiles / f"scene_{k}.tif", np.full((3, 8, 8), 40 * k + RAMP * 30).astype(np.uint8),
            crs="EPSG:4326", transform=from_bounds(x - 0.1, y - 0.1, x + 0.1, y + 0.1, 8, 8),
        )  # fmt: skip
    area, _ = build(tiles_table=None)
    assert area.images["region_id"].tolist() == IDS
    assert area.images["lon"].tolist() == pytest.approx(LON)


def test_world_files_need_their_reference_system(build: Build, files: OwnFiles) -> None:
    for k in range(4):
        (files.tiles / f"t{k}.jgw").write_text(f"0.01\n0\n0\n-0.01\n{LON[k] - 0.16}\n{LAT + 0.16}\n")
    with pytest.raises(InputError, match=r"t0\.jpg says where it lies, but not in which.*--imagery-crs"):
        build(tiles_table=None)
    area, _ = build(tiles_table=None, imagery_crs="EPSG:4326")
    assert area.images["region_id"].tolist() == IDS
    assert area.images["lon"].tolist() == pytest.approx(LON, abs=0.01)
