"""A server of the files of a folder, by ranges of bytes as RFC 9110 has them; loopback only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tile_server import serving


@dataclass
class RangeServer:
    """A running server: its address, how often each path was asked for, how many bytes were sent."""

    base: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    sent: int = 0


@contextmanager
def range_server(folder: Path, *, ranges: bool = True, busy: int = 0, host: str = "127.0.0.3") -> Iterator[RangeServer]:
    """Serve a folder while the block runs; without `ranges` whole files only; the first `busy` answers are 503."""
    server = RangeServer()

    async def answer(request: web.Request) -> web.Response:
        server.asked[request.path] += 1
        if sum(server.asked.values()) <= busy:
            return web.Response(status=503, headers={"Retry-After": "0"})
        path = folder / request.path.lstrip("/")
        if not path.is_file():
            return web.Response(status=404)
        data = path.read_bytes()
        part = request.http_range if ranges else slice(None)
        body = data[part]
        server.sent += len(body) if request.method == "GET" else 0
        if part.start is None and part.stop is None:
            return web.Response(body=data)
        if not body:
            return web.Response(status=416)
        first = part.start or 0
        said = {"Content-Range": f"bytes {first}-{first + len(body) - 1}/{len(data)}"}
        return web.Response(status=206, body=body, headers=said)

    with serving(lambda app: app.router.add_get("/{tail:.*}", answer), host) as base:
        server.base = base
        yield server
