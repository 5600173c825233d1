from __future__ import annotations

from pathlib import Path

from chorograph.captioning.enriching.places import utm_zone
from chorograph.reporting.world import write_world, zone_box


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
