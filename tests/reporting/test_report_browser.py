"""The report as a reader meets it: double-clicked, in Chromium, on a small laptop."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from chorograph.reporting.maps import FRAME_WIDTH
from chorograph.reporting.report import write_report

Make = Callable[..., Any]
HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\"'&"

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser
DRAWN = "() => window.Bokeh && Bokeh.documents.length && Bokeh.documents.every(page => page.is_idle)"


def colours(place: Locator) -> int:
    """Count the distinct colours of what is on the screen there."""
    pixels = np.asarray(Image.open(io.BytesIO(place.screenshot())).convert("RGB"))
    return len(np.unique(pixels.reshape(-1, 3), axis=0))


def open_report(page: Page, path: Path) -> tuple[list[str], list[str]]:
    """Open the page; returns what it requested and what it complained about."""
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(dialog.message), dialog.dismiss()))
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.goto(path.as_uri())
    page.wait_for_function(DRAWN)
    return requests, complaints


def middle_of_second_region(page: Page) -> tuple[float, float]:
    """Return where on the screen the middle of r001 lies in the first map: second from the left, bottom row."""
    box = page.locator("figure").first.locator("canvas").first.bounding_box()
    assert box is not None
    west, east, _, north = page.evaluate(
        """() => ["map-x", "map-y"].flatMap(name => {
            const range = Bokeh.documents[0].get_model_by_name(name);
            return [range.start, range.end];
        })"""
    )
    pixel = (east - west) / FRAME_WIDTH
    side = 0.009 * 111_000  # a region's side in metres, of eight that lie about the origin
    return box["x"] + (-2.5 * side - west) / pixel, box["y"] + (north + 3.5 * side) / pixel


def test_it_draws_from_a_file_without_network(page: Page, tmp_path: Path, area: Path, make_run: Make) -> None:
    report = write_report(make_run(tmp_path / "run", area))
    requests, complaints = open_report(page, report)
    assert [url for url in requests if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 1366
    for title in ("Prediction", "Truth", "Residual", "Interval width", "Predicted against truth"):
        figure = page.locator("figure", has=page.locator("figcaption", has_text=title)).first
        assert figure.locator("canvas").count() > 0
        assert colours(figure) > 60, f"{title} looks blank"


def test_prediction_and_truth_share_the_first_screen(page: Page, tmp_path: Path, area: Path, make_run: Make) -> None:
    open_report(page, write_report(make_run(tmp_path / "run", area)))
    boxes = [page.locator("figure").nth(index).bounding_box() for index in (0, 1)]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["y"] + 300 < 768


def test_a_clicked_region_is_picked_everywhere_until_escape(
    page: Page, tmp_path: Path, area: Path, make_run: Make
) -> None:
    open_report(page, write_report(make_run(tmp_path / "run", area)))
    picked = "() => Bokeh.documents[0].get_model_by_name('regions').selected.indices"
    x, y = middle_of_second_region(page)
    page.mouse.click(x, y)
    page.wait_for_timeout(400)  # a tap waits to see whether it becomes a double one
    assert page.evaluate(picked) == [1]
    page.keyboard.press("Escape")
    assert page.evaluate(picked) == []


def test_maps_move_together_and_the_pointer_tells_values(
    page: Page, tmp_path: Path, make_run: Make, make_area: Make
) -> None:
    place = make_area(tmp_path / "area", name=HOSTILE)
    _, complaints = open_report(page, write_report(make_run(tmp_path / "run", place)))
    start = "() => Bokeh.documents[0].get_model_by_name('map-x').start"
    before = page.evaluate(start)
    x, y = middle_of_second_region(page)
    page.mouse.move(x, y)
    page.wait_for_timeout(300)
    tooltip = page.locator(".bk-tooltip-content").first.inner_text()
    assert HOSTILE in tooltip
    assert "m2" in tooltip
    page.mouse.down()
    page.mouse.move(x + 60, y, steps=4)
    page.mouse.up()
    assert page.evaluate(start) < before
    page.get_by_role("button", name="Whole area").click()
    assert page.evaluate(start) == pytest.approx(before)
    assert complaints == []
