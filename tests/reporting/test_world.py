from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.captioning.enriching.places import utm_zone
from chorograph.ground.stage import silent
from chorograph.reporting.report import write_report
from chorograph.reporting.world import in_the_world, write_world, zone_box
from chorograph.verbs.captions import MetaSettings, meta

Make = Callable[..., Any]


def test_a_zones_box_holds_the_points_of_the_zone() -> None:
    for lon, lat in ((2.0, 51.0), (-122.3, 47.6), (179.9, -33.0), (30.0, 80.0)):
        west, south, east, north = zone_box(utm_zone(lon, lat))
        assert south <= lat < north
        if utm_zone(lon, lat)[-1] != "X":
            assert west <= lon < east


def test_the_map_is_one_file_that_asks_for_nothing(tmp_path: Path) -> None:
    page = write_world(tmp_path / "world.html", {"31U": 5, "10T": 900}, [2.3, 13.4], [48.9, 52.5], "Two <b>zones</b>")
    text = page.read_text()
    assert "31U" in text
    assert "<b>zones" not in text
    assert "http" not in text
    assert "900 images" in text
    assert write_world(tmp_path / "none.html", {}, [], [], "nothing").is_file()


def test_the_report_shows_where_in_the_world_an_area_lies(tmp_path: Path, make_run: Make, make_area: Make) -> None:
    place = make_area(tmp_path / "area")
    run = make_run(tmp_path / "run", place)
    assert 'id="world"' not in write_report(run).read_text()  # nobody counted
    found = {"images by UTM zone": {"31N": 5, "10T": 900, "<b>": 7}, "places named": {"<i>lagos": 3}}
    said = {"config": {}, "facts": {**found, "captions that name a place": 2}}
    (place / "captions_meta.manifest.json").write_text(json.dumps(said))
    text = write_report(run).read_text()
    assert "905 images have a position, in 2 UTM zones" in text
    assert "2 captions name a country, continent or town" in text
    assert '<svg class="world"' in text
    assert "<b>" not in text
    assert "<i>lagos" not in text


def test_the_statistics_of_captions_meta_are_those_of_the_report(tmp_path: Path, make_run: Make) -> None:
    place = tmp_path / "area"
    with AreaDraft(place, "two") as draft:
        images = pd.DataFrame({"image_id": ["a", "b"], "lon": [-122.3, 3.4], "lat": [47.6, 6.5], "captured": "2020-05"})
        draft.write("images", images.assign(view="satellite", source="made", licence="CC0"))
        said = {"caption_id": "c", "image_id": "b", "rank": 0, "caption": "roofs of Lagos", "origin": "human"}
        draft.write("captions", pd.DataFrame([said]))
    meta(MetaSettings(area=place), silent)
    found = in_the_world(Area.open(place))
    assert found is not None
    assert found.zones == [("10T", "1"), ("31N", "1")]
    assert found.names == [("lagos", "1")]
