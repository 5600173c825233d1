"""A STAC API on loopback over the items of a static catalogue: an item a page, by GET or by POST."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from tile_server import serving


@dataclass
class StacApi:
    """A running API: its address, and each search that it was asked."""

    base: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def stac_api(folder: Path, files: str, method: str, elsewhere: str = "") -> Iterator[StacApi]:
    """Serve the items below `folder`, whose files lie at `files`; the link to the next page leads to `elsewhere`."""
    api = StacApi()
    items = [json.loads(path.read_text()) for path in sorted(folder.glob("sentinel/*/*.json"))]
    for item in items:
        for asset in item["assets"].values():
            asset["href"] = f"{files}/sentinel/{item['id']}/{asset['href'].removeprefix('./')}"

    async def root(request: web.Request) -> web.Response:
        links = [{"rel": "search", "href": f"{api.base}/search", "method": method, "type": "application/geo+json"}]
        conforms = ["https://api.stacspec.org/v1.0.0/core", "https://api.stacspec.org/v1.0.0/item-search"]
        about = {"type": "Catalog", "stac_version": "1.0.0", "id": "made", "title": "Made", "description": "Made"}
        return web.json_response({**about, "conformsTo": conforms, "links": links})

    async def collection(request: web.Request) -> web.Response:
        return web.json_response(json.loads((folder / "sentinel" / "collection.json").read_text()))

    async def search(request: web.Request) -> web.Response:
        if request.method != method:
            return web.Response(status=405)
        said: dict[str, Any] = dict(request.query) if method == "GET" else await request.json()
        if method == "GET":
            said |= {"collections": said["collections"].split(","), "bbox": [*map(float, said["bbox"].split(","))]}
        token = int(said.get("token", 0))
        api.asked.append({**said, "token": token, "method": request.method})
        page = {"type": "FeatureCollection", "features": items[token : token + 1], "links": []}
        if token + 1 < len(items):
            more = {"rel": "next", "href": f"{elsewhere or api.base}/search"}
            if method == "GET":
                more["href"] += f"?{request.rel_url.update_query(token=token + 1).query_string}"
            else:
                more |= {"method": "POST", "merge": True, "body": {"token": token + 1}}
            page["links"] = [more]
        return web.json_response(page)

    def routes(app: web.Application) -> None:
        app.router.add_get("/", root)
        app.router.add_get("/collections/sentinel", collection)
        app.router.add_route("*", "/search", search)

    with serving(routes) as api.base:
        yield api
