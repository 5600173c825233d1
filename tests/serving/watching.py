"""A page that is watched: what it asks for, what it complains about, and which barriers it has."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

READY = "() => Boolean(window.chorographReady)"


class Watched:
    """A page, and what it asked for and complained about."""

    def __init__(self, page: Page, server: str) -> None:
        self.page, self.server = page, server
        self.complaints: list[str] = []
        self.elsewhere: list[str] = []
        page.on("request", lambda request: self._note(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda m: self.complaints.append(m.text) if self._counts(m) else None)

    def open(self, path: str) -> Page:
        self.page.goto(f"{self.server}{path}")
        wait(lambda: self.page.evaluate(READY))
        return self.page

    def is_well(self) -> bool:
        assert not self.complaints
        assert not self.elsewhere
        return True

    def _note(self, url: str) -> None:
        if not url.startswith((self.server, "data:", "blob:")):
            self.elsewhere.append(url)

    @staticmethod
    def _counts(message: Any) -> bool:
        # The software renderer of a machine without a screen says so when a picture of the page is taken.
        return message.type in ("error", "warning") and "GL Driver Message" not in message.text


def wait(ready: Callable[[], object], seconds: float = 120) -> None:
    """Ask until it is so: a strict content policy leaves Playwright no way to wait inside the page."""
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "the page never got there"
        time.sleep(0.05)


def barriers(page: Page) -> list[str]:
    """Return what axe-core finds serious or critical."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:120]}" for one in found if one["impact"] in ("serious", "critical")
    ]
