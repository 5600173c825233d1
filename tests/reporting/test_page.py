"""The report as a file: it loads nothing, escapes everything, and says what is wrong with its data."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from chorograph.area.folder import Area
from chorograph.reporting.report import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

Make = Callable[..., Any]
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'&"


class Elements(HTMLParser):
    """Collects what a browser would load, the text outside scripts, and every tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.style = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._inside = tag if tag in ("script", "style") else ""
        for name, value in attrs:
            if name in ("src", "href", "srcset", "poster", "data", "action") and value is not None:
                self.loads.append(value)
            if name == "style":
                self.style += value or ""

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.style += data
        elif self._inside != "script":
            self.text += " " + data


def read(path: Path) -> Elements:
    elements = Elements(path.read_text(encoding="utf-8"))
    elements.text = re.sub(r"\s+", " ", elements.text)
    return elements


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory, area: Path, make_run: Make) -> Path:
    return write_report(make_run(tmp_path_factory.mktemp("runs") / "run", area))


def test_the_page_loads_nothing(report: Path) -> None:
    elements = read(report)
    assert elements.loads
    assert all(load.startswith(("data:image/jpeg;base64,", "#")) for load in elements.loads)
    assert "link" not in elements.tags
    assert elements.style.replace("url(#hatch)", "").count("url(") == 0
    assert "@import" not in elements.style
    assert "default-src 'none'" in report.read_text(encoding="utf-8")
    assert report.stat().st_size < 4e6


def test_it_holds_what_a_reader_looks_for(report: Path) -> None:
    text = read(report).text
    for expected in (
        "Floor space", "Gridville", "Synthetic data", "The model explains 81", "Beats the best baseline",
        "prediction", "known truth", "residual", "interval width", "unlabelled", "Predicted against truth", "RMSE, m2",
        "what location means", "Best", "Worst", "Most uncertain", "1 indicator of 64 regions",
        "6 km a side", "3 tiles could not be read",
        "Made tiles", "CC0-1.0", "simplified", f"{12} without labels",
    ):  # fmt: skip
        assert expected in text, expected
    assert "leaky" not in text


def test_tiles_are_small_and_described(report: Path) -> None:
    html = report.read_text(encoding="utf-8")
    found = re.search(r'"tiles": (\[\[.*?\]\])', html)
    assert found is not None
    tiles = json.loads(found[1])
    assert [len(own) for own in tiles] == [2] * 64
    assert html.count('class="tiles" data-row=') == 9
    assert '"Satellite tile "' in html, "the script describes each"


def test_leaky_scores_are_called_so_loudly(tmp_path: Path, area: Path, make_run: Make) -> None:
    run = make_run(tmp_path / "run", area, leaky=True, split={"name": "random", "folds": 5})
    elements = read(write_report(run))
    assert elements.text.count("leaky: neighbours on both sides") >= 1
    assert 'class="banner leaky"' in (run / "report.html").read_text(encoding="utf-8")


def test_a_real_place_is_not_called_synthetic(tmp_path: Path, make_run: Make, make_area: Make) -> None:
    place = make_area(tmp_path / "real", synthetic=False)
    assert "Synthetic data" not in read(write_report(make_run(tmp_path / "run", place))).text


def test_hostile_text_stays_text(tmp_path: Path, make_run: Make, make_area: Make, make_row: Make) -> None:
    place = make_area(tmp_path / "area", title=HOSTILE, name=HOSTILE)
    rows = [make_row(HOSTILE, "model", 0.8), make_row("location", "baseline", 0.1, meaning=HOSTILE)]
    run = make_run(
        tmp_path / "run", place, rows=rows, warnings=[HOSTILE], unit=HOSTILE, counts={HOSTILE: 3},
        split={"name": HOSTILE}, frame=lambda frame: frame.assign(basis=HOSTILE),
    )  # fmt: skip
    html = write_report(run).read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert "<script>alert" not in html
    assert html.count("<script") == html.count("</script>") == 2


def test_a_region_s_description_is_in_the_page_as_text(tmp_path: Path, make_run: Make, make_area: Make) -> None:
    place = make_area(tmp_path / "area")
    run = make_run(tmp_path / "run", place)
    assert _said(write_report(run)) == [[]] * 64
    lines = [
        ("r001", "Second.", 1, "e1", "facts"),
        ("r001", "First.", 0, "e1", "facts"),
        ("r001", HOSTILE, 2, "e1", "model:m"),
    ]
    columns = ["region_id", "sentence", "rank", "evidence", "origin"]
    Area.open(place).write("descriptions", pd.DataFrame(lines, columns=columns))
    html = write_report(run).read_text(encoding="utf-8")
    assert _said(run / "report.html")[1] == [["First. Second.", "facts"], [HOSTILE, "model:m"]]
    assert "<img src=x" not in html
    assert html.count("<script") == html.count("</script>") == 2


@pytest.mark.browser
def test_the_card_of_a_region_shows_its_description(
    page: Page, tmp_path: Path, make_run: Make, make_area: Make
) -> None:
    place = make_area(tmp_path / "area")
    lines = pd.DataFrame({"region_id": "r001", "sentence": ["Roofs.", HOSTILE], "rank": [0, 1], "evidence": "c1"})
    Area.open(place).write("descriptions", lines.assign(origin=["facts", "model:m"]))
    page.goto(f"file://{write_report(make_run(tmp_path / 'run', place))}")
    page.locator('#shapes path[data-row="1"]').click()
    assert page.locator("#cards .said p").all_inner_texts() == ["Roofs. from facts", f"{HOSTILE} from model:m"]
    page.locator('#shapes path[data-row="2"]').click()
    assert page.locator("#cards .said p").count() == 0


def _said(report: Path) -> list[Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', report.read_text(encoding="utf-8"))
    assert found is not None
    said: list[Any] = json.loads(found[1])["said"]
    return said


def test_regions_without_label_prediction_or_polygon_are_counted(tmp_path: Path, area: Path, make_run: Make) -> None:
    def spoil(frame):  # type: ignore[no-untyped-def]
        frame.loc[20, ["predicted", "lower", "upper"]] = np.nan
        frame.loc[30, "geometry"] = None
        frame["fold"] = frame["fold"].mask(frame.index == 40)
        return frame

    text = read(write_report(make_run(tmp_path / "run", area, frame=spoil))).text
    assert "1 regions have no polygon and are not on the map" in text
    assert "1 regions could not be predicted" in text
    assert "2 labelled but not compared" in text
    assert "50 predicted while held out" in text


def test_nothing_labelled_still_draws(tmp_path: Path, area: Path, make_run: Make) -> None:
    run = make_run(tmp_path / "run", area, frame=lambda frame: frame.assign(target=np.nan, fold=None))
    assert "64 without labels" in read(write_report(run)).text


def test_a_logarithmic_indicator_says_what_was_fitted(tmp_path: Path, area: Path, make_run: Make) -> None:
    run = make_run(tmp_path / "run", area, log=True, fitted_unit="ln(m2)")
    text = read(write_report(run)).text
    assert "RMSE, ln(m2)" in text


def test_a_share_and_an_unstated_unit_are_written_plainly(tmp_path: Path, area: Path, make_run: Make) -> None:
    share = make_run(tmp_path / "share", area, unit="share of population", fitted_unit="share of population")
    text = read(write_report(share)).text
    assert "Floor space" in text
    assert "RMSE, share of population" in text
    unstated = make_run(tmp_path / "unstated", area, unit="unstated", fitted_unit="ln(unstated)", log=True)
    text = read(write_report(unstated)).text
    assert "unstated" not in text
    assert "MAE, unit not stated" in text


def test_a_moved_area_costs_tiles_and_sources_only(tmp_path: Path, make_run: Make) -> None:
    text = read(write_report(make_run(tmp_path / "run", tmp_path / "gone"))).text
    assert "'gone' is no longer where the manifest says" in text
    assert str(tmp_path) not in text
    assert "Most uncertain" not in text
    assert "No sources are recorded" in text


def test_tiles_that_cannot_be_opened_are_counted(tmp_path: Path, make_run: Make, make_area: Make) -> None:
    place = make_area(tmp_path / "area")
    for uri in Area.open(place).images["uri"]:
        (place / uri).write_bytes(b"no image")
    text = read(write_report(make_run(tmp_path / "run", place))).text
    assert "Tiles that could not be opened: 128 not an image" in text


def test_regions_without_any_polygon_have_no_maps(tmp_path: Path, area: Path, make_run: Make) -> None:
    run = make_run(tmp_path / "run", area, frame=lambda frame: frame.assign(geometry=None))
    text = read(write_report(run)).text
    assert "no polygons and no points, so there is no map" in text
    assert "Predicted against truth" in text


def test_constant_intervals_have_no_most_uncertain_region(tmp_path: Path, area: Path, make_run: Make) -> None:
    def constant(frame):  # type: ignore[no-untyped-def]
        return frame.assign(lower=frame["predicted"] - 50, upper=frame["predicted"] + 50)

    assert "Most uncertain" not in read(write_report(make_run(tmp_path / "run", area, frame=constant))).text


def test_the_page_goes_where_it_is_asked_to(tmp_path: Path, area: Path, make_run: Make) -> None:
    run = make_run(tmp_path / "run", area)
    out = write_report(run, tmp_path / "elsewhere" / "page.html")
    assert out == tmp_path / "elsewhere" / "page.html"
    assert sorted(path.name for path in out.parent.iterdir()) == ["page.html"]
    assert not (run / "report.html").exists()


def test_what_to_expect_without_labels_and_by_distance_is_told(tmp_path: Path, area: Path, make_run: Make) -> None:
    expected = {
        "split": "distance_matched", "n": 52, "r2": [0.71, 0.6, 0.79], "coverage": [0.88, 0.8, 0.93], "w_m": 120.0,
        "use_m": [900.0, 2100.0, 4000.0], "tested_m": [800.0, 2000.0, 3900.0],
    }  # fmt: skip
    run = make_run(tmp_path / "run", area, unlabelled=expected)
    (run / "intervals_by_distance.csv").write_text(
        "indicator,from_m,to_m,regions,coverage,mean_width,unlabelled\n"
        "floor_space,0.0,950.0,26,0.96,110.0,2\nfloor_space,950.0,4000.0,26,0.85,130.0,10\nother,0,1,1,1,1,1\n"
    )
    text = read(write_report(run)).text
    assert "R² where unlabelled" in text
    assert "expect R² 0.71 (0.60 to 0.79), and 88 % of truths inside the intervals" in text
    assert "950\xa0m to 4\xa0km 26 85 %" in text.replace("950 m", "950\xa0m").replace("4 km", "4\xa0km")
    assert "R² where unlabelled" not in read(write_report(make_run(tmp_path / "all", area))).text


def test_roads_water_and_names_are_drawn_where_the_area_has_them(
    tmp_path: Path, make_run: Make, make_area: Make
) -> None:
    place = make_area(tmp_path / "area")
    assert "Roads, water and names" not in read(write_report(make_run(tmp_path / "bare", place))).text
    west, south, east, north = Area.open(place).regions.total_bounds
    shapes = [
        shapely.LineString([(west, south), (east, north)]), shapely.box(west, south, east, south + 0.01),
        shapely.Point(west, north),
    ]  # fmt: skip
    columns = {"feature": ["way/1", "way/2", "node/3"], "kind": ["road", "water", "place"], "rank": [1, 1, 1]}
    context = gpd.GeoDataFrame({**columns, "name": ["A1", None, HOSTILE]}, geometry=shapes, crs=4326)
    Area.open(place).write("context", context)
    report = write_report(make_run(tmp_path / "run", place))
    assert "Roads, water and names" in read(report).text
    html = report.read_text(encoding="utf-8")
    assert "<img src=x" not in html
    assert '"roads": ["M' in html
