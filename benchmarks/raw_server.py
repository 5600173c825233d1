"""A server that answers each path with the bytes it was told, whatever they are; loopback only."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass
class RawServer:
    """A running server: its address, and the requests it was sent, head and all."""

    base: str
    requests: list[bytes] = field(default_factory=list)


@contextmanager
def raw_server(answers: Mapping[str, bytes], host: str = "127.0.0.2") -> Iterator[RawServer]:
    """Serve while the block runs; an unknown path is a 404."""
    with socket.create_server((host, 0)) as listening:
        server = RawServer(f"http://{host}:{listening.getsockname()[1]}")

        def answer(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                request = connection.recv(65536)
                server.requests.append(request)
                path = [*request.split(b" ", 2), b"", b""][1].decode("latin-1")
                missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                connection.sendall(answers.get(path, missing))

        def serve() -> None:
            with suppress(OSError):  # closed below
                while True:
                    threading.Thread(target=answer, args=(listening.accept()[0],), daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()
        try:
            yield server
        finally:
            listening.shutdown(socket.SHUT_RDWR)


def ok(body: bytes, content_type: str = "image/jpeg") -> bytes:
    """Return an answer that holds `body`."""
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body


def redirect(location: bytes) -> bytes:
    """Return an answer that leads elsewhere."""
    return b"HTTP/1.1 302 Found\r\nLocation: " + location + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
