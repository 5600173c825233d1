"""A tile server of a pyramid that is drawn on the way, with tiles that misbehave where they are told to; loopback only.

`python benchmarks/tile_server.py SIDE` draws a square of so many tiles a side first, prints its address, and serves
until it is killed.
"""

from __future__ import annotations

import asyncio
import io
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import cast

import numpy as np
import simplejpeg
from aiohttp import web
from PIL import Image

#: What a tile may do instead of answering: the first time only, or each time.
ONCE = ("drop", "busy", "wait", "error", "cut")
ALWAYS = (
    "missing", "page", "endless", "slow", "truncated", "empty_sea", "no_imagery", "forbidden", "clear", "see_through",
)  # fmt: skip


@lru_cache(maxsize=65_536)
def tile(zoom: int, x: int, y: int) -> bytes:
    """Return the JPEG of a tile: colours that go over into those of its neighbours, and a mark of its own."""
    side = np.linspace(0, 1, 64)
    red = ((x + side[None, :]) * 8) % 256 + 0 * side[:, None]
    green = ((y + side[:, None]) * 8) % 256 + 0 * side[None, :]
    own = np.random.default_rng([zoom, x, y]).integers(0, 256, (8, 8)).repeat(8, 0).repeat(8, 1)
    pixels = np.stack([red, green, own], axis=2).astype(np.uint8).repeat(4, 0).repeat(4, 1)
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=80))


@lru_cache
def no_imagery() -> bytes:
    """Return a picture with a pattern that says nothing of any place."""
    pixels = np.indices((256, 256)).sum(0)[..., None].repeat(3, 2) // 16 % 2 * 40 + 180
    return bytes(simplejpeg.encode_jpeg(np.ascontiguousarray(pixels.astype(np.uint8))))


@lru_cache
def empty_sea() -> bytes:
    """Return a picture of one colour."""
    return bytes(simplejpeg.encode_jpeg(np.full((256, 256, 3), (20, 60, 120), dtype=np.uint8)))


@lru_cache
def transparent(rows: int) -> bytes:
    """Return a PNG whose first rows are transparent."""
    pixels = np.full((256, 256, 4), (90, 120, 60, 255), dtype=np.uint8)
    pixels[:rows, :, 3] = 0
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class TileServer:
    """A running server: its address, what each path was asked, with which headers, and how many at once at most."""

    base: str
    moods: Mapping[tuple[int, int, int], str]
    asked: Counter[str] = field(default_factory=Counter)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    delay_s: float = 0.0
    _now: int = 0

    @property
    def template(self) -> str:
        """The template of the tiles' URLs."""
        return f"{self.base}/{{z}}/{{x}}/{{y}}.jpg"


@contextmanager
def serving(routes: Callable[[web.Application], None], host: str = "127.0.0.3") -> Iterator[str]:
    """Serve an application in a thread while the block runs; yields its address."""
    loop = asyncio.new_event_loop()
    ready, stop = threading.Event(), asyncio.Event()
    port: list[int] = []

    async def main() -> None:
        app = web.Application()
        routes(app)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, host, 0)
        await site.start()
        port.append(runner.addresses[0][1])
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield f"http://{host}:{port[0]}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)


@contextmanager
def tile_server(
    moods: Mapping[tuple[int, int, int], str] | None = None, host: str = "127.0.0.3", delay_s: float = 0.0
) -> Iterator[TileServer]:
    """Serve tiles at /Z/X/Y.jpg while the block runs; `moods` are those that misbehave."""
    server = TileServer("", moods or {}, delay_s=delay_s)
    with serving(lambda app: app.router.add_get("/{z}/{x}/{y}.jpg", _answers(server)), host) as base:
        server.base = base
        yield server


def _answers(server: TileServer) -> Callable[[web.Request], object]:
    async def answer(request: web.Request) -> web.StreamResponse:
        server.asked[request.path] += 1
        server.headers.append(dict(request.headers))
        server._now += 1
        server.most_at_once = max(server.most_at_once, server._now)
        try:
            if server.delay_s:
                await asyncio.sleep(server.delay_s)
            key = (int(request.match_info["z"]), int(request.match_info["x"]), int(request.match_info["y"]))
            mood = server.moods.get(key, "")
            if mood in ONCE and server.asked[request.path] > 1:
                mood = ""
            return await _in_mood(mood, request, tile(*key))
        finally:
            server._now -= 1

    return answer


async def _in_mood(mood: str, request: web.Request, data: bytes) -> web.StreamResponse:
    image = {"content_type": "image/jpeg"}
    if mood == "drop":
        cast(asyncio.WriteTransport, request.transport).abort()
        return web.Response()
    if mood in ("busy", "wait"):
        return web.Response(status=429, headers={"Retry-After": "1"} if mood == "wait" else {})
    if mood in ("error", "missing", "forbidden"):
        return web.Response(status={"error": 503, "missing": 404, "forbidden": 403}[mood])
    if mood == "page":
        return web.Response(body=b"<html><body>Quota exceeded</body></html>", content_type="image/jpeg")
    if mood == "truncated":
        return web.Response(body=data[: len(data) // 2], **image)
    if mood in ("clear", "see_through"):
        return web.Response(body=transparent(256 if mood == "clear" else 64), content_type="image/png")
    if mood in ("no_imagery", "empty_sea"):
        return web.Response(body=no_imagery() if mood == "no_imagery" else empty_sea(), **image)
    if mood in ("cut", "endless", "slow"):
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        if mood == "cut":
            response.content_length = len(data)
        await response.prepare(request)
        with suppress(ConnectionError):
            await response.write(data[:100])
            if mood == "cut":
                cast(asyncio.WriteTransport, request.transport).abort()
            while mood == "endless":
                await response.write(b"\0" * 1_000_000)
            while mood == "slow":
                await response.write(b"\0")
                await asyncio.sleep(0.2)
        return response
    return web.Response(body=data, **image)


def main() -> None:
    """Serve until killed."""
    side = int(sys.argv[1])
    with tile_server() as server:
        for place in range(side * side):
            tile(16, 34_000 + place % side, 22_000 + place // side)
        print(server.base, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
