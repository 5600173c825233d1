"""A web server on loopback that can be wicked; it counts what it is asked for."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class Web:
    """A running server; `asked` counts paths."""

    server: ThreadingHTTPServer
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def port(self) -> int:
        """The port it listens at."""
        return int(self.server.server_address[1])

    def close(self) -> None:
        """Stop it."""
        self.server.shutdown()
        self.server.server_close()

    @classmethod
    def answering(cls, answer: Callable[[BaseHTTPRequestHandler], None], address: str = "127.0.0.1") -> Web:
        """Serve with `answer`, which writes the response of a GET."""
        web: Web

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                web.asked[self.path] += 1
                try:
                    answer(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer((address, 0), Handler)
        server.daemon_threads = True
        web = cls(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return web

    @classmethod
    def files(cls, folder: Path, delay_s: float = 0.0) -> Web:
        """Serve the files of a folder."""

        def answer(handler: BaseHTTPRequestHandler) -> None:
            path = folder / handler.path.lstrip("/")
            time.sleep(delay_s)
            if handler.path == "/robots.txt" or not path.is_file():
                send(handler, 404, b"", "text/plain")
            else:
                send(handler, 200, path.read_bytes(), "image/jpeg")

        return cls.answering(answer)


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, kind: str, **headers: str) -> None:
    """Write a response."""
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)
