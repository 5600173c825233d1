"""The pages as a planner meets them, in Chromium: nothing complains, nothing leaves the machine, no barrier."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from watching import Watched, barriers, wait

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
TOKEN = "a-token-for-these-tests"  # noqa: S105


def state(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


@pytest.fixture
def watched(page: Page, server: str) -> Watched:
    return Watched(page, server)


def test_a_map_is_opened_changed_clicked_and_compared(watched: Watched) -> None:
    page = watched.open("/areas/city")
    assert "crowns/year" in page.inner_text("#legend")
    page.select_option("#indicator", "population")
    wait(lambda: "people" in page.inner_text("#legend"))
    page.select_option("#indicator", "median_income")
    wait(lambda: page.locator("#measures input").count() == 4)
    page.check("#measures input[value=residual]")
    wait(lambda: "observed less predicted" in page.inner_text("#legend"))
    box = page.locator("#map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    # The map may still be drawing: the pointer moves until there is something under it.
    wait(lambda: page.mouse.move(x + 3, y) or page.mouse.move(x, y) or page.is_visible("#tip"))
    name = page.inner_text("#tip strong")
    page.mouse.click(x, y)
    wait(lambda: page.is_visible("#card") and page.inner_text("#card-inside h2") == name)
    page.click("#pin")
    page.locator("#card-inside .chips a").first.click()
    wait(lambda: page.inner_text("#card-inside h2") != name)
    page.click("#pin")
    page.click("#open-compare")
    wait(lambda: page.locator(".compare-table thead th").count() == 3)
    assert name in page.inner_text(".compare-table thead")
    page.keyboard.press("Escape")
    assert state(page)["measure"] == ["residual"]
    assert len(state(page)["with"]) == 2
    assert watched.is_well()


def test_a_link_gives_the_same_view_again(watched: Watched) -> None:
    page = watched.open(
        "/areas/city?indicator=median_income&measure=width&method=continuous&region=R04&with=R01&with=R02"
    )
    assert page.input_value("#method") == "continuous"
    assert page.is_checked("#measures input[value=width]")
    assert "R04" in page.inner_text("#card-inside .card-head")
    assert page.is_visible("#open-compare")
    before = state(page)
    again = watched.open(page.url.removeprefix(watched.server))
    assert state(again) == before
    assert watched.is_well()


def test_places_are_found_by_words_and_by_likeness(watched: Watched) -> None:
    page = watched.open("/areas/city")
    page.fill("#q", "railway")
    page.press("#q", "Enter")
    wait(lambda: page.locator("#found button").count() > 0)
    assert "captions" in page.inner_text("#found-note")
    page.locator("#found button").first.click()
    wait(lambda: page.is_visible("#card"))
    first = page.inner_text("#card-inside h2")
    page.click("#like")
    wait(lambda: "imagery" in page.inner_text("#found-note"))
    assert first not in page.inner_text("#found")
    assert "like" in state(page)
    assert watched.is_well()


def test_everything_is_reached_by_keyboard(watched: Watched) -> None:
    page = watched.open("/areas/city")

    def entered() -> bool:
        # Until the map is drawn there is no region under its middle to enter.
        page.locator("#map canvas").focus()
        page.keyboard.press("Enter")
        time.sleep(0.5)
        return bool(page.is_visible("#card"))

    wait(entered)
    page.keyboard.press("Escape")
    wait(lambda: not page.is_visible("#card"))
    page.fill("#name", "R09")
    page.press("#name", "Tab")
    page.keyboard.press("Enter")
    wait(lambda: page.is_visible("#card"))
    assert "R09" in page.inner_text("#card-inside .card-head")
    wait(lambda: page.evaluate("document.activeElement.id") == "card")
    assert watched.is_well()


def test_hostile_names_are_only_text(watched: Watched) -> None:
    page = watched.open("/areas/city?region=R06&with=R06&with=R01")
    assert "alert(2)" in page.inner_text("#card-inside h2")
    page.click("#open-compare")
    wait(lambda: page.locator(".compare-table").count() == 1)
    assert watched.is_well()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1366, 390])
def test_no_barrier_in_light_or_dark_wide_or_narrow(browser: Any, server: str, scheme: str, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 780}, color_scheme=scheme)
    watched = Watched(page, server)
    watched.open("/areas/city?region=R04&q=railway")
    wait(lambda: page.locator("#found button").count() > 0)
    assert not barriers(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    watched.open("/areas/city?with=R01&with=R02")
    page.click("#open-compare")
    wait(lambda: page.locator(".compare-table").count() == 1)
    assert not barriers(page)
    page.goto(f"{server}/areas/city/regions/R04")
    assert not barriers(page)
    assert watched.is_well()
    page.close()


def test_ten_pairs_are_rated_by_keyboard_and_read_back(watched: Watched, server: str) -> None:
    page = watched.page
    page.goto(f"{server}/areas/city/rate?token={TOKEN}")
    page.fill("#rater", "planner 7")
    page.press("#rater", "Enter")
    wait(lambda: "rated 0 of" in page.inner_text("#said"))
    for number in range(1, 11):
        for key in "453":
            page.keyboard.press(key)
        wait(lambda number=number: f"rated {number} of" in page.inner_text("#said"))
    page.keyboard.press("u")
    wait(lambda: "rated 9 of" in page.inner_text("#said"))
    page.keyboard.press("s")
    wait(lambda: "skipped 1" in page.inner_text("#said"))
    assert not barriers(page)
    rows = [
        line.split(",")
        for line in httpx.get(f"{server}/ratings/export", params={"format": "csv"}).text.splitlines()
        if ",planner 7," in line
    ]
    assert len(rows) == 27
    marks = {(row[3], float(row[4])) for row in rows}
    assert marks == {("relevance_detail", 4.0), ("hallucination", 5.0), ("fluency", 3.0)}
    assert watched.is_well()
