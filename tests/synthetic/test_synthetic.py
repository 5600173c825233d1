"""The synthetic city: the same from the same seed, true to what it says, and drawn without cheating."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from chorograph.area.check import check_area
from chorograph.area.tiles import tile_bounds, tile_centre
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.synthetic import SyntheticCity, SyntheticCityConfig, build_synthetic, plan_city
from chorograph.synthetic.land import ORIGIN_TILE, TILE, ZOOM, Land
from chorograph.synthetic.scene import look
from chorograph.synthetic.things import Thing
from chorograph.synthetic.words import Facts, rough

SMALL = SyntheticCityConfig(regions=24, tiles_per_region=2, street_views_per_region=1)


@pytest.fixture(scope="module")
def city() -> SyntheticCity:
    return plan_city(SMALL)


@pytest.fixture(scope="module")
def land() -> Land:
    return Land.plan(seed=3, regions=60)


def test_the_same_seed_draws_the_same_city_and_another_seed_another(city: SyntheticCity) -> None:
    again, other = plan_city(SMALL), plan_city(SyntheticCityConfig(24, 2, 1, seed=1))
    assert city.captions.equals(again.captions)
    assert city.indicators.equals(again.indicators)
    assert city.triples.equals(again.triples)
    assert city.regions.geometry.geom_equals(again.regions.geometry).all()
    for image_id in [*city.images["image_id"][:3], *city.views][:5]:
        assert (city.draw(image_id) == again.draw(image_id)).all()
    assert not city.indicators["value"].equals(other.indicators["value"])
    assert set(city.scenes) != set(other.scenes)


def test_an_image_does_not_depend_on_what_was_drawn_before(city: SyntheticCity) -> None:
    first, second = list(city.scenes)[:2]
    alone = city.draw(second)
    city.draw(first)
    assert (city.draw(second) == alone).all()


def test_tiles_and_street_views_are_pictures_of_their_size(city: SyntheticCity) -> None:
    tile, view = city.draw(next(iter(city.scenes))), city.draw(next(iter(city.views)))
    assert tile.shape == (256, 256, 3)
    assert view.shape == (192, 256, 3)
    assert tile.dtype == view.dtype == np.uint8
    assert tile.std() > 8
    assert view.std() > 8
    with pytest.raises(UnknownNameError):
        city.draw("18_1_1")


def test_regions_are_connected_disjoint_and_of_the_asked_number(city: SyntheticCity) -> None:
    regions: gpd.GeoDataFrame = city.regions
    assert len(regions) == SMALL.regions == regions["region_id"].nunique() == regions["name"].nunique()
    assert set(regions.geometry.geom_type) == {"Polygon"}
    assert regions.geometry.is_valid.all()
    flat = regions.to_crs("ESRI:54034")
    assert shapely.union_all(flat.geometry.to_numpy()).area == pytest.approx(flat.area.sum(), rel=1e-6)
    assert 0.5 < flat.area.mean() / 1e6 < 4


def test_every_tile_lies_in_its_region_and_knows_its_place(city: SyntheticCity) -> None:
    tiles = city.images[city.images["view"] == "satellite"].astype({"x": int, "y": int})
    lon, lat = tile_centre(tiles["x"], tiles["y"], ZOOM)
    assert np.allclose(tiles["lon"], lon)
    assert np.allclose(tiles["lat"], lat)
    shape = city.regions.set_index("region_id").geometry.loc[tiles["region_id"]].to_numpy()
    assert shapely.contains_xy(shape, lon, lat).all()
    assert tiles["image_id"].tolist() == [f"18_{x}_{y}" for x, y in zip(tiles["x"], tiles["y"], strict=True)]


def test_world_pixels_meet_web_mercator(city: SyntheticCity) -> None:
    from chorograph.synthetic.city import _to_degrees

    x, y = np.array([-3, 5, 77]), np.array([0, -12, 60])
    west, _, _, north = tile_bounds(x + ORIGIN_TILE, y + ORIGIN_TILE, ZOOM)
    degrees = _to_degrees(np.column_stack([x, y]) * float(TILE))
    assert np.allclose(degrees, np.column_stack([west, north]), atol=1e-9)


def test_bending_and_straightening_are_inverse(land: Land) -> None:
    points = np.random.default_rng(0).uniform(-9000, 9000, (500, 2))
    assert np.abs(land.warp.to_world(land.warp.to_grid(points)) - points).max() < 0.1


def test_things_continue_across_a_tile_border(land: Land) -> None:
    left, right = look(land, 2, 1), look(land, 3, 1)
    shift = right.quads.mean(1) + np.array([TILE, 0])
    at_border = left.quads.mean(1)
    at_border = at_border[(np.abs(at_border[:, 0] - TILE) < 30) & (at_border[:, 1] > 0) & (at_border[:, 1] < TILE)]
    assert len(at_border) > 3
    distance = np.abs(at_border[:, None] - shift[None]).max(2).min(1)
    assert distance.max() < 1e-6


def test_each_thing_is_counted_in_one_tile(land: Land) -> None:
    """Neighbouring tiles together hold what a look at both holds: no thing twice, none lost."""
    scenes = [look(land, x, y) for x in (0, 1, 2) for y in (0, 1, 2)]
    places = np.concatenate(
        [
            (s.quads[:, 0] + s.quads[:, 2]) / 2 + (s.x * TILE, s.y * TILE)
            for s in scenes
        ]
    )  # fmt: skip
    inside = ((places >= 0) & (places < 3 * TILE)).all(1)
    kinds = np.concatenate([s.rows[:, 0] for s in scenes])
    cars = np.unique(places[inside & (kinds == Thing.CAR)].round(3), axis=0)
    assert len(cars) == sum(s.counts[Thing.CAR] for s in scenes)


def test_captions_tell_the_truth_about_pools_and_railways(city: SyntheticCity) -> None:
    named = 0
    for image_id, caption in city.captions[["image_id", "caption"]].itertuples(index=False):
        if image_id not in city.scenes:
            continue
        facts = Facts.of(city.scenes[image_id])
        absent = "no swimming pools" in caption or "no pools" in caption or "without pools" in caption
        if absent:
            assert facts.things[Thing.POOL] == 0
        elif "pool" in caption:
            assert facts.things[Thing.POOL] > 0
            named += 1
        if "railway" in caption:
            assert facts.rail
        if "tennis" in caption:
            assert facts.things[Thing.TENNIS] > 0
        if "football" in caption:
            assert facts.things[Thing.PITCH] > 0
    assert named > 5


def test_rough_numbers_grow_with_the_count() -> None:
    words = (("pool", "pools"),)
    said = [rough(n, words, np.random.default_rng(0)) for n in (1, 2, 4, 8, 12, 20, 40, 80)]
    assert said[0] in ("a pool", "one pool")
    assert len(set(said)) == len(said)


def test_every_tile_has_two_or_three_captions(city: SyntheticCity) -> None:
    tiles = city.captions[city.captions["image_id"].isin(list(city.scenes))]
    assert set(tiles.groupby("image_id").size()) <= {2, 3}
    assert set(city.captions["image_id"]) == set(city.images["image_id"])
    assert set(city.captions["origin"]) == {"template"}


def test_some_regions_have_no_label_and_some_no_image() -> None:
    city = plan_city(SyntheticCityConfig(regions=60, tiles_per_region=1, street_views_per_region=0))
    labelled, seen = set(city.indicators["region_id"]), set(city.images["region_id"])
    assert len(labelled) == 51
    assert len(seen) == 58
    assert set(city.indicators["indicator"]) == {"population_density", "population", "median_income", "carbon"}


def test_attainable_scores_leave_room_for_noise_only(city: SyntheticCity) -> None:
    assert set(city.attainable_r2) == set(city.indicators["indicator"])
    assert all(0.6 < value < 1 for value in city.attainable_r2.values())
    income = city.indicators[city.indicators["indicator"] == "median_income"]
    assert income["value"].between(5_000, 500_000).all()
    assert set(income["unit"]) == {"crowns/year"}


def test_the_graph_names_only_what_exists(city: SyntheticCity) -> None:
    known = set(city.entities["entity"])
    assert set(city.triples["head"]) | set(city.triples["tail"]) <= known
    assert set(city.triples["relation"]) == {"borderBy", "nearBy", "locateAt", "cateOf"}
    pois = city.entities[city.entities["kind"] == "poi"]
    assert len(pois) == city.poi_counts["count"].sum()
    borders = city.triples[city.triples["relation"] == "borderBy"]
    pairs = set(zip(borders["head"], borders["tail"], strict=True))
    shape = city.regions.set_index("region_id").geometry
    assert all((tail, head) in pairs for head, tail in pairs)
    assert all(shape[a.split(":")[1]].touches(shape[b.split(":")[1]]) or
               shape[a.split(":")[1]].distance(shape[b.split(":")[1]]) < 1e-9 for a, b in pairs)  # fmt: skip


def test_the_area_is_whole_and_says_that_it_is_synthetic(tmp_path: Path) -> None:
    told: list[int] = []
    small = SyntheticCityConfig(regions=6, tiles_per_region=1, street_views_per_region=1, seed=4)
    area = build_synthetic(small, tmp_path / "city", progress=lambda what, done, total: told.append(done))
    assert area.synthetic
    assert area.title == "Synthetic city (seed 4)"
    assert {source.licence for source in area.sources} == {"CC0-1.0"}
    assert check_area(area, open_images=True) == []
    assert told == list(range(1, 13))
    assert area.facts["attainable_r2"]["median_income"] == plan_city(small).attainable_r2["median_income"]
    assert set(area.images["source"]) == set(area.indicators["source"]) == {"synthetic"}


def test_a_city_without_regions_or_tiles_is_refused() -> None:
    with pytest.raises(InputError):
        SyntheticCityConfig(regions=1)
    with pytest.raises(InputError):
        SyntheticCityConfig(tiles_per_region=0)
