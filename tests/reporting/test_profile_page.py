"""The page of several indicators: what it holds, and that a browser draws it without a network or a complaint."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import pandas as pd
import pytest

from chorograph.reporting.report import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

Make = Callable[..., Any]
SPOILT = '</script><script>window.hurt = 1</script>"&'


def _profile(path: Path, area: Path, make_run: Make, **left_out: str) -> Path:
    """Write a run of two indicators: floor space, and half of it as `rent` with a title of its own."""
    run: Path = make_run(path, area)
    frame = gpd.read_parquet(run / "predictions.parquet")
    numbers = ["target", "predicted", "lower", "upper"]
    other = frame.assign(indicator="rent", supported=[k % 9 > 0 for k in range(len(frame))])
    other[numbers] = frame[numbers] / 2
    pd.concat([frame.assign(supported=True), other], ignore_index=True).to_parquet(run / "predictions.parquet")
    block = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    rent = {**block, "indicator": "rent", "title": f"Rent {SPOILT}", "unit": "EUR"}
    content = {
        "format": "chorograph-scores-2",
        "indicators": {"floor_space": block, "rent": rent},
        "left_out": left_out,
    }
    (run / "scores.json").write_text(json.dumps(content), encoding="utf-8")
    return run


@pytest.fixture
def report(tmp_path: Path, area: Path, make_run: Make) -> Path:
    return write_report(_profile(tmp_path / "run", area, make_run, crime="only 3 labels"))


def _data(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def test_every_indicator_is_in_the_table_with_a_section_and_what_was_left_out_with_its_reason(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    assert html.count('class="indicator"') == 2
    assert "Floor space" in html
    assert "only 3 labels" in html
    assert report.stat().st_size < 6_000_000


def test_the_values_are_those_of_the_run(report: Path) -> None:
    data = _data(report.read_text(encoding="utf-8"))
    frame = gpd.read_parquet(report.parent / "predictions.parquet")
    rent = frame[frame["indicator"] == "rent"]
    assert [region[0] for region in data["regions"]] == rent["region_id"].tolist()
    assert data["indicators"][1]["predicted"] == pytest.approx(rent["predicted"].tolist(), rel=1e-5)
    assert data["indicators"][1]["supported"] == rent["supported"].astype(int).tolist()
    for layer in data["indicators"][1]["layers"].values():
        assert layer["breaks"] == sorted(layer["breaks"])
        assert len(layer["colours"]) == len(layer["breaks"]) + 1 == len(layer["labels"]) + 1


def test_text_from_data_stays_text(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    assert "<script>window.hurt" not in html
    assert "default-src 'none'" in html
    assert "unsafe-eval" not in html


def test_regions_that_are_points_are_discs(tmp_path: Path, area: Path, make_run: Make) -> None:
    run = _profile(tmp_path / "run", area, make_run)
    frame = gpd.read_parquet(run / "predictions.parquet")
    frame["geometry"] = frame.geometry.representative_point()
    frame.to_parquet(run / "predictions.parquet")
    data = _data(write_report(run).read_text(encoding="utf-8"))
    assert all("a" in path for path in data["paths"])


def test_a_run_without_places_has_no_map(tmp_path: Path, area: Path, make_run: Make) -> None:
    run = _profile(tmp_path / "run", area, make_run)
    frame = pd.DataFrame(gpd.read_parquet(run / "predictions.parquet").drop(columns="geometry"))
    frame.to_parquet(run / "predictions.parquet")
    html = write_report(run).read_text(encoding="utf-8")
    assert "so there is no map" in html
    assert '<svg id="map"' not in html


@pytest.mark.browser
def test_journey_pick_an_indicator_click_a_region_compare_two(page: Page, report: Path) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"file://{report}")
    page.select_option("#indicator", "1")
    assert page.locator("#legend strong").inner_text() == f"Rent {SPOILT}"
    page.locator('#shapes path[data-row="9"]').click()
    page.locator('#shapes path[data-row="30"]').click(modifiers=["Shift"])
    assert page.locator("#cards .card").count() == 2
    assert page.locator("#cards .card tbody tr").count() == 4
    page.fill("#find", "no such region")
    page.locator("#find").blur()
    assert page.locator("#cards .card.second").count() == 1
    page.locator(".indicator summary").first.click()
    assert page.locator(".indicator svg.parity circle").count() > 20
    page.locator("#scores th button").nth(1).click()
    assert page.locator("#scores th").nth(1).get_attribute("aria-sort") == "ascending"
    with page.expect_download() as download:
        page.click("#regions-csv")
    lines = Path(download.value.path()).read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + 2 * page.locator("#shapes path").count()
    assert page.evaluate("window.hurt === undefined")
    assert not complaints
    assert {url.partition(":")[0] for url in asked} <= {"file", "data", "blob"}


@pytest.mark.browser
def test_the_section_of_the_only_indicator_is_open_and_drawn(
    page: Page, tmp_path: Path, area: Path, make_run: Make
) -> None:
    page.goto(f"file://{write_report(make_run(tmp_path / 'run', area))}")
    assert page.locator(".indicator details[open] svg.parity circle").count() > 20


@pytest.mark.browser
def test_journey_by_keyboard_on_a_phone(page: Page, report: Path) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(f"file://{report}")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.focus("#map")
    page.keyboard.press("ArrowRight")
    first = page.locator("#tip").inner_text()
    page.keyboard.press("ArrowRight")
    assert page.locator("#tip").inner_text() not in ("", first)
    page.keyboard.press("Enter")
    assert page.locator("#cards .card.first h3").inner_text() != ""
    page.keyboard.press("Escape")
    assert page.locator("#cards .card").count() == 0
