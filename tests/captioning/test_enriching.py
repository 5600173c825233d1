from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.area.tiles import metres_per_pixel
from chorograph.captioning.enriching.choosing import ANGLES, cascade, choose_area, least_turned, turn
from chorograph.captioning.enriching.meta import (
    _PLACE,
    COUNTS,
    Metadata,
    fill,
    place_within,
    relative_location,
    season,
    templates,
)
from chorograph.captioning.enriching.places import geopolitical, images_by_zone, reverse_geocode, utm_zone
from chorograph.captioning.enriching.run import meta_captions
from chorograph.ground.stage import Ledger, silent
from chorograph.verbs import captions


def test_templates_are_as_many_as_published_and_never_left_unfilled() -> None:
    known = Metadata(10.0, -30.0, datetime(2017, 7, 14, 9), 0.6, 12.4, ("forest", "lake"), "Cape Town, South Africa",
                     "33J", "center block").words()  # fmt: skip
    known |= {"class_label": "forest"}
    for name, number in COUNTS.items():
        chosen = templates(name)
        assert len(set(chosen)) == number
        places = {frozenset(_PLACE.findall(text)) for text in chosen}
        assert len(places) == 1
        assert next(iter(places)) <= set(known)
    assert sum(COUNTS.values()) == 359
    text = fill("i1", known)
    assert text is not None
    assert "{" not in text
    assert "winter" in text
    assert text == text.lower() == fill("i1", known)
    assert fill("i1", {}) is None
    assert "forest" in str(fill("i1", {"class_label": "forest"}))


def test_seasons_know_their_hemisphere() -> None:
    assert [season(month, 50) for month in (1, 4, 7, 10)] == ["winter", "spring", "summer", "autumn"]
    assert [season(month, -30) for month in (1, 4, 7, 10)] == ["summer", "autumn", "winter", "spring"]


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((90, 90, 120, 120), "center and top-center blocks"),
        ((0, 0, 50, 50), "top-left block"),
        ((210, 120, 80, 170), "bottom-right and center-right blocks"),
    ],
)
def test_relative_locations(box: tuple[float, float, float, float], said: str) -> None:
    assert relative_location(300, 300, box) == said


@pytest.mark.parametrize(
    ("point", "said"),
    [((1, 8), "north-west"), ((5, 9), "north"), ((5, 5), "middle"), ((9, 1), "south-east"), ((10, 5), "east"),
     ((11, 5), "")],
)  # fmt: skip
def test_places_within_bounds(point: tuple[float, float], said: str) -> None:
    assert place_within(point, (0, 0, 10, 10)) == said
    assert place_within((3, 3), (3, 3, 3, 3)) == "middle"


def test_zones_equal_those_of_proj_and_the_known_exceptions() -> None:
    from pyproj.aoi import AreaOfInterest
    from pyproj.database import query_utm_crs_info

    rng = np.random.default_rng(0)
    for lon, lat in zip(rng.uniform(-179, 179, 40), rng.uniform(-79, 83, 40), strict=True):
        zone = utm_zone(lon, lat)
        if zone[-1] in "VX":
            continue  # Norway and Svalbard
        found = query_utm_crs_info("WGS 84", AreaOfInterest(lon, lat, lon, lat))
        assert any(info.name.endswith(f"zone {zone[:-1]}{'N' if zone[-1] >= 'N' else 'S'}") for info in found)
    assert [utm_zone(5.3, 60.4), utm_zone(15.6, 78.2), utm_zone(0, 85)] == ["32V", "33X", ""]
    assert images_by_zone([0.5, 1.0, 120.0], [51.0, 51.5, 30.0]) == {"31U": 2, "51R": 1}


def test_points_and_names_find_their_country_without_a_network() -> None:
    towns = reverse_geocode([116.4, -122.33, 18.42], [39.9, 47.61, -33.92])
    assert [town.country for town in towns] == ["China", "United States", "South Africa"]
    assert max(town.distance_m for town in towns) < 15_000
    assert geopolitical("an aerial view of Nairobi in Kenya") == ["nairobi", "kenya"]
    assert geopolitical("a view of trees") == []


def test_the_cascade_and_the_choice_over_angles_are_those_of_the_paper() -> None:
    similarity = [[0.30, 0.31, 0.29, 0.30], [0.28, 0.28, 0.28, 0.29], [0.40, 0.20, 0.40, 0.20]]
    assert least_turned(similarity) == 1
    assert int(np.mean(similarity, axis=1).argmax()) in (0, 2)
    first, second = np.arange(20.0), -np.arange(20.0)
    assert cascade(first, second) == (10, 11, 12, 13, 14)
    assert tuple(range(0, 360, 30)) == ANGLES
    image = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    assert (turn(image, 0) == image).all()
    assert (turn(image, 90) == np.rot90(image)).mean() > 0.8
    assert turn(image, 30).shape == image.shape
    assert turn(np.full((20, 20, 3), 200, np.uint8), 45).min() > 190  # no black corners


class _Encoder:
    """Finds a text the more fitting the longer it is."""

    name = fingerprint = "made"
    dim = 2

    def encode(self, images: Any) -> Any:
        return np.tile(np.float32([1, 0]), (len(images), 1))

    def encode_texts(self, texts: Any, *, unit: bool = True) -> Any:
        return np.array([[len(text), 10] for text in texts], dtype=np.float32)


@pytest.fixture
def corpus(tmp_path: Path) -> Area:
    exif = Image.Exif()
    exif[0x8769] = {0x9003: "2019:01:05 08:30:00"}
    exif[0x8825] = {1: "S", 2: (33.0, 55.0, 12.0), 3: "E", 4: (18.0, 25.0, 12.0)}
    Image.new("RGB", (16, 16), (10, 20, 30)).save(tmp_path / "photo.jpg", exif=exif)
    with AreaDraft(tmp_path / "corpus", "corpus") as draft:
        black = np.zeros((16, 16, 3), np.uint8)
        held = [draft.add_image("a", tmp_path / "photo.jpg"), draft.write_image("b", black)]
        uris, digests = zip(*held, strict=True)
        frame = pd.DataFrame({"image_id": ["a", "b", "c"], "uri": [*uris, None], "sha256": [*digests, None]})
        frame = frame.assign(view="satellite", source="made", licence="CC0", lon=[None, 116.4, None])
        frame = frame.assign(lat=[None, 39.9, None], zoom=[None, 16, None], captured=[None, "2020-07", None])
        draft.write("images", frame)
        said = pd.DataFrame({"caption": ["x" * n for n in range(1, 21)], "rank": range(20), "image_id": "a"})
        draft.write("captions", said.assign(caption_id=[f"a{n}" for n in range(20)], origin="model:m"))
    return Area.open(tmp_path / "corpus")


def test_captions_come_from_tables_and_cameras(corpus: Area) -> None:
    done = captions.meta(captions.MetaSettings(area=corpus.path), silent).manifest
    said = corpus.captions[corpus.captions["origin"] == "meta"].set_index("image_id")["caption"]
    assert set(said.index) == {"a", "b"}
    assert "south africa" in said["a"]
    assert "summer" in said["a"]
    assert "china" in said["b"]
    assert "summer" in said["b"]
    assert done["dropped"] == {"image of which too little is known": 1}
    assert done["facts"]["images by country"] == {"South Africa": 1, "China": 1}
    assert done["facts"]["images by UTM zone"] == {"50S": 1}
    assert "50S" in (corpus.path / "captions_world.html").read_text()
    assert len(corpus.captions) == 22


def test_an_image_of_which_all_is_known_gets_the_full_set(tmp_path: Path) -> None:
    cover = [("a", "cover", "lake", 0.2), ("a", "cover", "open_forest", 0.7), ("b", "cover", "lake", 1.0)]
    with AreaDraft(tmp_path / "town", "town", title="Kingston") as draft:
        outline = [shapely.box(10, 50, 10.3, 50.3), shapely.box(10.3, 50, 10.6, 50.3)]
        regions = pd.DataFrame({"region_id": ["R1", "R2"], "name": ["Ballard", None], "group": None})
        draft.write("regions", gpd.GeoDataFrame(regions, geometry=outline, crs="EPSG:4326"))
        frame = pd.DataFrame({"image_id": ["a", "b"], "region_id": ["R1", "R2"], "lon": [10.05, 10.55]})
        frame = frame.assign(lat=[50.28, 50.02], zoom=16, captured="2020-07-04", view="satellite", source="made")
        draft.write("images", frame.assign(licence="CC0"))
        draft.write("image_facts", pd.DataFrame(cover, columns=["image_id", "kind", "name", "value"]))
    area = Area.open(tmp_path / "town")
    (area.path / "coverage").mkdir()
    pd.DataFrame({"image_id": ["a", "b"], "cloud": [0.124, None]}).to_parquet(area.path / "coverage" / "stac.parquet")
    said = meta_captions(area, Ledger()).set_index("image_id")["caption"]
    for words in ("open forest", "germany", "summer", "north-west of ballard", "zone 32u", "12 %", "july 4, 2020"):
        assert words in said["a"]
    assert f"{metres_per_pixel(50.28, 16):.2f} m" in said["a"]
    for words in ("lake", "germany", "south-east of kingston", "july 2020"):
        assert words in said["b"]
    assert "cloud" not in said["b"]


def test_the_best_five_of_twenty_stand_beside_the_candidates(corpus: Area) -> None:
    chosen = choose_area(corpus, "model:m", _Encoder(), _Encoder(), Ledger())  # type: ignore[arg-type]
    top = chosen[chosen["origin"] == "top:model:m"]
    assert top["caption"].str.len().tolist() == [20, 19, 18, 17, 16]
    assert top["score"].is_monotonic_decreasing
    assert (chosen["origin"] == "turned:model:m").sum() == 1
