"""The interfaces, as other programs meet them."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import geopandas as gpd
import httpx
import mapbox_vector_tile
import numpy as np
import pytest
import shapely

from chorograph.serving.catalogue.served import Catalogue, ServedArea


def get(server: str, path: str, **options: Any) -> httpx.Response:
    return httpx.get(f"{server}{path}", timeout=60, **options)


_GDAL = """
import json, sys, pyogrio
source, out, box = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
info = pyogrio.read_info(source, layer="city")
frame = pyogrio.read_dataframe(source, layer="city", bbox=box and tuple(box))
frame.to_parquet(out)
types = dict(zip(info["fields"].tolist(), info["dtypes"].tolist()))
print(json.dumps({"layers": pyogrio.list_layers(source)[:, 0].tolist(), "types": types, "crs": info["crs"]}))
"""


def read_by_gdal(
    server: str, out: Path, box: tuple[float, ...] | None = None
) -> tuple[dict[str, Any], gpd.GeoDataFrame]:
    """Read the server as a layer in a process of its own: GDAL waits for an answer with Python's lock in its hand."""
    words = [sys.executable, "-c", _GDAL, f"OAPIF:{server}", str(out), json.dumps(box)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), gpd.read_parquet(out)


def test_gdal_reads_every_region_with_types_and_crs(server: str, served: ServedArea, tmp_path: Path) -> None:
    info, frame = read_by_gdal(server, tmp_path / "all.parquet")
    assert info["layers"] == ["city"]
    assert "CRS84" in info["crs"]
    assert info["types"]["median_income_predicted"] == "float64"
    assert info["types"]["region_id"] in ("object", "str")
    frame = frame.sort_values("region_id", ignore_index=True)
    assert frame["region_id"].tolist() == sorted(served.index)
    expected = served.regions.sort_values("region_id", ignore_index=True)
    assert shapely.equals_exact(frame.geometry.values, expected.geometry.values, tolerance=1e-9).all()
    known = dict(zip(served.index, served.layer("median_income").observed, strict=True))
    assert np.allclose(frame["median_income_observed"], [known[i] for i in frame["region_id"]], equal_nan=True)


def test_gdal_s_box_is_answered_by_the_server(server: str, served: ServedArea, tmp_path: Path) -> None:
    west, south, east, north = served.bounds
    box = (west, south, (west + east) / 2, (south + north) / 2)
    _, frame = read_by_gdal(server, tmp_path / "part.parquet", box)
    expected = served.regions[served.regions.intersects(shapely.box(*box))]
    assert sorted(frame["region_id"]) == sorted(expected["region_id"])
    assert 0 < len(frame) < len(served.regions)
    asked = get(server, "/collections/city/items", params={"bbox": ",".join(map(str, box)), "limit": 1}).json()
    assert asked["numberMatched"] == len(expected)


def test_pages_of_items_follow_each_other_and_hold_each_region_once(server: str) -> None:
    address: str | None = f"{server}/collections/city/items?limit=7"
    seen: list[str] = []
    while address:
        answer = httpx.get(address).json()
        assert answer["numberReturned"] == len(answer["features"]) <= 7
        seen += [feature["id"] for feature in answer["features"]]
        address = next((link["href"] for link in answer["links"] if link["rel"] == "next"), None)
    assert len(seen) == len(set(seen)) == 60


def test_items_are_asked_by_properties(server: str, served: ServedArea) -> None:
    group = str(served.regions["group"].iloc[0])
    answer = get(server, "/collections/city/items", params={"group": group}).json()
    assert {feature["properties"]["group"] for feature in answer["features"]} == {group}
    assert answer["numberMatched"] == int((served.regions["group"] == group).sum())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/collections/nowhere", 404),
        ("/collections/city/items/nobody", 404),
        ("/collections/city/items?bbox=1,2,3", 400),
        ("/collections/city/items?bbox=nan,0,1,1", 400),
        ("/collections/city/items?limit=0", 400),
        ("/collections/city/items?colour=red", 400),
        ("/collections/city/items?crs=http://www.opengis.net/def/crs/EPSG/0/3857", 400),
        ("/collections/city/tiles/WebMercatorQuad/3/9/1", 404),
        ("/collections/city/tiles/OtherSet", 400),
        ("/areas/city/layers/nothing.json", 404),
        ("/areas/city/layers/population.json?measure=predicted", 400),
        ("/areas/city/images/..%2F..%2Farea.toml", 404),
        ("/areas/city/images/%2Fetc%2Fpasswd", 404),
        ("/static/..%2F..%2F..%2Fpyproject.toml", 404),
        ("/maplibre/../../area.toml", 404),
        ("/search?q=", 400),
        ("/search?q=%20", 400),
        ("/similar?region=nobody", 404),
        ("/nothing", 404),
    ],
)
def test_what_cannot_be_answered_is_a_problem_in_words(server: str, path: str, status: int) -> None:
    answer = get(server, path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_landing_is_json_for_programs_and_a_map_for_browsers(server: str) -> None:
    landing = get(server, "/", headers={"Accept": "application/json"}).json()
    assert {"service-desc", "conformance", "data"} <= {link["rel"] for link in landing["links"]}
    browser = get(server, "/", headers={"Accept": "text/html,application/xhtml+xml,*/*"})
    assert browser.headers["location"] == "/areas/city"
    assert get(server, "/index.json").json()["areas"] == ["city"]


def test_a_page_offers_only_what_the_area_can_answer(server: str, city: Path, tmp_path: Path, run_app: Any) -> None:
    from chorograph.serving.api.app import Serving, create_app
    from chorograph.serving.api.guard import Access

    parts = ('id="search"', 'id="picture"', 'id="like"', "/rate")
    assert all(part in get(server, "/areas/city").text for part in parts)
    mute = tmp_path / "mute" / "area"
    shutil.copytree(city / "area", mute, ignore=shutil.ignore_patterns("embeddings", "captions.parquet"))
    app = create_app(Serving(Catalogue.open([mute], cache=False), Access("a-token-for-tests"), stores={}, warm=False))
    with run_app(app) as address:
        slug = get(address, "/index.json").json()["areas"][0]
        page = get(address, f"/areas/{slug}").text
    assert 'id="indicator"' in page
    assert not [part for part in parts if part in page]


def test_a_damaged_file_is_named_in_the_log_and_not_to_who_asks(
    city: Path, tmp_path: Path, run_app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from chorograph.serving.api.app import Serving, create_app
    from chorograph.serving.api.guard import Access

    place = tmp_path / "hurt" / "area"
    shutil.copytree(city / "area", place, ignore=shutil.ignore_patterns("images", "embeddings"))
    app = create_app(Serving(Catalogue.open([place], cache=False), Access("a-token-for-tests"), warm=False))
    (place / "captions.parquet").write_bytes(b"PAR1 no more")
    with run_app(app) as address:
        slug = get(address, "/index.json").json()["areas"][0]
        answer = get(address, f"/search?area={slug}&q=houses")
    assert answer.status_code == 500
    assert answer.json()["detail"] == "the server cannot answer from its files; its log says why"
    assert str(place / "captions.parquet") in caplog.text


def test_a_tile_holds_the_classes_of_its_layer(server: str) -> None:
    tiles = get(server, "/collections/city/tiles").json()["tilesets"]
    assert tiles[0]["dataType"] == "vector"
    found: dict[int, Any] = {}
    for row in (127, 128):
        for column in (127, 128):
            path = f"/collections/city/tiles/WebMercatorQuad/8/{row}/{column}"
            answer = get(server, path, params={"layer": "median_income", "measure": "predicted"})
            decoded = mapbox_vector_tile.decode(answer.content)
            found |= {f["id"]: f["properties"] for f in decoded["regions"]["features"]}
    assert sorted(found) == list(range(60))
    assert all(1 <= properties["v"] <= 186 for properties in found.values())
    assert {row for row, properties in found.items() if properties.get("u")} == set(range(0, 60, 10))


def test_numbers_come_in_the_order_of_names(server: str, served: ServedArea) -> None:
    names = get(server, "/areas/city/names.json").json()
    rows = np.frombuffer(get(server, "/areas/city/layers/median_income/values").content, "<f4").reshape(6, -1)
    layer = served.layer("median_income")
    assert names["ids"] == served.index.tolist()
    assert np.allclose(rows[0], layer.observed, equal_nan=True)
    assert np.allclose(rows[1], layer.run().predicted, equal_nan=True)


def test_a_card_is_a_page_and_json_at_the_same_address(server: str) -> None:
    told = get(server, "/areas/city/regions/R01.json").json()
    page = get(server, "/areas/city/regions/R01")
    assert page.headers["content-type"].startswith("text/html")
    assert told["name"] in page.text
    assert told["similar"]
    assert get(server, "/describe", params={"region": "R01"}).json() == told


def test_names_and_captions_are_shown_never_run(server: str) -> None:
    pages = [get(server, path).text for path in ("/areas/city/regions/R06", "/areas/city", "/areas/city/regions/R01")]
    assert all("<script>alert" not in page and "<img src=x" not in page for page in pages)
    assert "&lt;script&gt;alert(2)" in pages[0]


def test_search_falls_back_on_captions_and_says_so(server: str) -> None:
    answer = get(server, "/search", params={"q": "railway", "k": 5}).json()
    assert answer["by"] == "words"
    assert "captions" in answer["note"]
    assert answer["hits"]
    assert all("rail" in " ".join(hit["texts"]) for hit in answer["hits"])
    none = get(server, "/search", params={"q": "railway", "bbox": "100,40,101,41"}).json()
    assert none["hits"] == []


def test_an_image_of_a_region_finds_that_region(server: str, city: Path) -> None:
    told = get(server, "/areas/city/regions/R09.json").json()
    satellite = next(image for image in told["images"] if image["view"] == "satellite")
    picture = city / "area" / "images" / f"{satellite['id']}.jpg"
    answer = httpx.post(f"{server}/similar", content=picture.read_bytes(), params={"k": 3}, timeout=60)
    assert answer.json()["hits"][0]["id"] == "R09"


def test_pictures_leave_as_pixels_only(server: str, served: ServedArea) -> None:
    answer = get(server, f"/areas/city/images/{served.images['image_id'].iloc[0]}", params={"size": 64})
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content[:3] == b"\xff\xd8\xff"


def test_the_area_s_imagery_lies_on_the_map(server: str, served: ServedArea) -> None:
    z, x, y = next(iter(served.map_tiles))
    assert get(server, f"/areas/city/imagery/{z}/{x}/{y}").content[:3] == b"\xff\xd8\xff"
    assert get(server, f"/areas/city/imagery/{z - 2}/{x // 4}/{y // 4}").content[:3] == b"\xff\xd8\xff"
    assert get(server, f"/areas/city/imagery/{z}/0/0").status_code == 204


def test_the_description_names_every_operation_and_its_problems(server: str) -> None:
    answer = get(server, "/api")
    assert answer.headers["content-type"] == "application/vnd.oai.openapi+json;version=3.0"
    described = answer.json()
    operations = [operation for path in described["paths"].values() for operation in path.values()]
    assert len(operations) > 20
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    assert all("default" in operation["responses"] for operation in operations)


def test_health_and_meters(server: str) -> None:
    assert get(server, "/health").json()["status"] == "ok"
    assert 'chorograph_requests_total{code="200",method="GET"}' in get(server, "/metrics").text


def test_answers_are_squeezed_where_the_client_can(server: str) -> None:
    answer = httpx.get(f"{server}/collections/city/items", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert len(json.loads(answer.content)["features"]) == 60
    assert len(gzip.compress(answer.content)) < len(answer.content)
