"""A web server that misbehaves on purpose: what the fetcher is tested and measured against. It serves loopback only.

The path says what happens: `/image/7` answers with a JPEG, `/slow/7` late, `/drip/7` never ends, and so on (`KINDS`).
"""

from __future__ import annotations

import asyncio
import io
import struct
import threading
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from aiohttp import web
from PIL import Image

#: What a path may begin with, and the reason that a fetch of it should end with (None: it ends well).
KINDS: dict[str, str | None] = {
    "image": None,
    "slow": None,
    "flaky": None,
    "redirect": None,
    "missing": "HTTP 404",
    "error": "HTTP 500",
    "inward": "private address",
    "around": "too many redirects",
    "elsewhere": "scheme not allowed",
    "endless": "too many bytes",
    "drip": "time-out",
    "silent": "time-out",
    "page": "wrong type",
    "disguised": "wrong type",
    "reset": "reset",
    "cut": "body cut off",
    "empty": "empty",
    "bomb": "too many pixels",
    "refused": "header noai",
    "private": "robots.txt",
}


@dataclass
class BadServer:
    """A running server: its address, and how often each path was asked for."""

    base: str
    asked: Counter[str] = field(default_factory=Counter)
    most_at_once: int = 0
    _now: int = 0

    def url(self, kind: str, number: int) -> str:
        """Return the URL that misbehaves in a way."""
        return f"{self.base}/{kind}/{number}"


def small_image(number: int) -> bytes:
    """Return a JPEG of its own for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((96, 96)).save(file, "JPEG", quality=80)
    return file.getvalue()


@contextmanager
def bad_server(
    host: str = "127.0.0.2", slow_s: float = 0.3, pictures: dict[str, bytes] | None = None
) -> Iterator[BadServer]:
    """Serve on a free port of `host` while the block runs; `pictures` are served by their path."""
    server = BadServer("")
    loop = asyncio.new_event_loop()
    ready = threading.Event()
    stop = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        server.asked[request.path] += 1
        server._now += 1
        server.most_at_once = max(server.most_at_once, server._now)
        try:
            if pictures and request.path in pictures:
                return web.Response(body=pictures[request.path], content_type="image/jpeg")
            return await _misbehave(request, server, slow_s, stop)
        finally:
            server._now -= 1

    async def serve() -> None:
        app = web.Application()
        app.router.add_get("/{tail:.*}", answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, host, 0).start()
        server.base = f"http://{host}:{runner.addresses[0][1]}"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    ready.wait(10)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


async def _misbehave(request: web.Request, server: BadServer, slow_s: float, stop: asyncio.Event) -> web.StreamResponse:
    if request.path == "/robots.txt":
        return web.Response(text="User-agent: *\nDisallow: /private/\n")
    _, kind, number = request.path.split("/", 2)
    if kind not in KINDS:
        return web.Response(status=404)
    data = small_image(int(number))
    if kind in ("image", "slow"):
        await asyncio.sleep(slow_s if kind == "slow" else 0)
        return web.Response(body=data, content_type="image/jpeg")
    if kind == "flaky" and server.asked[request.path] > 1:
        return web.Response(body=data, content_type="image/jpeg")
    if kind in ("error", "flaky"):
        return web.Response(status=500 if kind == "error" else 503)
    if kind in ("redirect", "inward", "around", "elsewhere"):
        port = request.url.port
        to = {
            "redirect": f"/image/{number}",
            "inward": f"http://127.0.0.1:{port}/image/{number}",
            "around": request.path,
            "elsewhere": "file:///etc/hostname",
        }
        return web.Response(status=302, headers={"Location": to[kind]})
    if kind in ("endless", "drip"):
        response = web.StreamResponse(headers={"Content-Type": "image/jpeg"})
        await response.prepare(request)
        with suppress(ConnectionResetError):  # the other side had enough
            while not stop.is_set():
                await response.write(data if kind == "endless" else b"\xff")
                await asyncio.sleep(0 if kind == "endless" else 0.1)
        return response
    if kind == "silent":
        await stop.wait()
        return web.Response()
    if kind in ("reset", "cut"):
        transport = cast(asyncio.WriteTransport, request.transport)
        if kind == "cut":
            transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 99999\r\n\r\n" + data[:100]
            )
            await asyncio.sleep(0.02)
            transport.close()
        else:
            transport.abort()
        return web.Response()
    if kind == "page":
        return web.Response(text="<html>an image was here</html>", content_type="text/html")
    if kind == "disguised":
        return web.Response(text="<html>an image was here</html>", headers={"Content-Type": "image/jpeg"})
    if kind == "empty":
        return web.Response(body=b"", content_type="image/jpeg")
    if kind == "bomb":
        return web.Response(body=_bomb(), content_type="image/png")
    if kind in ("refused", "private"):
        headers = {"X-Robots-Tag": "noindex, noai"} if kind == "refused" else {}
        return web.Response(body=data, content_type="image/jpeg", headers=headers)
    return web.Response(status=404)


def _bomb() -> bytes:
    """Return the beginning of a PNG that says it has 400 million pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
        + (struct.pack(">I", 100) + b"IDAT" + bytes(100))
    )
