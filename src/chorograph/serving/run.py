"""Running a server: the socket, patience with slow clients, a shutdown that lets answers end."""

from __future__ import annotations

import ipaddress
import logging
import secrets
import socket
import sys
from asyncio import TimerHandle, Transport
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from chorograph.ground.errors import InputError
from chorograph.serving.api.guard import Access, App

#: The head of a request must be whole after this time: a client that drips bytes holds no place for long.
HEAD_S = 10.0
#: Connections at once; more are closed as they come.
CONNECTIONS = 1000
_SHUTDOWN_S = 10
_HEAD_BYTES = 32 * 1024


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that waits for the head of a request for so long and no longer."""

    _waiting: TimerHandle | None = None

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Begin to wait; refuse a connection too many."""
        super().connection_made(transport)
        if len(self.connections) > CONNECTIONS:
            transport.close()
            return
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Take in bytes; wait anew when they begin another request, and no more when its head is whole."""
        if self._idle() and self._waiting is None:
            self._wait()
        super().data_received(data)
        if not self._idle():
            self._stop_waiting()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait(self) -> None:
        self._waiting = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None


def is_loopback(host: str) -> bool:
    """Whether a host to listen on can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def access_for(host: str, token: str | None, *, read_only: bool, names: Iterable[str] = ()) -> Access:
    """Return who may ask a server that listens on `host`: beyond this machine, only who holds the token.

    Without a `token` one is drawn. `names`: what clients call the server, besides `host` itself.
    """
    local = is_loopback(host)
    return Access(
        token=token or secrets.token_urlsafe(18),
        token_for_reading=not local,
        writable=not read_only,
        hosts=Access("").hosts | {host.lower(), *(name.lower() for name in names)},
        any_host=host in ("0.0.0.0", "::") and not list(names),  # noqa: S104  # every name that leads here
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one. `InputError` where it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen(2048)
    except OSError as error:
        made.close()
        raise InputError(f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port") from error
    return made


def serve(app: App, access: Access, host: str, port: int, *, log: bool = False) -> None:
    """Serve until Ctrl-C or SIGTERM; the address stands on stderr. Answers at work then have ten seconds to end."""
    with listen(host, port) as listening:
        at = listening.getsockname()[1]
        named = f"[{host}]" if ":" in host else host
        need = "" if access.writable or access.token_for_reading else "\n(read-only)"
        query = f"/?token={access.token}" if access.writable or access.token_for_reading else ""
        sys.stderr.write(f"http://{named}:{at}{query}{need}\n")
        sys.stderr.flush()
        _set_logging(log)
        settings: dict[str, Any] = {
            "http": PatientProtocol,
            "ws": "none",
            "access_log": False,
            "log_config": None,
            "server_header": False,
            "h11_max_incomplete_event_size": _HEAD_BYTES,
            "timeout_graceful_shutdown": _SHUTDOWN_S,
            "timeout_keep_alive": 15,
        }
        uvicorn.Server(uvicorn.Config(app, **settings)).run(sockets=[listening])


def _set_logging(log: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("chorograph.serving")
    logger.handlers = [handler]
    logger.propagate = False
    logger.setLevel(logging.INFO if log else logging.WARNING)


def read_token(path: Path | None) -> str | None:
    """Return the token in a file, None where none is given; `InputError` for one that is missing or too short."""
    if path is None:
        return None
    try:
        with path.open("rb") as file:  # a pipe may give it, a device must not give more and more
            token = file.read(4096).decode("utf-8", "replace").strip()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; put the token into it, or leave it out") from error
    if len(token) < 16 or not token.isascii() or not token.isprintable():
        raise InputError(f"{path}: a token has 16 or more printable ASCII characters")
    return token
