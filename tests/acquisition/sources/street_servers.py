"""Services of street views on loopback: one like Mapillary's API, one like a Panoramax."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from aiohttp import web
from made_sources import COLUMNS, NORTH, ROWS, WEST, tiles_box

from tile_server import serving, tile

TOKEN = "MLY|1234|abcdef0123456789"  # noqa: S105  # of nobody


@dataclass
class ViewServer:
    """A running server: its address, the views it has (id -> lon, lat), and what it was asked with which headers."""

    base: str = ""
    views: dict[str, tuple[float, float]] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    headers: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)

    def within(self, request: web.Request, most: int) -> list[str]:
        """Return the ids in the box that is asked for, the limit's number at most."""
        west, south, east, north = (float(edge) for edge in request.query["bbox"].split(","))
        limit = min(int(request.query["limit"]), most)
        inside = [n for n, (lon, lat) in self.views.items() if west <= lon < east and south <= lat < north]
        return inside[:limit]

    def note(self, request: web.Request) -> None:
        self.asked[request.path] += 1
        self.headers.append((request.path, dict(request.headers)))


def some_views(number: int = 60, around: float = 0.002) -> dict[str, tuple[float, float]]:
    """Return places in and around the regions."""
    west, south, east, north = tiles_box(WEST, NORTH, COLUMNS, ROWS).bounds
    rng = np.random.default_rng(0)
    lon, lat = rng.uniform(west - around, east + around, number), rng.uniform(south - around, north + around, number)
    return {str(1000 + k): (float(lon[k]), float(lat[k])) for k in range(number)}


def picture(name: str) -> bytes:
    return tile(1, int(name) % 997, 0)


@contextmanager
def mapillary_like(
    views: dict[str, tuple[float, float]], *, most: int = 2000, missing: str = "", delay_s: float = 0.0
) -> Iterator[ViewServer]:
    """Serve /images as the API does: a token in a header, boxes under 0.01 square degrees, a first 429."""
    server = ViewServer(views=views)

    async def images(request: web.Request) -> web.Response:
        server.note(request)
        if request.headers.get("Authorization") != f"OAuth {TOKEN}":
            return web.json_response({"error": {"message": "Invalid OAuth access token.", "code": 190}}, status=401)
        west, south, east, north = (float(edge) for edge in request.query["bbox"].split(","))
        if (east - west) * (north - south) >= 0.01:
            return web.json_response({"error": {"message": "too large"}}, status=400)
        if server.asked[request.path] == 1:
            return web.Response(status=429, headers={"Retry-After": "1"})
        return web.json_response({"data": [_image(server, name) for name in server.within(request, most)]})

    async def thumbnail(request: web.Request) -> web.Response:
        server.note(request)
        await asyncio.sleep(delay_s)
        name = request.match_info["name"]
        return (
            web.Response(status=404) if name == missing else web.Response(body=picture(name), content_type="image/jpeg")
        )

    def routes(app: web.Application) -> None:
        app.router.add_get("/images", images)
        app.router.add_get("/cdn/{name}.jpg", thumbnail)

    with serving(routes) as base:
        server.base = base
        yield server


def _image(server: ViewServer, name: str) -> dict[str, Any]:
    lon, lat = server.views[name]
    return {
        "id": name, "captured_at": 1_700_000_000_000 + int(name), "compass_angle": 90.0,
        "geometry": {"type": "Point", "coordinates": [0.0, 0.0]},
        "computed_geometry": {"type": "Point", "coordinates": [lon, lat]},
        "thumb_1024_url": f"{server.base}/cdn/{name}.jpg?oh=signed",
    }  # fmt: skip


@contextmanager
def panoramax_like(views: dict[str, tuple[float, float]]) -> Iterator[ViewServer]:
    """Serve /api/search as a Panoramax does, and its pictures."""
    server = ViewServer(views=views)

    async def search(request: web.Request) -> web.Response:
        server.note(request)
        found = [_item(name, *server.views[name]) for name in server.within(request, 10_000)]
        return web.json_response({"type": "FeatureCollection", "features": found, "links": []})

    async def picture_of(request: web.Request) -> web.Response:
        server.note(request)
        return web.Response(body=picture(request.match_info["name"]), content_type="image/jpeg")

    def routes(app: web.Application) -> None:
        app.router.add_get("/api/search", search)
        app.router.add_get("/api/pictures/{name}/sd.jpg", picture_of)

    with serving(routes) as base:
        server.base = base
        yield server


def _item(name: str, lon: float, lat: float) -> dict[str, Any]:
    licence = "etalab-2.0" if int(name) % 2 else "CC-BY-SA-4.0"
    return {
        "type": "Feature", "id": name, "geometry": {"type": "Point", "coordinates": [lon, lat]},
        "properties": {"datetime": "2024-05-01T10:00:00Z", "license": licence, "view:azimuth": 12},
        "assets": {"sd": {"href": f"/api/pictures/{name}/sd.jpg"}},
        "links": [{"rel": "self", "href": f"/api/collections/c/items/{name}"}],
    }  # fmt: skip
