"""What strangers send: each has a defined answer, memory stays bounded, and other people are served meanwhile."""

from __future__ import annotations

import io
import resource
import shutil
import socket
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from chorograph.ground.errors import InputError
from chorograph.serving.api.app import Serving, create_app
from chorograph.serving.api.guard import Access, Limits
from chorograph.serving.catalogue.served import Catalogue
from chorograph.serving.ratings.questions import NAMES
from chorograph.serving.run import access_for, listen, read_token

TOKEN = "a-token-for-these-tests"  # noqa: S105
BEARER = {"Authorization": f"Bearer {TOKEN}"}


def png(width: int, height: int) -> bytes:
    """Return a valid PNG of one colour, small on the wire whatever its size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = b"\0" * (1 + (width + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def now_mib() -> float:
    """Return the memory held now; the peak begins anew where the system lets it."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_mib()


def picture(width: int, height: int) -> bytes:
    """Return a PNG with opacity."""
    buffer = io.BytesIO()
    Image.new("RGBA", (width, height), (90, 120, 60, 200)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def make_server(city: Path, run_app: Callable[[Any], Any]) -> Callable[..., Any]:
    def make(access: Access, limits: Limits | None = None) -> Any:
        catalogue = Catalogue.open([city], cache=False)
        return run_app(create_app(Serving(catalogue, access, limits or Limits(), warm=False)))

    return make


def svg() -> bytes:
    return b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def polyglot() -> bytes:
    return b"GIF89a/*" + b"\0" * 50 + b"*/=1;alert(1)//"


@pytest.mark.parametrize(
    "body", [b"", svg(), polyglot(), b"\xff\xd8\xff" + b"junk" * 99, b"\x89PNG\r\n\x1a\n", b"RIFF"]
)
def test_what_is_no_picture_is_refused(server: str, body: bytes) -> None:
    answer = httpx.post(f"{server}/similar", content=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_huge_picture_is_refused_before_its_pixels_are_made(server: str) -> None:
    bomb = png(30_000, 30_000)
    assert len(bomb) < 2**20
    before = peak_mib()
    answer = httpx.post(f"{server}/similar", content=bomb, timeout=30)
    assert answer.status_code == 400
    assert "too large" in answer.json()["detail"]
    assert peak_mib() - before < 100


def test_pictures_of_too_many_pixels_together_are_refused_unread(server: str) -> None:
    """Each is allowed; all of them would take 1.5 GB."""
    one = picture(4000, 4000)
    files = [("images", (f"{number}.png", one, "image/png")) for number in range(32)]
    before = now_mib()
    answer = httpx.post(f"{server}/predict", data={"region": "{}"}, files=files, timeout=300)
    assert answer.status_code == 413
    assert "512 million pixels" in answer.json()["detail"]
    assert peak_mib() - before < 100


def test_large_pictures_of_many_clients_take_turns_and_others_are_served(server: str) -> None:
    """Eight at once would take 1.4 GB: pictures with opacity are 20 bytes a pixel while they are decoded."""
    body = picture(3000, 3000)
    before = now_mib()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(httpx.post, f"{server}/similar", content=body, timeout=300) for _ in range(8)]
        while not all(one.done() for one in asked):
            assert httpx.get(f"{server}/areas/city/regions/R01.json", timeout=120).status_code == 200
        assert {one.result().status_code for one in asked} <= {200, 503}
    assert peak_mib() - before < 700


def test_bodies_of_all_clients_are_bounded_together(make_server: Callable[..., Any]) -> None:
    with make_server(Access(TOKEN), Limits(bodies_bytes=1000)) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as waiting:
            head = b"POST /similar HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 900\r\n\r\n"
            waiting.sendall(head + b"a" * 800)
            end = time.monotonic() + 20
            while (answer := httpx.post(f"{address}/similar", content=b"b" * 300)).status_code != 503:
                assert time.monotonic() < end
            assert answer.headers["retry-after"] == "1"
            assert httpx.get(f"{address}/areas/city.json").status_code == 200
        while (answer := httpx.post(f"{address}/similar", content=b"b" * 300)).status_code != 400:
            assert time.monotonic() < end


def test_a_picture_with_a_tail_of_script_leaves_no_trace(server: str) -> None:
    buffer = io.BytesIO()
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(buffer, "JPEG")
    answer = httpx.post(f"{server}/similar", content=buffer.getvalue() + b"<script>alert(1)</script>")
    assert answer.status_code == 200
    assert "script" not in answer.text


def test_fifty_megabytes_are_refused_and_not_held(server: str) -> None:
    before = peak_mib()

    def drip() -> Iterator[bytes]:
        for _ in range(50):
            yield b" " * 2**20

    for content in (b"[" + b" " * (50 * 2**20) + b"]", drip()):
        try:
            answer = httpx.post(f"{server}/ratings", content=content, headers=BEARER, timeout=60)
            assert answer.status_code == 413
        except httpx.WriteError:
            pass  # the server hung up while we were still talking: as good an answer
    assert peak_mib() - before < 200


def test_other_sites_and_other_names_are_turned_away(server: str) -> None:
    assert httpx.get(f"{server}/areas/city.json", headers={"Host": "evil.example"}).status_code == 421
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert httpx.post(f"{server}/ratings/next", json={"rater": "a"}, headers=BEARER | headers).status_code == 403


def test_writing_needs_the_token(server: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Cookie": "chorograph_token=wrong"}):
        assert httpx.post(f"{server}/ratings/next", json={"rater": "a"}, headers=headers).status_code == 401
    with httpx.Client(base_url=server) as client:
        opened = client.get("/areas/city", params={"token": TOKEN, "measure": "width"})
        assert opened.status_code == 303
        assert opened.headers["location"] == "/areas/city?measure=width"
        cookie = opened.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert client.post("/ratings/next", json={"rater": "a"}).status_code == 200
    assert httpx.get(f"{server}/?token=wrong").status_code == 401


def test_bad_bodies_are_problems_in_words(server: str) -> None:
    full = dict.fromkeys(NAMES, 3)
    named = {"rater": "ann", "image_id": "x", "caption_id": "y"}
    bodies: list[Any] = [
        [], {"rater": "../../etc"}, {**named, "values": full}, {**named, "values": {**full, "fluency": "5"}},
        {**named, "values": {**full, "fluency": 9}}, {**named, "values": {"fluency": 3}},
        {**named, "values": full, "x": 1},
    ]  # fmt: skip
    for body in bodies:
        assert httpx.post(f"{server}/ratings", json=body, headers=BEARER).status_code == 400
    assert httpx.post(f"{server}/ratings", content=b"{", headers=BEARER).status_code == 400


def test_a_read_only_server_takes_nothing(make_server: Callable[..., Any]) -> None:
    with make_server(Access(TOKEN, writable=False)) as address:
        assert httpx.get(f"{address}/areas/city.json").status_code == 200
        assert httpx.post(f"{address}/ratings/next", json={"rater": "a"}, headers=BEARER).status_code == 403
        assert "read-only" in httpx.get(f"{address}/areas/city/rate").text


def test_beyond_this_machine_reading_needs_the_token_too(make_server: Callable[..., Any]) -> None:
    access = access_for("0.0.0.0", TOKEN, read_only=False)  # noqa: S104
    with make_server(access) as address:
        for path in ("/", "/areas/city", "/collections", "/metrics", "/static/map.js"):
            assert httpx.get(f"{address}{path}").status_code == 401
        assert httpx.get(f"{address}/collections", headers=BEARER).status_code == 200
        assert httpx.get(f"{address}/health").status_code == 200


def test_slow_clients_are_let_go_and_others_served(
    make_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chorograph.serving.run.HEAD_S", 1.0)
    with make_server(Access(TOKEN), Limits(body_s=1.0)) as address:
        host, port = address.removeprefix("http://").split(":")
        slow = [socket.create_connection((host, int(port))) for _ in range(200)]
        for number, client in enumerate(slow):
            body = b"POST /similar HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\nab"
            client.sendall(body if number % 2 else b"GET / HTTP/1.1\r\nX-Slow: ")
        assert httpx.get(f"{address}/health", timeout=20).status_code == 200
        end = time.monotonic() + 30
        for number, client in enumerate(slow):
            client.settimeout(max(0.1, end - time.monotonic()))
            said = client.recv(4096)
            assert said.startswith(b"HTTP/1.1 408") if number % 2 else said == b""
            client.close()


def test_two_hundred_clients_at_once_are_all_answered(server: str, city: Path) -> None:
    paths = [
        "/collections/city/items?limit=60",
        "/areas/city/regions/R01.json",
        "/search?q=railway",
        "/areas/city.json",
    ]
    before = peak_mib()
    start = threading.Barrier(200)
    clients = [httpx.Client(base_url=server, timeout=120) for _ in range(200)]

    def ask(number: int) -> int:
        start.wait()
        return clients[number].get(paths[number % 4]).status_code

    with ThreadPoolExecutor(200) as pool:
        codes = list(pool.map(ask, range(200)))
    for client in clients:
        client.close()
    assert len(codes) == 200
    assert set(codes) <= {200, 503}
    assert codes.count(200) > 150
    assert peak_mib() - before < 500


def test_an_answer_that_takes_too_long_is_given_up(
    make_server: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chorograph.serving.catalogue.served.ServedArea.summary", lambda _: time.sleep(2))
    with make_server(Access(TOKEN), Limits(answer_s=0.3)) as address:
        answer = httpx.get(f"{address}/areas/city.json")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]


def test_logs_say_what_was_asked_not_who(make_server: Callable[..., Any], caplog: pytest.LogCaptureFixture) -> None:
    import logging

    logging.getLogger("chorograph.serving").propagate = True
    with caplog.at_level("INFO", "chorograph.serving"), make_server(Access(TOKEN)) as address:
        httpx.get(f"{address}/search", params={"q": "my secret plan"}, headers={"User-Agent": "someone in particular"})
    assert '"path": "/search"' in caplog.text
    assert "secret" not in caplog.text
    assert "particular" not in caplog.text
    assert "127.0.0.1" not in caplog.text


def test_a_faulty_image_path_cannot_leave_the_area(city: Path, run_app: Callable[[Any], Any], tmp_path: Path) -> None:
    place = tmp_path / "city"
    shutil.copytree(city / "area", place)
    images = pd.read_parquet(place / "images.parquet")
    images.loc[0, "uri"] = "../../../../../../etc/passwd"
    images.to_parquet(place / "images.parquet")
    app = create_app(Serving(Catalogue.open([place], cache=False), Access(TOKEN), warm=False))
    with run_app(app) as address:
        answer = httpx.get(f"{address}/areas/city/images/{images['image_id'].iloc[0]}")
        assert answer.status_code == 400
        assert "leads out" in answer.json()["detail"]


def test_tokens_and_ports_are_checked(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("short")
    (tmp_path / "good").write_text(f"{TOKEN}\n")
    assert read_token(tmp_path / "good") == TOKEN
    assert read_token(None) is None
    for wrong in (tmp_path / "short", tmp_path / "none"):
        with pytest.raises(InputError, match="token"):
            read_token(wrong)
    with listen("127.0.0.1", 0) as taken, pytest.raises(InputError, match="--port"):
        listen("127.0.0.1", taken.getsockname()[1])
