"""The static site in Chromium: by a double click, and from a plain web server."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from watching import Watched, wait

from chorograph.serving.catalogue.served import ServedArea
from chorograph.serving.pages.rendering import STATIC
from chorograph.serving.publish.site import modules_in_order, write_site

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture(scope="module")
def site(served: ServedArea, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_site(served, folder, pictures=1)
    return folder


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_modules_come_after_those_that_they_import() -> None:
    order = modules_in_order(STATIC)
    assert order[-1] == "map.js"
    assert order.index("dom.js") < order.index("legend.js")


def test_the_site_holds_a_picture_a_view_and_no_name_that_runs(site: Path, served: ServedArea) -> None:
    held = served.images[served.images["row"] >= 0]
    assert len(list((site / "site" / "images").iterdir())) == held.groupby(["row", "view"]).ngroups
    assert "<script>alert" not in (site / "index.html").read_text()
    for file in (site / "site" / "cards").iterdir():
        assert file.read_text().isascii()
        assert "<script>alert" not in file.read_text()


@pytest.mark.browser
@pytest.mark.parametrize("how", ["file", "server"])
def test_the_map_and_the_cards_open_from_a_file_and_from_a_server(
    page: Page, site: Path, address: str, how: str
) -> None:
    watched = Watched(page, site.as_uri() if how == "file" else address)
    watched.open("/index.html?indicator=median_income&measure=residual&region=R04&with=R01")
    assert "observed less predicted" in page.inner_text("#legend")
    assert "R04" in page.inner_text("#card-inside .card-head")
    wait(lambda: page.evaluate("[...document.querySelectorAll('#card-inside img')].every((i) => i.naturalWidth > 0)"))
    box = page.locator("#map").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    # A region under the pointer: the tiles were read and drawn.
    wait(lambda: page.mouse.move(x + 3, y) or page.mouse.move(x, y) or page.is_visible("#tip"))
    name = page.inner_text("#tip strong")
    page.mouse.click(x, y)
    wait(lambda: page.inner_text("#card-inside h2") == name)
    page.click("#pin")
    page.click("#open-compare")
    wait(lambda: page.locator(".compare-table thead th").count() == 3)
    page.keyboard.press("Escape")
    page.select_option("#indicator", "carbon")
    wait(lambda: "Carbon" in page.inner_text("#legend"))
    page.fill("#name", "R06")
    page.locator("#regions button").first.click()
    wait(lambda: "alert(2)" in page.inner_text("#card-inside h2"))
    assert watched.is_well()
