"""Maps of OpenStreetMap and Overture: places, measures of roads and buildings, context, and inputs of a graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from map_made import EAST, HALL, HOUSES, LANE, ROAD, WEST, regions, write_osm, write_overture
from pyproj import Geod

from chorograph.acquisition.sources.maps.overture import is_overture
from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.ground.errors import InputError
from chorograph.ground.settings import configure
from chorograph.ground.stage import silent
from chorograph.verbs.table import get_verb

GEOD = Geod(ellps="WGS84")


def _km2(polygon: Any) -> float:
    return abs(GEOD.geometry_area_perimeter(polygon)[0]) / 1e6


def _km(line: Any) -> float:
    return GEOD.geometry_length(line) / 1000


@pytest.fixture
def area(tmp_path: Path) -> Path:
    regions().to_file(tmp_path / "regions.geojson")
    verb = get_verb("area new")
    verb(configure(verb.settings, {"regions": tmp_path / "regions.geojson", "out": tmp_path / "area"}), silent)
    return tmp_path / "area"


def _add(area: Path, path: Path, **asked: Any) -> dict[str, Any]:
    verb = get_verb("area add places")
    return verb(configure(verb.settings, {"area": area, "from_": path, **asked}), silent).manifest


def _values(area: Path) -> Any:
    return Area.open(area).indicators.pivot_table(index="region_id", columns="indicator", values="value")


def _check_measures(found: Any) -> None:
    """Compare with lengths and areas on the ellipsoid."""
    road = {"west": _km(ROAD.intersection(WEST)), "east": _km(ROAD.intersection(EAST))}
    for name, polygon in (("west", WEST), ("east", EAST)):
        more = _km(LANE) if name == "east" else 0.0
        assert found["road_density"][name] == pytest.approx((road[name] + more) / _km2(polygon), rel=2e-3)
        assert found["main_road_density"][name] == pytest.approx(road[name] / _km2(polygon), rel=2e-3)
    houses = sum(_km2(house) for house in HOUSES)
    hall = {name: _km2(HALL.intersection(polygon)) for name, polygon in (("west", WEST), ("east", EAST))}
    assert found["building_cover"]["west"] == pytest.approx((houses + hall["west"]) / _km2(WEST), rel=1e-3)
    assert found["building_cover"]["east"] == pytest.approx(hall["east"] / _km2(EAST), rel=1e-3)
    assert found["building_count"].to_dict() == {"west": 3, "east": 1}
    assert found["building_density"]["west"] == pytest.approx(3 / _km2(WEST), rel=1e-3)


def test_openstreetmap(area: Path, tmp_path: Path) -> None:
    manifest = _add(area, write_osm(tmp_path / "town.osm.pbf"))
    held = Area.open(area)
    counts = held.read("poi_counts").set_index(["region_id", "poi"])["count"].to_dict()
    assert counts == {("west", "amenity=cafe"): 2, ("east", "shop=bakery"): 1, ("east", "amenity=townhall"): 1}
    _check_measures(_values(area))
    assert set(held.indicators["year"]) == {2024}
    assert manifest["dropped"]["line or outline of the map that cannot be drawn"] == 1
    assert [source.licence for source in held.sources] == ["unstated", "ODbL-1.0"]
    drawn = held.read("context").set_index("feature")
    assert drawn["kind"].value_counts().to_dict() == {"road": 1, "water": 1, "place": 1}
    assert drawn.loc["way/1", "rank"] == 2 and drawn.loc["way/1", "name"] == "High Street"
    lake = drawn[drawn["name"] == "Mere"].geometry.iloc[0]
    assert _km2(lake) == pytest.approx(0.0030 * 0.002 * 1e4 * 0.7953 - 0.001 * 0.001 * 1e4 * 0.7953, rel=0.02)
    assert check_area(held) == []


def test_what_is_taken_can_be_said_and_a_second_time_changes_nothing(area: Path, tmp_path: Path) -> None:
    path = write_osm(tmp_path / "town.osm.pbf")
    _add(area, path, take=["places"], keys=["shop"])
    assert set(Area.open(area).read("poi_counts")["poi"]) == {"shop=bakery"}
    assert not Area.open(area).has("indicators") and not Area.open(area).has("context")
    _add(area, path, take=["roads"])
    assert set(Area.open(area).indicators["indicator"]) == {"road_density", "main_road_density"}
    assert _add(area, path, take=["roads"])["counts"]["indicators added"] in (0, 4)


def test_regions_beyond_the_map_have_no_measure(area: Path, tmp_path: Path) -> None:
    manifest = _add(area, write_osm(tmp_path / "part.osm.pbf", box_of=(9.9, 49.9, 10.012, 50.2)))
    assert set(Area.open(area).indicators["region_id"]) == {"west"}
    assert manifest["dropped"]["region outside of the map, without measures"] == 1
    other = _add(area, write_osm(tmp_path / "bare.osm.pbf", box_of=None), replace=True)
    assert any("does not say what it covers" in warning for warning in other["warnings"])


@pytest.mark.parametrize("old", [True, False])
def test_overture(area: Path, tmp_path: Path, old: bool) -> None:
    folder = write_overture(tmp_path / "overture", old=old)
    assert is_overture(folder) and is_overture(next(folder.rglob("*.parquet")))
    manifest = _add(area, folder, year=2025)
    held = Area.open(area)
    counts = held.read("poi_counts").set_index(["region_id", "poi"])["count"].to_dict()
    assert counts == {("west", "cafe"): 2, ("east", "bakery"): 1, ("east", "bench"): 1}
    assert manifest["dropped"] == {"place without a category": 1}
    _check_measures(_values(area))
    assert set(held.read("context")["kind"]) == {"road", "water", "place"}
    assert check_area(held) == []


def test_overture_by_another_category_and_a_file_of_one_type(area: Path, tmp_path: Path) -> None:
    folder = write_overture(tmp_path / "overture")
    file = next(folder.rglob("type=place/*.parquet")).rename(tmp_path / "places.parquet")
    _add(area, file, category="taxonomy")
    assert set(Area.open(area).read("poi_counts")["poi"]) == {"cafe_shop", "bakery_shop", "bench_shop"}
    with pytest.raises(InputError, match="categories"):
        _add(area, file, category="categories", replace=True)


def test_a_graph_is_built_from_a_maps_places(area: Path, tmp_path: Path) -> None:
    _add(area, write_osm(tmp_path / "town.osm.pbf"))
    verb = get_verb("graph build")
    verb(configure(verb.settings, {"area": area}), silent)
    facts = Area.open(area).triples
    held = facts[facts["relation"] == "locateAt"]
    assert held["tail"].value_counts().to_dict() == {"region:west": 2, "region:east": 2}
    rivals = facts[facts["relation"] == "competitive"]
    assert len(rivals) == 2 and set(rivals["head"]) == {"poi:node/1", "poi:node/2"}
    assert set(facts.loc[facts["relation"] == "cateOf", "tail"]) >= {"category:amenity=cafe", "category:shop=bakery"}


def test_a_broken_file_and_one_of_another_place_are_named(area: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.osm.pbf"
    broken.write_bytes(write_osm(tmp_path / "town.osm.pbf").read_bytes()[:200])
    with pytest.raises(InputError, match=r"broken\.osm\.pbf cannot be read"):
        _add(area, broken)
    held = Area.open(area)
    moved = held.regions.assign(geometry=held.regions.geometry.translate(60, 0))
    held.write("regions", moved)
    with pytest.raises(InputError, match="of another place"):
        _add(area, tmp_path / "town.osm.pbf")
    assert np.isfinite(moved.total_bounds).all()
