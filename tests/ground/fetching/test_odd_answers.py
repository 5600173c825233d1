"""One odd answer never ends a run: redirects that cannot be parsed, hosts that ask to wait, loops that run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest

from bad_server import small_image
from chorograph.ground.fetching.fetcher import Fetched, FetchRules, Wanted, _retry_after, fetch, fetch_all
from raw_server import ok, raw_server, redirect

RULES = FetchRules(
    per_host=16, host_pause_s=0, connect_s=2, idle_s=2, try_s=4, sample_s=8, tries=1, wait_s=0.01, robots=False,
    allow=("127.0.0.2/32",), give_up_host_after=10_000,
)  # fmt: skip
LOCATIONS = {
    "an address that is cut": b"http://[::1/a.jpg",
    "bytes that are no text": b"/caf\xe9.jpg",
    "a host that cannot be encoded": "http://ex\u2100.example/a.jpg".encode(),
    "a port that is none": b"http://example.org:port/a.jpg",
    "a port too large": b"http://example.org:99999/a.jpg",
    "a label too long": b"http://" + b"a" * 70 + b".example/a.jpg",
    "an empty label": b"http://a..example/a.jpg",
    "punycode that is none": b"http://xn--\xff.example/",
    "nothing": b"",
}


@pytest.mark.parametrize("robots", [False, True])
def test_a_redirect_that_cannot_be_followed_is_one_row(robots: bool) -> None:
    answers = {f"/bad/{number}": redirect(location) for number, location in enumerate(LOCATIONS.values())}
    answers |= {f"/good/{number}": ok(small_image(number)) for number in range(5)}
    with raw_server(answers) as server:
        found = fetch([server.base + path for path in answers], replace(RULES, robots=robots))
    bad, good = found[: len(LOCATIONS)], found[len(LOCATIONS) :]
    assert [one.data for one in good] == [small_image(number) for number in range(5)]
    reasons = dict(zip(LOCATIONS, (one.reason for one in bad), strict=True))
    assert reasons.pop("nothing") == "too many redirects"  # an empty Location is the same URL again
    assert set(reasons.values()) <= {"bad URL", "bad answer", "name not resolved"}, reasons
    assert reasons["an address that is cut"] == reasons["bytes that are no text"] == "bad URL"


@pytest.mark.parametrize(
    "url", ["http://exa\0mple.com/a.jpg", "http://[::1/a", "http://ex\u2100.example/a", "http://a:b/", "http://\udce9/"]
)
def test_a_url_that_cannot_be_parsed_is_a_bad_url(url: str) -> None:
    assert fetch([url], RULES)[0].reason in ("bad URL", "bad answer")


def test_no_bytes_of_a_server_end_the_run() -> None:
    random = np.random.default_rng(0)
    answers = {}
    for number in range(150):
        noise = random.integers(0, 256, int(random.integers(1, 60)), dtype=np.uint8).tobytes()
        noise = noise.replace(b"\r", b"").replace(b"\n", b"")
        answers[f"/{number}"] = (redirect(b"http://" + noise), redirect(noise), noise, b"HTTP/1.1 " + noise)[number % 4]
    with raw_server(answers) as server:
        found = fetch([server.base + path for path in answers], RULES)
    assert all(one.reason for one in found)


def test_what_take_raises_is_raised_as_it_is() -> None:
    def full(number: int, fetched: Fetched) -> None:
        raise OSError(28, "No space left on device")

    with raw_server({"/1": ok(b"x")}) as server, pytest.raises(OSError, match="No space left"):
        fetch_all([f"{server.base}/{number % 2}" for number in range(8)], RULES, full)


def test_it_fetches_where_a_loop_runs_already() -> None:
    async def inside(url: str) -> list[Fetched]:
        return fetch([url], RULES)

    with raw_server({"/1": ok(b"abc", "text/plain; charset=utf-8")}) as server:
        assert asyncio.run(inside(f"{server.base}/1")) == [Fetched(b"abc", None, "text/plain")]


def test_headers_go_to_the_host_that_was_asked_and_to_no_other() -> None:
    with raw_server({"/b": ok(b"there")}, host="127.0.0.3") as other:
        answers = {"/a": redirect(f"{other.base}/b".encode()), "/c": redirect(b"/d"), "/d": ok(b"here")}
        with raw_server(answers) as server:
            rules = replace(RULES, allow=("127.0.0.2/32", "127.0.0.3/32"), contact="me@example.org")
            wanted = Wanted(headers={"Authorization": "Bearer secret"})
            found = fetch([f"{server.base}/a", f"{server.base}/c"], rules, wanted)
    assert [one.data for one in found] == [b"there", b"here"]
    assert len(server.requests) == 3 and all(b"secret" in request for request in server.requests)
    assert b"secret" not in other.requests[0] and b"chorograph (+me@example.org)" in other.requests[0]


def test_what_was_not_wanted_is_refused() -> None:
    page = b"<html>no tile here</html>"
    with raw_server({"/page.png": ok(page, "text/html"), "/named.png": ok(page, "image/png")}) as server:
        urls = [f"{server.base}/page.png", f"{server.base}/named.png"]
        wanted = Wanted(types=("image/",), judge=lambda data: "a page" if data.startswith(b"<html") else None)
        assert [one.reason for one in fetch(urls, RULES, wanted)] == ["wrong type", "a page"]
        assert [one.data for one in fetch(urls, RULES)] == [page, page]
        assert {one.reason for one in fetch(urls, replace(RULES, max_bytes=10))} == {"too many bytes"}


def test_retry_after_is_a_number_or_a_date() -> None:
    soon = datetime.now(UTC) + timedelta(seconds=60)
    assert _retry_after("7") == 7
    assert 55 < _retry_after(format_datetime(soon, usegmt=True)) <= 60
    assert [_retry_after(text) for text in ("", "-3", "soon", "\u00b2", "Fri, 31 Dec 1999 23:59:59 GMT")] == [0.0] * 5


def test_a_host_that_asks_to_wait_too_long_is_not_asked_again() -> None:
    busy = b"HTTP/1.1 429 Too Many\r\nRetry-After: %d\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    with raw_server({"/long": busy % 3600, "/short": busy % 0}) as server:
        urls = [f"{server.base}/long", f"{server.base}/short"]
        assert [one.reason for one in fetch(urls, replace(RULES, tries=3))] == ["HTTP 429"] * 2
    asked = [request.split(b" ")[1] for request in server.requests]
    assert (asked.count(b"/long"), asked.count(b"/short")) == (1, 3)
