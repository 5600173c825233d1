"""Street views of services on loopback: listed, joined by distance, so many a region; no token is written anywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from made_sources import tables
from street_servers import TOKEN, mapillary_like, panoramax_like, picture, some_views

from chorograph.acquisition.sources.street import mapillary
from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.ground.errors import InputError, SettingError
from chorograph.ground.stage import Outcome

Add = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAPILLARY_ACCESS_TOKEN", TOKEN)


def inside(area: Path, views: dict[str, tuple[float, float]]) -> set[str]:
    whole = shapely.union_all(Area.open(area).regions.geometry)
    return {name for name, place in views.items() if whole.contains(shapely.Point(place))}


def test_mapillarys_views_in_the_regions(add: Add, area: Path, capfd: pytest.CaptureFixture[str]) -> None:
    views = some_views()
    with mapillary_like(views) as server:
        outcome = add("streetviews", f"mapillary:{server.base}")
    held = Area.open(area)
    assert check_area(held) == [] and set(held.images["view"]) == {"street"}
    assert set(held.images["image_id"]) == {f"mapillary-{name}" for name in inside(area, views)}
    for row in held.images.itertuples():
        name = row.image_id.removeprefix("mapillary-")
        assert (row.lon, row.lat) == pytest.approx(views[name])
        assert held.read_encoded(row.uri) == picture(name)
        assert (row.licence, row.url) == ("CC-BY-SA-4.0", f"https://www.mapillary.com/app/?pKey={name}")
        assert row.captured.startswith("2023-11-14")
    listed = outcome.manifest["counts"]["street views listed"]
    assert outcome.manifest["dropped"] == {"street view in no region": listed - len(held.images)}
    # The token goes to the API alone, in a header; it stands in no file, and nothing that is shown.
    assert all(("Authorization" in headers) == (path == "/images") for path, headers in server.headers)
    written = b"".join(tables(area).values()) + b"".join(path.read_bytes() for path in area.rglob("*.json"))
    shown = "".join(capfd.readouterr()) + str(outcome.manifest)
    assert TOKEN.encode() not in written and TOKEN not in shown and b"oh=signed" not in written


def test_the_nearest_region_and_so_many_of_each(add: Add, area: Path) -> None:
    views = some_views(200)
    with mapillary_like(views) as server:
        outcome = add("streetviews", f"mapillary:{server.base}", within_m=100, most=5)
    held = Area.open(area)
    assert held.images["region_id"].value_counts().to_dict() == {"west": 5, "east": 5}
    assert outcome.manifest["counts"]["street views of the nearest region"] > 0
    assert sum(asked for path, asked in server.asked.items() if path.startswith("/cdn")) == 10
    (path,) = (area / "coverage").glob("*.parquet")
    assert set(gpd.read_parquet(path)["heading"]) == {90.0}


def test_full_answers_are_asked_for_in_quarters(add: Add, area: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    views = some_views(200)
    monkeypatch.setattr(mapillary, "_LIMIT", 30)
    with mapillary_like(views, most=30) as server:
        add("streetviews", f"mapillary:{server.base}")
    assert len(Area.open(area).images) == len(inside(area, views))


def test_a_view_that_is_gone_is_named_and_asked_for_again(add: Add, area: Path) -> None:
    views = some_views()
    gone = sorted(inside(area, views))[0]
    with mapillary_like(views, missing=gone) as server:
        outcome = add("streetviews", f"mapillary:{server.base}")
        assert outcome.manifest["dropped"]["picture missing: HTTP 404"] == 1
        assert f"mapillary-{gone}" in outcome.manifest["warnings"][0]
        server.asked.clear()
        add("streetviews", f"mapillary:{server.base}", retry_missing=True)
    assert {path for path in server.asked if path.startswith("/cdn")} == {f"/cdn/{gone}.jpg"}


def test_without_a_token(add: Add, area: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MAPILLARY_ACCESS_TOKEN")
    with pytest.raises(SettingError, match="no variable MAPILLARY_ACCESS_TOKEN"):
        add("streetviews", "mapillary:http://127.0.0.3:9")
    monkeypatch.setenv("OTHER", "wrong")
    with mapillary_like(some_views()) as server, pytest.raises(InputError, match=r"HTTP 401.*token"):
        add("streetviews", f"mapillary:{server.base}", token_env="OTHER")  # noqa: S106  # the name of a variable
    with pytest.raises(InputError, match="area add imagery"):
        add("streetviews", "xyz:https://example.org/{z}/{x}/{y}.png")


def test_panoramaxs_views_bring_their_licences(add: Add, area: Path) -> None:
    views = some_views()
    with panoramax_like(views) as server:
        add("streetviews", f"panoramax:{server.base}", dates="2024-01-01/2024-12-31")
        again = add("streetviews", f"panoramax:{server.base}", dates="2024-01-01/2024-12-31")
    held = Area.open(area)
    assert again.skipped and check_area(held) == []
    assert set(held.images["image_id"]) == {f"panoramax-{name}" for name in inside(area, views)}
    assert set(held.images["licence"]) == {"etalab-2.0", "CC-BY-SA-4.0"}
    assert held.images["url"].str.startswith(f"{server.base}/api/collections/c/items/").all()
    assert all("Authorization" not in headers for _, headers in server.headers)
