"""A local server that speaks OpenAI's protocol on real sockets, and misbehaves as it is told."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Returns what to do with the n-th request (from 1) about an image: a word of `MANNERS`.
Manner = Callable[[int, str], str]


def caption_of(image: str) -> str:
    return f"A place that is called {image[:8]}. It has two roofs."


class ChatServer:
    """Counts what it is asked; `told` has every image that it answered well."""

    def __init__(self, manner: Manner = lambda number, image: "well", structured: bool = True) -> None:
        self.manner, self.structured = manner, structured
        self.asked: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.tokens = 0
        self.requests = 0
        self.lock = threading.Lock()
        self.words: Callable[[dict[str, Any]], str] | None = None
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.answer(self, body)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *args: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, handler: Any, body: dict[str, Any]) -> None:
        image = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
        with self.lock:
            self.requests += 1
            self.asked[image] += 1
            number = self.asked[image]
        how = self.manner(number, image)
        structured = "response_format" in body
        if structured and not self.structured:
            return self.send(handler, 400, json.dumps({"error": {"message": "response_format is not known"}}))
        said = self.words(body) if self.words else caption_of(image)
        content = json.dumps({"sentences": said.split(". ")}) if structured and not self.words else said
        match how:
            case "slow":
                time.sleep(3)
            case "500" | "503":
                return self.send(handler, int(how), "trouble")
            case "429":
                return self.send(handler, 429, "wait", {"Retry-After": "0.05"})
            case "400" | "401":
                return self.send(handler, int(how), json.dumps({"error": {"message": "no"}}))
            case "deep":
                return self.send(handler, 200, "[" * 100_000)
            case "html":
                return self.send(handler, 200, "<html>hello</html>")
            case "die":
                with suppress(OSError):
                    handler.connection.shutdown(socket.SHUT_RDWR)
                handler.close_connection = True
                return None
            case "empty":
                content = ""
            case "long":
                content = "word " * 2000
            case "json":
                content = '{"sentences": ["a'
            case "cut":
                content = "One whole sentence. And a half"
            case "nothing":
                return self.send(handler, 200, json.dumps({"choices": []}))
        cost = {"prompt_tokens": 90, "completion_tokens": 10, "total_tokens": 100}
        with self.lock:
            self.tokens += 100
            self.told[image] += how in ("well", "slow", "cut")
        reason = "length" if how == "cut" else "stop"
        answer = {"choices": [{"message": {"content": content}, "finish_reason": reason}], "usage": cost}
        return self.send(handler, 200, json.dumps(answer))

    def send(self, handler: Any, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        data = text.encode()
        try:
            handler.send_response(status)
            for name, value in (headers or {}).items():
                handler.send_header(name, value)
            handler.send_header("Content-Type", "text/html" if text.startswith("<") else "application/json")
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)
        except OSError:
            pass  # the client has left


@contextmanager
def serving(manner: Manner = lambda number, image: "well", structured: bool = True) -> Iterator[ChatServer]:
    chat = ChatServer(manner, structured)
    thread = threading.Thread(target=chat.server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        chat.server.shutdown()
        chat.server.server_close()
