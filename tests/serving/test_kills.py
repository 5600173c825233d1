"""Fifty raters at once, and a server that is killed five times: no acknowledged rating is lost."""

from __future__ import annotations

import multiprocessing
import socket
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from chorograph.serving.ratings.questions import NAMES
from chorograph.serving.ratings.store import RatingStore

TOKEN = "a-token-of-the-drill"  # noqa: S105
RATERS, KILLS = 50, 5


def serve_city(city: Path, url: str, port: int) -> None:
    """Serve the city as `chorograph serve` does: what a process of its own runs until it is killed."""
    from chorograph.serving.api.app import Serving, create_app
    from chorograph.serving.api.guard import Access
    from chorograph.serving.catalogue.served import Catalogue
    from chorograph.serving.run import serve

    access, stores = Access(TOKEN), {"city": RatingStore(url)}
    catalogue = Catalogue.open([city], cache=False)
    serve(create_app(Serving(catalogue, access, stores=stores, overlap=RATERS, warm=False)), access, "127.0.0.1", port)


class Server:
    """The real server in a process of its own, to be killed and started again on the same port."""

    def __init__(self, city: Path, url: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        # A process that has imported everything is forked for each start, which is then soon there.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["chorograph.serving.api.app", "chorograph.serving.run", "sklearn"])
        self._given = (city, url, self.port)
        self.start()

    def start(self) -> None:
        self.process = self._context.Process(target=serve_city, args=self._given, daemon=True)
        self.process.start()
        end = time.monotonic() + 240
        while time.monotonic() < end and self.process.is_alive():
            try:
                httpx.get(f"{self.address}/health", timeout=2)
                return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise AssertionError(f"the server did not start: {self.process.exitcode}")

    def kill(self) -> None:
        self.process.kill()  # SIGKILL
        self.process.join()


class Raters:
    """Fifty threads that rate as fast as they are served, and note every rating that was acknowledged."""

    def __init__(self, server: Server) -> None:
        self.acknowledged: set[tuple[str, str, str, str, int]] = set()
        self._address, self._lock, self._stop = server.address, threading.Lock(), threading.Event()
        self._threads = [threading.Thread(target=self._rate, args=(number,)) for number in range(RATERS)]
        for thread in self._threads:
            thread.start()

    def wait_for(self, more: int) -> None:
        wanted, end = len(self.acknowledged) + more, time.monotonic() + 120
        while len(self.acknowledged) < wanted and time.monotonic() < end:
            time.sleep(0.02)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _rate(self, number: int) -> None:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=self._address, headers=headers, timeout=20) as client:
            while not self._stop.is_set():
                try:
                    self._rate_one(client, f"rater {number}", number)
                except (httpx.HTTPError, ValueError):
                    time.sleep(0.05)  # the server is dead, or was while it answered

    def _rate_one(self, client: httpx.Client, rater: str, number: int) -> None:
        pair = client.post("/ratings/next", json={"rater": rater}).json().get("pair")
        if pair is None:
            time.sleep(0.2)
            return
        values = {name: 1 + (number + place) % 5 for place, name in enumerate(NAMES)}
        named = {"image_id": pair["image_id"], "caption_id": pair["caption_id"]}
        if client.post("/ratings", json={"rater": rater, "values": values, **named}).status_code == 201:
            with self._lock:
                self.acknowledged.update((*named.values(), rater, name, value) for name, value in values.items())


@pytest.mark.slow
def test_fifty_raters_and_five_kills_lose_nothing_that_was_acknowledged(city: Path, url: str) -> None:
    before = RatingStore(url).table("city")
    assert before.empty
    server = Server(city, url)
    raters = Raters(server)
    for _ in range(KILLS):
        raters.wait_for(3 * 20)
        server.kill()
        server.start()
    raters.wait_for(3)
    raters.stop()
    server.kill()
    columns = ["image_id", "caption_id", "rater", "question", "value"]
    held = set(RatingStore(url).table("city")[columns].itertuples(index=False, name=None))
    assert len(raters.acknowledged) >= 3 * 20 * KILLS
    assert raters.acknowledged <= held
    # What was on its way when the server died may be kept without its word; never a part of a pair's answers.
    assert len(held - raters.acknowledged) <= 3 * RATERS * (KILLS + 1)
    assert set(Counter(row[:3] for row in held).values()) == {3}
