"""Tiles of a service on loopback: every one is had or named with its reason, and nothing is asked for twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from made_sources import ALLOW, COLUMNS, NORTH, ROWS, WEST, ZOOM, make_area, tables
from pyproj import Transformer

from chorograph.acquisition.sources.source import SOURCES
from chorograph.acquisition.sources.tile_service import checked_template, open_provider, quadkey
from chorograph.acquisition.sources.windows import tile_window
from chorograph.acquisition.sources.wmts import layer_of
from chorograph.area.check import check_area
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.area.images import read_rgb
from chorograph.cli.listing import listing
from chorograph.ground.errors import InputError, SettingError, UnknownNameError
from chorograph.ground.files import sha256_bytes
from chorograph.ground.stage import Outcome
from raw_server import ok, raw_server
from tile_server import no_imagery, tile, tile_server

TILES = COLUMNS * ROWS
Add = Callable[..., Outcome]


def at(column: int, row: int) -> tuple[int, int, int]:
    return ZOOM, WEST + column, NORTH + row


def coverage(area: Path) -> gpd.GeoDataFrame:
    (path,) = (area / "coverage").glob("*.parquet")
    return gpd.read_parquet(path).set_index("image_id")


def test_every_tile_of_the_regions_as_it_was_served(add: Add, area: Path) -> None:
    with tile_server() as server:
        outcome = add(
            "imagery", f"xyz:{server.template}", zoom=ZOOM, contact="city@example.org", i_have_permission=True
        )
    grown = Area.open(area)
    assert len(grown.images) == TILES and check_area(grown) == []
    for row in grown.images.itertuples():
        data = tile(row.zoom, row.x, row.y)
        assert grown.read_encoded(row.uri) == data and row.sha256 == sha256_bytes(data)
        assert row.url == f"{server.base}/{row.zoom}/{row.x}/{row.y}.jpg"
        assert row.region_id == ("west" if row.x < WEST + 3 else "east")
    assert outcome.manifest["counts"]["pictures held"] == TILES == sum(server.asked.values())
    assert server.headers[0]["User-Agent"] == "chorograph (+city@example.org)"
    assert server.most_at_once <= 8
    assert [source.name for source in grown.sources] == ["127.0.0.3"]
    assert not list(area.rglob("*.journal*"))
    assert (coverage(area)["status"] == "held").all()


def test_done_is_done(add: Add) -> None:
    with tile_server() as server:
        first = add("imagery", f"xyz:{server.template}", zoom=ZOOM)
        again = add("imagery", f"xyz:{server.template}", zoom=ZOOM)
        assert (first.skipped, again.skipped) == (False, True)
        # Another setting that changes no tile: what is there is not fetched again.
        add("imagery", f"xyz:{server.template}", zoom=ZOOM, contact="another@example.org")
    assert set(server.asked.values()) == {1}


def test_what_fails_is_tried_again_or_named(add: Add, area: Path) -> None:
    moods = {
        at(0, 0): "drop", at(1, 0): "busy", at(2, 0): "wait", at(3, 0): "error", at(4, 0): "cut", at(0, 1): "missing",
        at(1, 1): "page", at(2, 1): "endless", at(3, 1): "slow", at(4, 1): "truncated",
    }  # fmt: skip
    with tile_server(moods) as server:
        begun = time.monotonic()
        outcome = add("imagery", f"xyz:{server.template}", zoom=ZOOM, deadline_s=6)
        assert time.monotonic() - begun >= 1  # Retry-After
    reasons = coverage(area)["reason"]
    said = {mood: reasons[tile_window(*key).name] for key, mood in moods.items()}
    assert {mood: reason for mood, reason in said.items() if isinstance(reason, str)} == {
        "missing": "HTTP 404", "page": "wrong type", "endless": "too many bytes", "slow": "time-out",
        "truncated": "cut off",
    }  # fmt: skip
    assert reasons.isna().sum() == TILES - 5 == len(Area.open(area).images)
    assert check_area(Area.open(area)) == []
    counts, dropped = outcome.manifest["counts"], outcome.manifest["dropped"]
    assert counts["pictures wanted"] == TILES and sum(dropped.values()) == 5
    (told,) = outcome.manifest["warnings"]
    assert "5 of 24 pictures are missing" in told and tile_window(*at(0, 1)).name in told


def test_the_missing_are_asked_for_again_and_no_other(add: Add, area: Path) -> None:
    moods = {at(0, 1): "missing", at(1, 1): "truncated"}
    with tile_server(moods) as server:
        address = f"xyz:{server.template}"
        add("imagery", address, zoom=ZOOM)
        assert add("imagery", address, zoom=ZOOM).skipped
        moods.clear()
        outcome = add("imagery", address, zoom=ZOOM, retry_missing=True)
    assert outcome.manifest["counts"]["pictures had already"] == TILES - 2
    assert sum(server.asked.values()) == TILES + 2
    assert len(Area.open(area).images) == TILES and not outcome.manifest["dropped"]


def test_placeholders_are_counted_and_not_held(add: Add, area: Path) -> None:
    moods = dict.fromkeys([at(0, 0), at(1, 0), at(5, 3)], "no_imagery")
    moods |= dict.fromkeys([at(2, 2), at(3, 2), at(4, 2)], "empty_sea")
    with tile_server(moods) as server:
        outcome = add("imagery", f"xyz:{server.template}", zoom=ZOOM)
    found = coverage(area)["status"]
    assert set(found.index[found == "placeholder"]) == {tile_window(*key).name for key in list(moods)[:3]}
    assert outcome.manifest["counts"]["placeholders"] == 3
    assert len(Area.open(area).images) == TILES - 3 == len(list((area / "images").iterdir()))
    assert any("of one colour" in told and "it is held" in told for told in outcome.manifest["warnings"])


def test_a_known_placeholder_is_one_where_it_stands_once(add: Add, area: Path, tmp_path: Path) -> None:
    (tmp_path / "none.jpg").write_bytes(no_imagery())
    with tile_server({at(0, 0): "no_imagery"}) as server:
        add("imagery", f"xyz:{server.template}", zoom=ZOOM, placeholder=[str(tmp_path / "none.jpg")])
    assert (coverage(area)["status"] == "placeholder").sum() == 1


def test_what_is_transparent_is_no_data(add: Add, area: Path) -> None:
    with tile_server({at(0, 0): "clear", at(1, 0): "see_through"}) as server:
        outcome = add("imagery", f"xyz:{server.template}", zoom=ZOOM)
    found = coverage(area)
    assert found.loc[tile_window(*at(0, 0)).name, "reason"] == "no data"
    assert found.loc[tile_window(*at(1, 0)).name, "nodata"] == 0.25
    assert found["nodata"].isna().sum() == TILES - 1  # of a JPEG nobody can say
    assert outcome.manifest["dropped"] == {"picture missing: no data": 1}


def shape_of(zoom: int, x: int, y: int, pixels: list[tuple[float, float]]) -> Any:
    """Return a polygon of corners in pixels from the north-west corner of a tile, by morecantile's bounds."""
    import morecantile

    edges = morecantile.tms.get("WebMercatorQuad").xy_bounds(morecantile.Tile(x, y, zoom))
    metres = (edges.right - edges.left) / 256
    corners = np.array([(edges.left + column * metres, edges.top - row * metres) for column, row in pixels])
    lon, lat = Transformer.from_crs("EPSG:3857", "EPSG:4326", always_xy=True).transform(*corners.T)
    return shapely.Polygon(np.stack([lon, lat], axis=1))


@pytest.mark.parametrize("by", ["region", "mask"])
def test_a_picture_of_each_region_is_stitched_of_tiles(add: Add, tmp_path: Path, area: Path, by: str) -> None:
    """A triangle over two tiles by two, of which one is not there."""
    corners = [(100.0, 40.0), (300.0, 40.0), (100.0, 440.0)]
    triangle = shape_of(ZOOM, WEST, NORTH, corners)
    regions = gpd.GeoDataFrame({"region_id": ["a/b"]}, geometry=[triangle], crs=4326)
    place = tmp_path / "three"
    with AreaDraft(place, "three") as draft:
        draft.write("regions", regions)
    with tile_server({at(1, 1): "missing", at(0, 1): "busy"}) as server:
        add("imagery", f"xyz:{server.template}", zoom=ZOOM, by=by, area=place)
    assert sum(server.asked.values()) == 5  # one was asked for twice
    held = Area.open(place)
    (row,) = held.images.itertuples()
    assert (row.image_id, row.region_id) == ("region-a/b", "a/b") and check_area(held) == []
    whole = np.zeros((512, 512, 3), dtype=np.uint8)
    for column, down in ((0, 0), (1, 0), (0, 1)):
        pixels = read_rgb(tile(ZOOM, WEST + column, NORTH + down))
        whole[down * 256 : down * 256 + 256, column * 256 : column * 256 + 256] = pixels
    expected = whole[40:440, 100:300]
    x, y = np.meshgrid(np.arange(100.5, 300), np.arange(40.5, 440))
    inside = (x - 100) / 200 + (y - 40) / 400 < 1
    if by == "mask":
        expected = np.where(inside[..., None], expected, 0)
    near = np.abs((x - 100) / 200 + (y - 40) / 400 - 1) < 1e-6  # on the edge itself
    picture = held.read_image(row.uri)
    assert picture.shape == expected.shape
    assert (picture == expected).all(axis=2)[~near].all()
    (path,) = (place / "coverage").glob("*.parquet")
    assert gpd.read_parquet(path)["nodata"].iloc[0] == pytest.approx((300 - 256) * (440 - 256) / (200 * 400))


def test_placeholders_can_be_kept(add: Add, area: Path) -> None:
    with tile_server(dict.fromkeys([at(0, 0), at(1, 0), at(5, 3)], "no_imagery")) as server:
        add("imagery", f"xyz:{server.template}", zoom=ZOOM, repeated="keep")
    assert len(Area.open(area).images) == TILES


def test_rows_from_the_south(add: Add, area: Path) -> None:
    with tile_server() as server:
        add("imagery", f"tms:{server.template}", zoom=ZOOM)
    for row in Area.open(area).images.itertuples():
        assert Area.open(area).read_encoded(row.uri) == tile(ZOOM, row.x, 2**ZOOM - 1 - row.y)


def test_a_service_that_refuses_is_left_alone(add: Add) -> None:
    moods = {at(x, y): "forbidden" for x in range(COLUMNS) for y in range(ROWS)}
    with tile_server(moods) as server, pytest.raises(InputError, match=r"none of 24 .* HTTP 403 \(24\).*token"):
        add("imagery", f"xyz:{server.template}", zoom=ZOOM)
    with tile_server() as server, pytest.raises(InputError, match=r"private address.*--allow 127"):
        add("imagery", f"xyz:{server.template}", zoom=ZOOM, allow=[])
    assert not server.asked


#: A run in a process of its own, without the start of the command line.
_RUN = """
import sys
from chorograph.ground.settings import configure
from chorograph.ground.stage import silent
from chorograph.verbs.area.add.imagery import VERB
asked = dict(area=sys.argv[1], from_=sys.argv[2], zoom=16, allow=sys.argv[3], pause_s=0, per_host=2)
VERB(configure(VERB.settings, asked), silent)
"""


def test_a_run_that_was_killed_goes_on(add: Add, area: Path, tmp_path: Path) -> None:
    cut = make_area(tmp_path / "cut")
    with tile_server(delay_s=0.1) as server:
        address = f"xyz:{server.template}"
        add("imagery", address, zoom=ZOOM)
        server.asked.clear()

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen([sys.executable, "-c", _RUN, str(cut), address, ALLOW[0]], env=os.environ)

        killed = start()
        while len(server.asked) < TILES // 2:
            assert killed.poll() is None
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        killed.wait(10)
        had = len(list((cut / "images").iterdir()))
        assert start().wait(120) == 0
    assert TILES // 2 - 2 <= had < TILES
    # Only the two that were under way when it was killed may be asked for again.
    assert sum(server.asked.values()) <= TILES + 2
    assert tables(cut) == tables(area)


def test_tokens_stay_in_the_environment(
    add: Add, area: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAP_KEY", "s3cr3t-value")
    with tile_server({at(0, 0): "missing"}) as server:
        outcome = add("imagery", f"xyz:{server.template}?key=${{MAP_KEY}}", zoom=ZOOM)
        with pytest.raises(SettingError, match=r"key in plain.*\$\{NAME"):
            add("imagery", f"xyz:{server.template}?key=s3cr3t-value", zoom=ZOOM)
        with pytest.raises(SettingError, match="no variable NO_KEY"):
            add("imagery", f"xyz:{server.template}?key=${{NO_KEY}}", zoom=ZOOM)
    assert len(Area.open(area).images) == TILES - 1
    assert Area.open(area).images["url"].str.endswith("?key=${MAP_KEY}").all()
    written = b"".join(data for data in tables(area).values()) + str(outcome.manifest).encode()
    written += b"".join(path.read_bytes() for path in area.rglob("*.json"))
    out, err = capfd.readouterr()
    assert b"s3cr3t-value" not in written and "s3cr3t-value" not in out + err


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("xyz:https://tile.openstreetmap.org/{z}/{x}/{y}.png", "forbid.*policies/tiles.*--i-have-permission"),
        ("provider:Esri.WorldImagery", "forbid.*--i-have-permission"),
        ("xyz:https://tiles.example.org/{z}/{x}/{y}.png", "nothing is known.*--i-have-permission"),
        ("provider:MapBox", "needs a token.*--token-env"),
        ("xyz:https://tiles.example.org/{z}/{x}.png", r"\{z\}, \{x\} and \{y\}"),
        ("xyz:https://tiles.example.org/{Time}/{z}/{x}/{y}.png", "write its value"),
        ("panoramax:https://example.org", "chorograph area add streetviews"),
        ("xyz:ftp://tiles.example.org/{z}/{x}/{y}.png", "begins with http"),
    ],
)
def test_what_may_not_be_asked_is_said_before_anything_is(add: Add, area: Path, source: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        add("imagery", source, zoom=ZOOM)
    assert not (area / "images.parquet").exists()


def test_a_source_that_there_is_not(add: Add) -> None:
    with pytest.raises(UnknownNameError, match="xyz"):
        add("imagery", "xyzz:https://tiles.example.org/{z}/{x}/{y}.png", zoom=ZOOM)
    with pytest.raises(SettingError, match="--zoom for map tiles"):
        add("imagery", "xyz:http://127.0.0.3/{z}/{x}/{y}.png")


def test_templates() -> None:
    wmts = "https://example.org/wmts/{TileMatrix}/{TileRow}/{TileCol}.png"
    assert checked_template(wmts) == "https://example.org/wmts/{z}/{y}/{x}.png"
    assert quadkey(3, 3, 5) == "213"  # the worked example of Bing's documentation
    assert {"xyz", "tms", "wmts", "provider", "cog", "stac", "panoramax", "mapillary"} <= set(SOURCES.names())
    assert {row["name"] for row in listing("sources")} >= set(SOURCES.names())


_CAPABILITIES = """<Capabilities xmlns="http://www.opengis.net/wmts/1.0" xmlns:ows="http://www.opengis.net/ows/1.1"
 xmlns:xlink="http://www.w3.org/1999/xlink">
<ows:OperationsMetadata><ows:Operation name="GetTile"><ows:DCP><ows:HTTP><ows:Get xlink:href="{base}/kvp?"/></ows:HTTP>
</ows:DCP></ows:Operation></ows:OperationsMetadata>
<Contents><Layer><ows:Title>Ortho</ows:Title><ows:Identifier>ortho</ows:Identifier>
<Style isDefault="true"><ows:Identifier>grey</ows:Identifier></Style><Format>image/jpeg</Format>
<Dimension><ows:Identifier>Time</ows:Identifier><Default>2024</Default></Dimension>
<TileMatrixSetLink><TileMatrixSet>web</TileMatrixSet></TileMatrixSetLink>{resource}</Layer>
<Layer><ows:Identifier>polar</ows:Identifier></Layer>
<TileMatrixSet><ows:Identifier>web</ows:Identifier><ows:SupportedCRS>urn:ogc:def:crs:EPSG::3857</ows:SupportedCRS>
{levels}</TileMatrixSet></Contents></Capabilities>"""
_LEVEL = """<TileMatrix><ows:Identifier>{zoom}</ows:Identifier><ScaleDenominator>{scale}</ScaleDenominator>
<TopLeftCorner>-20037508.3427892 20037508.3427892</TopLeftCorner><TileWidth>256</TileWidth></TileMatrix>"""


def capabilities(base: str, resource: str) -> bytes:
    levels = "".join(_LEVEL.format(zoom=zoom, scale=559082264.0287178 / 2**zoom) for zoom in range(19))
    return _CAPABILITIES.format(base=base, resource=resource, levels=levels).encode()


def test_capabilities_of_a_wmts(add: Add, area: Path) -> None:
    tiles = "{}/{{TileMatrix}}/{{TileCol}}/{{TileRow}}.jpg"
    resource = f'<ResourceURL format="image/jpeg" resourceType="tile" template="{tiles}"/>'
    with tile_server() as server:
        document = capabilities(server.base, resource.format(server.base))
        with raw_server({"/wmts": ok(document, "text/xml")}, "127.0.0.3") as about:
            add("imagery", f"wmts:{about.base}/wmts#ortho", zoom=ZOOM)
    assert len(Area.open(area).images) == TILES and Area.open(area).sources[0].name == "Ortho"
    assert server.asked[f"/{ZOOM}/{WEST}/{NORTH}.jpg"] == 1


def test_a_wmts_of_requests() -> None:
    found = layer_of(capabilities("https://example.org", ""), "ortho", "here")
    assert found.template == (
        "https://example.org/kvp?SERVICE=WMTS&REQUEST=GetTile&VERSION=1.0.0&LAYER=ortho&STYLE=grey&FORMAT=image%2Fjpeg"
        "&TILEMATRIXSET=web&TILEMATRIX={z}&TILEROW={TileRow}&TILECOL={TileCol}"
    )
    assert found.zooms == (0, 18)
    with pytest.raises(UnknownNameError, match="ortho"):
        layer_of(capabilities("https://example.org", ""), "orto", "here")
    with pytest.raises(InputError, match="no tiles in Web Mercator"):
        layer_of(capabilities("https://example.org", ""), "polar", "here")
    with pytest.raises(InputError, match="no capabilities"):
        layer_of(b'<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "ortho", "here")


def test_a_provider_brings_its_attribution_and_zooms(asked: Any) -> None:
    service = open_provider("USGS.USImagery", asked())
    assert service.about.attribution == "Tiles courtesy of the U.S. Geological Survey"
    assert service.url(tile_window(16, 1, 2)) == (
        "https://basemap.nationalmap.gov/arcgis/rest/services/USGSImageryOnly/MapServer/tile/16/2/1"
    )
    with pytest.raises(SettingError, match="zooms 0 to 20, not 21"):
        service.url(tile_window(21, 1, 2))
    with pytest.raises(UnknownNameError, match=r"USGS\.USImagery"):
        open_provider("USGS.USImager", asked())
