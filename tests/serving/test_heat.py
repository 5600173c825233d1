"""A sentence's heat map on a region's imagery: high where it fits, placed on the ground."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from watching import Watched, barriers, wait

from chorograph.area.folder import Area
from chorograph.area.tiles import tile_centre, tile_of
from chorograph.ground.errors import InputError
from chorograph.searching.regions import Hit
from chorograph.serving.api.app import Serving, create_app
from chorograph.serving.api.guard import Access
from chorograph.serving.catalogue.finder import Finder, Found
from chorograph.serving.catalogue.heat import TILE_PX, HeatMaps, _tiled, mosaic_of
from chorograph.serving.catalogue.served import Catalogue, ServedArea


class Colours:
    """Knows pictures by their mean colour, and three words."""

    name = fingerprint = "colours"
    _WORDS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1)}  # noqa: RUF012

    def __init__(self) -> None:
        self.pictures = 0

    def encode(self, images: Sequence[Any]) -> Any:
        self.pictures += len(images)
        means = np.array([image.reshape(-1, 3).mean(0) for image in images], dtype=np.float32)
        return means / np.linalg.norm(means, axis=1, keepdims=True)

    def encode_texts(self, texts: Sequence[str]) -> Any:
        return np.array([self._WORDS[text] for text in texts], dtype=np.float32)


@pytest.fixture(scope="module")
def painted(city: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ServedArea, tuple[int, int, int]]:
    """The city, green but for one red tile of region R01; its zoom, x and y."""
    place = tmp_path_factory.mktemp("painted") / "area"
    shutil.copytree(city / "area", place)
    area = Area.open(place)
    images = area.images
    own = images[(images["region_id"] == "R01") & (images["view"] == "satellite")]
    for number, uri in enumerate(own["uri"]):
        colour = (250, 10, 10) if number == 0 else (10, 250, 10)
        Image.new("RGB", (TILE_PX, TILE_PX), colour).save(place / uri, "JPEG")
    red = own.iloc[0]
    served = next(iter(Catalogue.open([place], cache=False)))
    return served, (int(red["zoom"]), int(red["x"]), int(red["y"]))


@pytest.fixture
def finder(painted: tuple[ServedArea, Any], monkeypatch: pytest.MonkeyPatch) -> Finder:
    encoder = Colours()
    monkeypatch.setattr(Finder, "tower", lambda _: (encoder, ""))
    return Finder(painted[0])


def test_the_map_is_high_where_the_words_fit_and_lies_on_the_ground(
    painted: tuple[ServedArea, tuple[int, int, int]], finder: Finder
) -> None:
    served, (zoom, x, y) = painted
    heat = HeatMaps(served, finder).draw("red", served.row("R01"))
    (peak, *others) = heat.as_dict()["peaks"]
    assert not others
    lon, lat = peak["place"]
    assert [int(number) for number in tile_of(lon, lat, zoom)] == [x, y]
    assert (heat.probability[~heat.mosaic.held] == 0).all()
    assert heat.highest > 0.9 > heat.lowest
    assert heat.picture().size == heat.mosaic.shape[::-1]


@pytest.mark.parametrize("places", [[(0, 0), (1, 0), (0, 1), (1, 1)], [(0, 0), (9, 0), (0, 9), (30, 31)]])
def test_tiles_lie_as_on_the_ground_or_side_by_side(
    painted: tuple[ServedArea, Any], monkeypatch: pytest.MonkeyPatch, places: list[tuple[int, int]]
) -> None:
    served = painted[0]
    tiles = served.images[served.images["row"] == 2].iloc[[0] * 4].assign(zoom=15)
    tiles = tiles.assign(x=[9000 + x for x, _ in places], y=[9000 + y for _, y in places])
    monkeypatch.setattr("chorograph.serving.catalogue.heat._opened", lambda *_: Image.new("RGB", (256, 256), "green"))
    mosaic = _tiled(served, tiles)
    apart = places[3] != (1, 1)
    assert mosaic.shape == (512, 512)
    assert mosaic.joined is not apart
    assert (mosaic.bounds is None) is apart
    assert (mosaic.read((0, 256, 128, 384)) is None) is apart
    assert mosaic.read((256, 512, 256, 512)) is not None
    for row, column in np.ndindex(2, 2):
        x, y = mosaic.tiles[row, column]  # type: ignore[index]
        lon, lat = mosaic.place(256 * column + 64, 256 * row + 200)
        assert [int(number) for number in tile_of(lon, lat, 15)] == [x, y]
        assert (lon, lat) == pytest.approx([float(n) for n in tile_centre(x - 0.25, y + 200 / 256 - 0.5, 15)])


def test_windows_are_encoded_once_a_region(painted: tuple[ServedArea, Any], finder: Finder) -> None:
    served = painted[0]
    maps, encoder = HeatMaps(served, finder), finder.tower()[0]
    maps.draw("red", served.row("R01"))
    seen = encoder.pictures
    assert seen > 0
    maps.draw("green", served.row("R01"))
    assert encoder.pictures == seen


def test_a_plain_region_has_no_peak_and_says_so(
    painted: tuple[ServedArea, Any], finder: Finder, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = painted[0]
    maps = HeatMaps(served, finder)
    monkeypatch.setattr("chorograph.serving.catalogue.heat._opened", lambda *_: Image.new("RGB", (256, 256), "green"))
    told = maps.draw("red", served.row("R02")).as_dict()
    assert told["peaks"] == []
    assert told["note"]


def test_pictures_that_are_no_map_tiles_are_looked_at_one_by_one(city: Path, tmp_path: Path) -> None:
    place = tmp_path / "area"
    shutil.copytree(city / "area", place)
    area = Area.open(place)
    area.write("images", area.images.assign(zoom=None, x=None, y=None))
    served = next(iter(Catalogue.open([place], cache=False)))
    assert mosaic_of(served, 0).bounds is None
    area.write("images", area.images.assign(view="street"))
    with pytest.raises(InputError, match="picture from above"):
        mosaic_of(next(iter(Catalogue.open([place], cache=False))), 0)


def test_the_server_draws_it_or_says_what_is_missing(
    painted: tuple[ServedArea, Any], finder: Finder, server: str, run_app: Callable[[Any], Any]
) -> None:
    served = painted[0]
    app = create_app(Serving(Catalogue([served]), Access("a-token-of-a-test"), warm=False))
    with run_app(app) as address:
        asked = {"region": "R01", "q": "red"}
        picture = httpx.get(f"{address}/heatmap", params=asked, timeout=60)
        assert picture.headers["content-type"] == "image/jpeg"
        assert picture.content[:3] == b"\xff\xd8\xff"
        told = httpx.get(f"{address}/heatmap.json", params=asked).json()
        assert told["peaks"][0]["place"]
        assert httpx.get(f"{address}/heatmap", params={"region": "R01", "q": " "}).status_code == 400
        assert httpx.get(f"{address}/heatmap", params={"region": "nobody", "q": "red"}).status_code == 404


@pytest.mark.browser
def test_a_card_after_a_search_shows_where_the_words_fit(
    page: Any, painted: tuple[ServedArea, Any], finder: Finder, run_app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    can = {"words": "images", "similar": True, "model": "colours"}
    monkeypatch.setattr(Finder, "can", lambda _: can)
    monkeypatch.setattr(Finder, "by_words", lambda *_: Found("images", [Hit("R01", 0.9)]))
    app = create_app(Serving(Catalogue([painted[0]]), Access("a-token-of-a-test"), warm=False))
    with run_app(app) as address:
        watched = Watched(page, address)
        watched.open(f"/areas/{painted[0].slug}?q=red&region=R01")
        page.click("#heat summary")
        wait(lambda: page.evaluate("document.querySelector('#heat img').naturalWidth > 0"))
        assert "Red fits best" in page.inner_text("#heat p")
        assert not barriers(page)
        assert watched.is_well()


def test_without_a_text_tower_a_heat_map_says_why_not(server: str) -> None:
    answer = httpx.get(f"{server}/heatmap", params={"region": "R01", "q": "red"})
    assert answer.status_code == 400
    assert "knows" in answer.json()["detail"]
