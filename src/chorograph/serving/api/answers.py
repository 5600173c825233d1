"""What an answer looks like: plain JSON without NaN, problems as RFC 9457 has them, pages as HTML."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import HTMLResponse, Response

from chorograph.serving.pages.rendering import render

JSON = "application/json"
GEOJSON = "application/geo+json"
OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
TILE = "application/vnd.mapbox-vector-tile"


class Problem(BaseModel):
    """What went wrong, in words."""

    title: str
    status: int
    detail: str


def as_json(content: Any, media_type: str = JSON, status: int = 200) -> Response:
    """Return JSON; a number that JSON has not is a fault of ours."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    return Response(body.encode("utf-8", "replace"), status_code=status, media_type=media_type)


def problem(status: int, title: str, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error as `application/problem+json`."""
    answer = as_json({"title": title, "status": status, "detail": detail}, "application/problem+json", status)
    answer.headers.update(headers or {})
    return answer


def page(name: str, **content: Any) -> HTMLResponse:
    """Return a page from its template."""
    return HTMLResponse(render(name, **content))


def wants_html(request: Request) -> bool:
    """Whether a browser asks: HTML stands before JSON in what it accepts."""
    if request.query_params.get("f") in ("html", "json"):
        return request.query_params["f"] == "html"
    accept = request.headers.get("accept", "")
    html, plain = accept.find("text/html"), accept.find(JSON)
    return html >= 0 and (plain < 0 or html < plain)


def base(request: Request) -> str:
    """Return the address of the server as the client wrote it, without a slash at its end."""
    return str(request.base_url).rstrip("/")


def link(rel: str, href: str, type_: str = JSON, title: str = "") -> dict[str, str]:
    """Return a link as OGC API has it."""
    return {"rel": rel, "href": href, "type": type_} | ({"title": title} if title else {})
