"""Rasters as imagery: windows equal rasterio's, local or by ranges of bytes; scenes laid over one another by cloud."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from made_rasters import AROUND, bounds_of_regions, grid_of_tile, write_catalogue, write_cog
from made_sources import COLUMNS, NORTH, ROWS, WEST, ZOOM
from rasterio.enums import Resampling
from rasterio.transform import from_bounds
from rasterio.vrt import WarpedVRT
from stac_server import stac_api

from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.stage import Outcome
from range_server import range_server

Add = Callable[..., Outcome]
UTM = "EPSG:32632"
TILES = COLUMNS * ROWS


def grown(bounds: tuple[float, ...], by: float = AROUND) -> tuple[float, float, float, float]:
    west, south, east, north = bounds
    return west - by, south - by, east + by, north + by


def reference(path: Path, zoom: int, x: int, y: int) -> Any:
    """Return a tile of a raster as rasterio's WarpedVRT has it, built at the tile's own grid."""
    grid = from_bounds(*grid_of_tile(zoom, x, y), 256, 256)
    with (
        rasterio.open(path) as raster,
        WarpedVRT(
            raster, crs="EPSG:3857", transform=grid, width=256, height=256, resampling=Resampling.bilinear
        ) as vrt,
    ):
        return np.moveaxis(vrt.read([1, 2, 3]), 0, 2)


def coverage(area: Path) -> gpd.GeoDataFrame:
    (path,) = (area / "coverage").glob("*.parquet")
    return gpd.read_parquet(path).set_index("image_id")


def test_tiles_of_a_file_equal_rasterios_warp(add: Add, area: Path, tmp_path: Path) -> None:
    path = write_cog(tmp_path / "city.tif", UTM, grown(bounds_of_regions(UTM)))
    add("imagery", f"cog:{path}", zoom=ZOOM)
    held = Area.open(area)
    assert len(held.images) == TILES and check_area(held) == []
    for row in held.images.itertuples():
        assert (held.read_image(row.uri) == reference(path, row.zoom, row.x, row.y)).all()
    assert (coverage(area)["nodata"] == 0).all()


def test_tiles_by_ranges_equal_those_of_the_file(add: Add, area: Path, tmp_path: Path) -> None:
    path = write_cog(tmp_path / "web" / "city.tif", UTM, grown(bounds_of_regions(UTM), 3000.0))
    with range_server(path.parent, busy=2) as server:
        add("imagery", f"cog:{server.base}/city.tif", zoom=ZOOM)
    held = Area.open(area)
    assert len(held.images) == TILES
    for row in held.images.itertuples():
        difference = held.read_image(row.uri).astype(int) - reference(path, row.zoom, row.x, row.y)
        assert (difference == 0).mean() > 0.999 and np.abs(difference).max() <= 2
    assert server.sent / TILES < path.stat().st_size / 10
    assert held.images["url"].eq(f"{server.base}/city.tif").all()


def test_a_coarse_window_reads_an_overview(add: Add, area: Path, tmp_path: Path) -> None:
    path = write_cog(tmp_path / "web" / "city.tif", UTM, grown(bounds_of_regions(UTM), 3000.0))
    with range_server(path.parent) as server:
        add("imagery", f"cog:{server.base}/city.tif", resolution_m=40, by="region", resampling="nearest")
    images = Area.open(area).images
    assert set(images["image_id"]) == {"region-west", "region-east"} and server.sent < path.stat().st_size / 10
    west, south, east, north = Area.open(area).regions.to_crs(UTM).total_bounds
    height, width, _ = Area.open(area).read_image(images["uri"].iloc[0]).shape
    assert (height, width) == pytest.approx(((north - south) / 40, (east - west) / 80), abs=2)


def test_a_region_is_cut_out_of_rasters(add: Add, area: Path, tmp_path: Path) -> None:
    path = write_cog(tmp_path / "city.tif", UTM, grown(bounds_of_regions(UTM)), colour=90)
    add("imagery", f"cog:{path}", resolution_m=10, by="mask")
    held = Area.open(area)
    shapes = held.regions.set_index("region_id").to_crs(UTM).geometry
    for row in held.images.itertuples():
        pixels = held.read_image(row.uri)
        shown = (pixels == 90).all(axis=2)
        assert ((pixels == 0).all(axis=2) | shown).all() and not shown[0, 0]
        assert shown.sum() * 100 == pytest.approx(shapes[row.region_id].area, rel=0.01)


def test_a_server_without_ranges_is_said(add: Add, area: Path, tmp_path: Path) -> None:
    path = write_cog(tmp_path / "web" / "city.tif", UTM, grown(bounds_of_regions(UTM)))
    with range_server(path.parent, ranges=False) as server, pytest.raises(InputError, match="no ranges of bytes"):
        add("imagery", f"cog:{server.base}/city.tif", zoom=ZOOM)
    with range_server(path.parent) as server, pytest.raises(InputError, match="HTTP 404"):
        add("imagery", f"cog:{server.base}/other.tif", zoom=ZOOM)


def test_squares_of_a_resolution_in_the_rasters_own_system(add: Add, area: Path, tmp_path: Path) -> None:
    west, south, east, north = bounds_of_regions(UTM)
    bounds = tuple(np.round(np.array(grown((west, south, east, north))) / 640) * 640)
    path = write_cog(tmp_path / "city.tif", UTM, bounds)
    add("imagery", f"cog:{path}", resolution_m=5, pixels=64, resampling="nearest", repeated="keep")
    held = Area.open(area)
    assert len(held.images) > 10 and not held.images["x"].notna().any()
    with rasterio.open(path) as raster:
        for name, uri in zip(held.images["image_id"], held.images["uri"], strict=True):
            row, column = (int(part) for part in name.removeprefix("r").split("c"))
            west, south = column * 320.0, row * 320.0
            window = raster.window(west, south, west + 320, south + 320)
            assert (held.read_image(uri) == np.moveaxis(raster.read(window=window), 0, 2)).all()


def test_no_data_is_counted_and_partly_covered_windows_say_so(add: Add, area: Path, tmp_path: Path) -> None:
    west, south, east, north = bounds_of_regions(UTM)
    write_cog(tmp_path / "half.tif", UTM, (west, south, (west + east) / 2, north), nodata=0, hole=True)
    outcome = add("imagery", f"cog:{tmp_path / 'half.tif'}", zoom=ZOOM)
    found = coverage(area)
    assert outcome.manifest["dropped"] == {"picture missing: no data": int(found["reason"].eq("no data").sum())}
    shares = found.loc[found["status"] == "held", "nodata"]
    assert (shares > 0).any() and (shares < 1).all()
    assert outcome.manifest["facts"]["mean share without data"] == pytest.approx(shares.mean(), abs=1e-4)


def test_deep_rasters_want_a_scaling(add: Add, area: Path, tmp_path: Path) -> None:
    path = write_cog(tmp_path / "deep.tif", UTM, grown(bounds_of_regions(UTM)), deep=True, colour=100)
    with pytest.raises(InputError, match=r"uint16.*--scale"):
        add("imagery", f"cog:{path}", zoom=ZOOM)
    add("imagery", f"cog:{path}", zoom=ZOOM, scale="1000:6100")
    held = Area.open(area)
    assert (held.read_image(held.images["uri"].iloc[0]) == 100).all()


def test_rasters_of_two_zones_are_laid_over_one_another(add: Add, area: Path, tmp_path: Path) -> None:
    west, south, east, north = bounds_of_regions(UTM)
    write_cog(tmp_path / "r" / "a.tif", UTM, (west - AROUND, south, (west + east) / 2, north), colour=50)
    write_cog(tmp_path / "r" / "b.tif", "EPSG:32633", grown(bounds_of_regions("EPSG:32633")), colour=200)
    add("imagery", f"cog:{tmp_path / 'r'}", zoom=ZOOM)
    held = Area.open(area)
    shades = held.images.set_index("image_id")["uri"].map(lambda uri: int(np.median(held.read_image(uri))))
    assert shades[f"{ZOOM}_{WEST}_{NORTH + 1}"] == 50 and shades[f"{ZOOM}_{WEST + 5}_{NORTH + 1}"] == 200
    assert (coverage(area)["nodata"] == 0).all()


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    """Two scenes in two UTM zones, the clearer one cloudy in its north-west; a third of too much cloud."""
    folder, made = tmp_path / "stac", {}
    for name, crs, colour, cloud, date in (
        ("clear", UTM, 60, 10, "2024-06-01"),
        ("hazy", "EPSG:32633", 120, 30, "2024-07-01"),
        ("white", UTM, 250, 90, "2024-06-15"),
    ):
        bounds = grown(bounds_of_regions(crs))
        write_cog(folder / "sentinel" / name / "visual.tif", crs, bounds, colour=colour)
        write_cog(folder / "sentinel" / name / "scl.tif", crs, bounds, colour=4, bands=1)
        made[name] = {"assets": {"visual": "visual.tif", "scl": "scl.tif"}, "cloud": cloud, "date": date}
    write_cog(
        folder / "sentinel" / "clear" / "scl.tif",
        UTM,
        grown(bounds_of_regions(UTM)),
        colour=4,
        bands=1,
        nodata=9,
        hole=True,
    )
    with rasterio.open(folder / "sentinel" / "clear" / "scl.tif", "r+", IGNORE_COG_LAYOUT_BREAK="YES") as raster:
        raster.nodata = None
    return write_catalogue(folder, made)


def test_the_clearest_scene_is_on_top(add: Add, area: Path, catalogue: Path) -> None:
    add("imagery", f"stac:{catalogue}", zoom=ZOOM, collection="sentinel")
    held = Area.open(area)
    assert len(held.images) == TILES
    assert all((held.read_image(uri) == 60).all() for uri in held.images["uri"])
    assert set(held.images["captured"].str[:10]) == {"2024-06-01"} and set(held.images["url"]) == {"clear"}
    assert np.allclose(coverage(area)["cloud"], 0.1)
    assert held.images["source"].eq("Made sentinel").all()


def test_a_mask_lets_the_next_scene_through(add: Add, area: Path, catalogue: Path) -> None:
    with range_server(catalogue.parent) as server:
        add("imagery", f"stac:{server.base}/catalog.json", zoom=ZOOM, mask="scl:3,8,9,10")
    held = Area.open(area)
    shades = held.images.set_index("image_id")["uri"].map(lambda uri: int(np.median(held.read_image(uri))))
    assert shades[f"{ZOOM}_{WEST}_{NORTH}"] == 120 and shades[f"{ZOOM}_{WEST + 5}_{NORTH + 3}"] == 60
    assert np.allclose(coverage(area)["cloud"], 0)
    add("imagery", f"stac:{catalogue}", zoom=ZOOM, mask="scl:9", dates="2024-06-01/2024-06-30", replace=True)
    found = gpd.read_parquet(max((area / "coverage").glob("*.parquet"), key=lambda path: path.stat().st_mtime))
    # Where no other scene is clear, the cloudy one is shown and its share told.
    assert found["cloud"].max() == 1 and found["cloud"].min() == 0


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_search_of_an_api_goes_through_its_pages(add: Add, area: Path, catalogue: Path, method: str) -> None:
    """An item a page: GET with tokens in the address, or POST with `merge`, as stac-server and pgstac do."""
    with range_server(catalogue.parent) as files, stac_api(catalogue.parent, files.base, method) as api:
        add("imagery", f"stac:{api.base}", zoom=ZOOM, collection="sentinel", dates="2024-06-01/2024-07-31")
    held = Area.open(area)
    assert len(held.images) == TILES
    assert all((held.read_image(uri) == 60).all() for uri in held.images["uri"])
    assert held.sources[0].licence == "CC-BY-4.0"
    assert [one["token"] for one in api.asked] == [0, 1, 2]
    west, _, _, north = held.regions.total_bounds
    for one in api.asked:  # what was asked for first stands on every page
        assert one["collections"] == ["sentinel"]
        assert one["datetime"] == "2024-06-01T00:00:00Z/2024-07-31T23:59:59Z"
        assert one["bbox"][0] <= west and one["bbox"][3] >= north and one["method"] == method


def test_a_search_that_goes_on_elsewhere_is_not_followed(add: Add, catalogue: Path) -> None:
    with (
        range_server(catalogue.parent) as files,
        stac_api(catalogue.parent, files.base, "GET", elsewhere="http://127.0.0.9:1") as api,
        pytest.raises(InputError, match="goes on at another host"),
    ):
        add("imagery", f"stac:{api.base}", zoom=ZOOM, collection="sentinel")


def test_what_stac_has_not_is_said(add: Add, catalogue: Path) -> None:
    with pytest.raises(InputError, match=r"3 of other dates.*--dates"):
        add("imagery", f"stac:{catalogue}", zoom=ZOOM, dates="2020-01-01/2020-12-31")
    with pytest.raises(InputError, match="no scene"):
        add("imagery", f"stac:{catalogue}", zoom=ZOOM, most_cloud=5)
    with pytest.raises(UnknownNameError, match="visual"):
        add("imagery", f"stac:{catalogue}", zoom=ZOOM, assets="visua")
