"""A polygon with pictures, sent to the server: predictions with intervals, or a reason in words."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest
import shapely

from chorograph.serving.api.app import Serving, create_app
from chorograph.serving.api.guard import Access
from chorograph.serving.catalogue.served import Catalogue
from chorograph.verbs.predict import Settings, run


@pytest.fixture(scope="module")
def place(city: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The city with a run of `predict` beside it, and one whose manifest does not say how it was fitted."""
    place = tmp_path_factory.mktemp("predict") / "city"
    shutil.copytree(city, place)
    shutil.rmtree(place / "income-worse")
    manifest = place / "income" / "manifest.json"
    manifest.write_text(manifest.read_text().replace(str(city), str(place)))
    asked = Settings(
        area=place / "area", indicator=["median_income"], embeddings="colour", modalities="image", probe="ridge",
        split="random", unlabelled=False, log=True, out=place / "fitted",
    )  # fmt: skip
    run(asked, lambda *_: None)
    return place


@pytest.fixture(scope="module")
def address(place: Path, run_app: Callable[[Any], Any]) -> Iterator[str]:
    app = create_app(Serving(Catalogue.open([place], cache=False), Access("a-token-of-a-test"), warm=False))
    with run_app(app) as address:
        yield address


def ask(address: str, region: str, images: list[bytes], **fields: str) -> httpx.Response:
    """Post a region; ask again while the model is being fitted."""
    files = [("images", (f"{number}.jpg", body, "image/jpeg")) for number, body in enumerate(images)]
    end = time.monotonic() + 300
    while True:
        answer = httpx.post(f"{address}/predict", data={"region": region, **fields}, files=files or None, timeout=120)
        if answer.status_code != 503 or time.monotonic() > end:
            return answer
        time.sleep(float(answer.headers["retry-after"]) / 10)


def test_an_unlabelled_region_gets_what_the_run_says_of_it(address: str, place: Path) -> None:
    frame = pd.read_parquet(place / "fitted" / "predictions.parquet").set_index("region_id")
    region_id = frame.index[frame["fold"].isna() & frame["predicted"].notna()][0]
    images = pd.read_parquet(place / "area" / "images.parquet")
    own = images[(images["region_id"] == region_id) & (images["view"] == "satellite")]
    bodies = [(place / "area" / uri).read_bytes() for uri in own["uri"]]
    shape = shapely.from_wkb(frame["geometry"][region_id])
    feature = json.dumps({"type": "Feature", "properties": {}, "geometry": json.loads(shapely.to_geojson(shape))})
    told = ask(address, feature, bodies, run="fitted").json()
    (income,) = told["indicators"]
    assert told["run"] == "fitted"
    assert told["note"] == ""
    assert told["overlaps"] == [region_id]
    for name in ("predicted", "lower", "upper"):
        assert income[name] == pytest.approx(frame[name][region_id], rel=1e-3)
    assert income["unit"] == "crowns/year"
    # A polygon of twice the corners of a square elsewhere overlaps nothing.
    far = shapely.to_geojson(shapely.box(20, 20, 20.01, 20.01))
    assert ask(address, far, bodies, run="fitted").json()["overlaps"] == []


def test_what_cannot_be_predicted_is_said_in_words(address: str) -> None:
    square = shapely.to_geojson(shapely.box(0, 0, 0.01, 0.01))
    bow = '{"type":"Polygon","coordinates":[[[0,0],[1,1],[1,0],[0,1],[0,0]]]}'
    many = json.dumps({"type": "Polygon", "coordinates": [[[0, n / 1e5] for n in range(20_000)] + [[1, 0], [0, 0]]]})
    for region, images, fields, said in [
        ("", [], {}, "region"), ("{", [], {}, "GeoJSON"), ("[1]", [], {}, "GeoJSON"), ("[" * 9999, [], {}, "GeoJSON"),
        ('{"type":"Point","coordinates":[0,0]}', [], {}, "Polygon"), (bow, [], {}, "valid"), (many, [], {}, "corners"),
        (shapely.to_geojson(shapely.box(0, 0, 400, 1)), [], {}, "degrees"),
        (square, [b"<svg/>"], {"run": "fitted"}, "picture"), (square, [], {"run": "fitted"}, "pictures"),
        (square, [], {"run": "income"}, "how its model was fitted"), (square, [], {"run": "../etc"}, "run"),
        (square, [b"x"] * 33, {"run": "fitted"}, "32"),
    ]:  # fmt: skip
        answer = ask(address, region, images, **fields)
        assert answer.status_code in (400, 404), (region[:40], answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert said in answer.json()["detail"], answer.text


def test_a_changed_area_is_told(place: Path, run_app: Callable[[Any], Any], tmp_path: Path) -> None:
    other = tmp_path / "city"
    shutil.copytree(place, other)
    for manifest in other.glob("*/manifest.json"):
        manifest.write_text(manifest.read_text().replace(str(place), str(other)))
    rows = pd.read_parquet(other / "area" / "indicators.parquet")
    rows.to_parquet(other / "area" / "indicators.parquet", compression="gzip")
    app = create_app(Serving(Catalogue.open([other], cache=False), Access("a-token-of-a-test"), warm=False))
    picture = next((other / "area" / "images").glob("**/*.jpg")).read_bytes()
    with run_app(app) as address:
        told = ask(address, shapely.to_geojson(shapely.box(0, 0, 0.01, 0.01)), [picture], run="fitted").json()
    assert "indicators.parquet" in told["note"]


def test_inputs_are_looked_for_where_the_area_was_moved_to(tmp_path: Path) -> None:
    from chorograph.ground.stage import fingerprint
    from chorograph.serving.catalogue.predictor import _note

    (tmp_path / "regions.parquet").write_bytes(b"regions")
    held = fingerprint(tmp_path / "regions.parquet")
    assert _note({"/elsewhere/area/regions.parquet": held}, "/elsewhere/area", tmp_path) == ""
    assert "regions.parquet" in _note({"/elsewhere/area/regions.parquet": "0"}, "/elsewhere/area", tmp_path)
