"""What stands before every answer: who may ask, how much may be sent, how long it may take, and the headers behind.

Plain ASGI, as it must see bodies and bytes while they come.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, urlencode

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response

from chorograph.serving.api.answers import problem

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_CSP = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}
_COOKIE = "chorograph_token"
_READING = ("GET", "HEAD", "OPTIONS")
#: Asked by machines that watch the server, which hold no token.
_OPEN = ("/health",)
_LOG = logging.getLogger("chorograph.serving")


@dataclass(frozen=True)
class Limits:
    """What one request may take, and all of them together."""

    body_bytes: int = 8 * 2**20
    #: Bodies of all requests at work; who sends more is told to come back.
    bodies_bytes: int = 256 * 2**20
    #: A body must be whole after this time.
    body_s: float = 15.0
    #: An answer must begin after this time.
    answer_s: float = 60.0
    #: Requests at work at once; more are told to come back.
    at_once: int = 256


@dataclass(frozen=True)
class Access:
    """Who may ask: `token` for writing, and for reading too where `token_for_reading`; `hosts` as clients name us."""

    token: str
    token_for_reading: bool = False
    writable: bool = True
    hosts: frozenset[str] = frozenset({"127.0.0.1", "localhost", "[::1]"})
    any_host: bool = False


@dataclass(frozen=True)
class Meters:
    """What Prometheus may ask; each server has its own, so that several live in one process."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    seconds: Histogram = field(init=False)
    open: Gauge = field(init=False)

    def __post_init__(self) -> None:
        make = {
            "requests": Counter("chorograph_requests", "requests", ["method", "code"], registry=self.registry),
            "seconds": Histogram("chorograph_request_seconds", "time to the end of an answer", registry=self.registry),
            "open": Gauge("chorograph_open_requests", "requests at work", registry=self.registry),
        }
        for name, meter in make.items():
            object.__setattr__(self, name, meter)


class Guard:
    """Wraps the application; see the module."""

    def __init__(self, app: App, access: Access, limits: Limits, meters: Meters) -> None:
        self._app, self._access, self._limits, self._meters = app, access, limits, meters
        self._open = self._held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 500
        begun = False

        async def outward(message: Message) -> None:
            nonlocal status, begun
            if message["type"] == "http.response.start":
                status, begun = message["status"], True
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        self._open += 1
        self._meters.open.set(self._open)
        try:
            refusal = self._refusal(scope) or await self._inner(scope, receive, outward, lambda: begun)
            if refusal is not None:
                await refusal(scope, receive, outward)
        finally:
            self._open -= 1
            took = time.perf_counter() - started
            self._note(scope, status, took)

    async def _inner(self, scope: Scope, receive: Receive, send: Send, begun: Callable[[], bool]) -> Response | None:
        """Pass a request on, with its body read whole; return the answer of one that went beyond a limit."""
        try:
            async with asyncio.timeout(self._limits.body_s):
                body = await self._read(receive, scope)
        except TimeoutError:
            return problem(408, "Request timeout", "the body did not arrive in time", {"Connection": "close"})
        except _TooLargeError:
            most = f"{self._limits.body_bytes // 2**20} MiB"
            return problem(413, "Content too large", f"a body may have {most} at most", {"Connection": "close"})
        except _BusyError:
            return problem(503, "Service unavailable", "too many uploads at once", {"Retry-After": "1"})
        except _GoneError:
            return None
        try:
            async with asyncio.timeout(self._limits.answer_s):
                await self._app(scope, _replay(body, receive), send)
        except TimeoutError:
            if begun():
                raise
            return problem(503, "Service unavailable", "the answer took too long; ask for less", {"Retry-After": "5"})
        finally:
            self._held -= len(body)
        return None

    async def _read(self, receive: Receive, scope: Scope) -> bytes:
        """Return a body, which counts as held; one that goes beyond a limit is let go."""
        most = self._limits.body_bytes
        length = Headers(scope=scope).get("content-length", "0")
        if not length.isdigit() or int(length) > most:
            raise _TooLargeError
        parts: list[bytes] = []
        size = 0
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _GoneError
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                self._held += len(parts[-1])
                if size > most:
                    raise _TooLargeError
                if self._held > self._limits.bodies_bytes:
                    raise _BusyError
                if not message.get("more_body", False):
                    return b"".join(parts)
        except BaseException:
            self._held -= size
            raise

    def _refusal(self, scope: Scope) -> Response | None:
        """Return why a request is not answered, or None."""
        headers = Headers(scope=scope)
        if self._open > self._limits.at_once:
            return problem(503, "Service unavailable", "too many requests at once", {"Retry-After": "1"})
        # A page of another site whose name was pointed here must not read what is on this machine.
        if not self._access.any_host and _host(headers.get("host", "")) not in self._access.hosts:
            return problem(421, "Misdirected request", "this server does not go by that name; start it with --host")
        if scope["path"] in _OPEN:
            return None
        method = scope["method"]
        if handed := _handed_token(scope):
            return self._sign_in(scope, *handed)
        writing = method not in _READING and scope["path"] not in ("/similar", "/predict")
        if writing and not self._access.writable:
            return problem(403, "Forbidden", "this server is read-only")
        if method not in _READING and not _same_site(headers):
            return problem(403, "Forbidden", "the request comes from another site")
        if (writing or self._access.token_for_reading) and not self._holds_token(headers):
            return problem(
                401,
                "Unauthorized",
                "open the address that the server printed, or send `Authorization: Bearer TOKEN`",
                {"WWW-Authenticate": "Bearer"},
            )
        return None

    def _sign_in(self, scope: Scope, token: str, rest: str) -> Response:
        """Trade a token in the address for a cookie, so that it does not stay in the address bar."""
        if not hmac.compare_digest(token.encode(), self._access.token.encode()):
            return problem(401, "Unauthorized", "the token in the address is not this server's")
        answer = RedirectResponse(f"{scope['path']}{'?' + rest if rest else ''}", status_code=303)
        answer.set_cookie(_COOKIE, token, httponly=True, samesite="strict", secure=scope["scheme"] == "https")
        return answer

    def _holds_token(self, headers: Headers) -> bool:
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer":
            given = _cookie(headers.get("cookie", ""))
        return hmac.compare_digest(given.strip().encode(), self._access.token.encode())

    def _note(self, scope: Scope, status: int, took: float) -> None:
        """Count and log a request: never who asked, nor what for beyond the path."""
        self._meters.open.set(self._open)
        self._meters.requests.labels(scope["method"] if len(scope["method"]) < 8 else "OTHER", str(status)).inc()
        self._meters.seconds.observe(took)
        if _LOG.isEnabledFor(logging.INFO):
            line = {
                "method": scope["method"],
                "path": scope["path"][:200],
                "status": status,
                "ms": round(1000 * took, 1),
            }
            _LOG.info(json.dumps(line))


class _TooLargeError(Exception):
    pass


class _BusyError(Exception):
    pass


class _GoneError(Exception):
    pass


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _host(header: str) -> str:
    """Return the name in a Host header, without the port."""
    if header.startswith("["):
        return header.partition("]")[0] + "]"
    return header.partition(":")[0].lower()


def _handed_token(scope: Scope) -> tuple[str, str] | None:
    """Return the token in the address of a page and the rest of its query; None without one."""
    if scope["method"] != "GET" or b"token=" not in scope["query_string"]:
        return None
    pairs = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    tokens = [value for name, value in pairs if name == "token"]
    return (tokens[0], urlencode([pair for pair in pairs if pair[0] != "token"])) if tokens else None


def _same_site(headers: Headers) -> bool:
    """Whether a writing request comes from our own pages or from no page at all."""
    if (site := headers.get("sec-fetch-site")) is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host", "")


def _cookie(header: str) -> str:
    try:
        held = SimpleCookie(header).get(_COOKIE)
    except CookieError:
        return ""
    return "" if held is None else held.value
