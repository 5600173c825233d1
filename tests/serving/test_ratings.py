"""The ratings store on SQLite and on a real PostgreSQL: assignment, durability through kill -9, exports."""

from __future__ import annotations

import io
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from chorograph.area.folder import Area
from chorograph.ground.errors import InputError
from chorograph.serving.ratings.export import encode, read_label_studio, summary
from chorograph.serving.ratings.questions import NAMES
from chorograph.serving.ratings.store import Pair, RatingStore

PAIRS = [Pair(f"i{n}", f"i{n}#0") for n in range(30)]
FULL = dict(zip(NAMES, (4, 5, 3), strict=True))
TOKEN = "a-token-of-the-drill"  # noqa: S105
BEARER = {"Authorization": f"Bearer {TOKEN}"}
RATERS, KILLS = 50, 5


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of our own; skips where the machine has none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = [*Path("/usr/lib/postgresql").glob("*/bin/initdb"), *filter(None, [_which("initdb")])]
    if not found:
        pytest.skip("no PostgreSQL on this machine")
    binaries = found[-1].parent
    folder = tmp_path_factory.mktemp("postgres")
    as_user: dict[str, str] = {}
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            account = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        for parent in [folder, *folder.parents[:3]]:
            parent.chmod(0o755)
        os.chown(folder, account.pw_uid, account.pw_gid)
        as_user = {"user": "postgres"}
    data, log = folder / "data", folder / "log"
    common = {"check": True, "capture_output": True, "cwd": folder, **as_user}
    subprocess.run([binaries / "initdb", "-D", data, "-U", "rater", "--auth", "trust"], **common)  # type: ignore[call-overload]
    options = f"-c listen_addresses='' -k {folder} -c max_connections=200"
    subprocess.run([binaries / "pg_ctl", "-D", data, "-l", log, "-w", "-o", options, "start"], **common)  # type: ignore[call-overload]
    yield f"postgresql+psycopg://rater@/postgres?host={folder}"
    subprocess.run([binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop"], **{**common, "check": False})  # type: ignore[call-overload]


def _which(name: str) -> Path | None:
    found = shutil.which(name)
    return None if found is None else Path(found)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ratings.sqlite'}"
    return str(request.getfixturevalue("postgres"))


@pytest.fixture
def area(request: pytest.FixtureRequest) -> str:
    """A name of its own for each test, as one PostgreSQL serves them all."""
    return request.node.name[:150]


@pytest.fixture
def store(url: str) -> Iterator[RatingStore]:
    opened = RatingStore(url)
    yield opened
    opened.close()


def test_a_rating_is_read_back_as_the_contract_s_table(store: RatingStore, area: str) -> None:
    store.save(area, "ann", PAIRS[0], FULL)
    store.save(area, "ann", PAIRS[0], {**FULL, "fluency": 1})
    table = store.table(area)
    assert table.columns.tolist() == ["image_id", "caption_id", "rater", "question", "value", "at"]
    assert dict(zip(table["question"], table["value"], strict=True)) == {**FULL, "fluency": 1}
    assert store.table("elsewhere").empty


@pytest.mark.parametrize(
    "values", [{}, {"fluency": 3}, {**FULL, "fluency": 6}, {**FULL, "fluency": 2.5}, {**FULL, "x": 1}]
)
def test_only_whole_answers_from_1_to_5_are_kept(store: RatingStore, area: str, values: dict[str, int]) -> None:
    with pytest.raises(InputError, match="1 to 5"):
        store.save(area, "ann", PAIRS[0], values)
    assert store.table(area).empty


def test_raters_meet_on_pairs_before_they_spread(store: RatingStore, area: str) -> None:
    seen: Counter[Pair] = Counter()
    for rater in ("ann", "ben", "cem", "dee"):
        while (pair := store.next_pair(area, rater, PAIRS[:6], overlap=2)) is not None:
            store.save(area, rater, pair, FULL)
            seen[pair] += 1
    assert set(seen.values()) == {2}
    assert len(seen) == 6
    assert store.progress(area, "ann") == {"ratings": 12, "pairs": 6, "mine": 6, "skipped": 0}


def test_a_pair_left_open_comes_again_and_a_skipped_one_does_not(store: RatingStore, area: str) -> None:
    first = store.next_pair(area, "ann", PAIRS, 2)
    assert store.next_pair(area, "ann", PAIRS, 2) == first
    assert first is not None
    store.skip(area, "ann", first)
    assert store.next_pair(area, "ann", PAIRS, 2) != first
    assert store.next_pair(area, "ben", PAIRS, 2) is not None
    assert store.progress(area, "ann")["skipped"] == 1


def test_undo_opens_the_last_pair_with_its_answers(store: RatingStore, area: str) -> None:
    assert store.undo(area, "ann") is None
    first = store.next_pair(area, "ann", PAIRS, 2)
    assert first is not None
    store.save(area, "ann", first, FULL)
    store.next_pair(area, "ann", PAIRS, 2)
    assert store.undo(area, "ann") == (first, FULL)
    assert store.table(area).empty
    assert store.next_pair(area, "ann", PAIRS, 2) == first


def test_many_servers_may_start_at_once(url: str, area: str) -> None:
    failures: list[BaseException] = []

    def start(number: int) -> None:
        try:
            opened = RatingStore(url)
            opened.save(area, f"rater {number}", PAIRS[number], FULL)
            opened.close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=start, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert RatingStore(url).table(area)["rater"].nunique() == 6


def test_the_migrations_make_the_tables_that_the_store_uses(store: RatingStore) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from chorograph.serving.ratings.schema import METADATA

    with store._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "chorograph_ratings_version"})
        ours = [change for change in compare_metadata(context, METADATA) if "remove" not in str(change[0])]
    assert ours == []


def test_a_url_that_leads_nowhere_is_said_without_its_password() -> None:
    for url in ("nonsense", "postgresql+psycopg://u:geheim@127.0.0.1:9/none", "nodriver://x"):
        with pytest.raises(InputError) as caught:
            RatingStore(url)
        assert "geheim" not in str(caught.value)


def test_exports_hold_the_same_ratings(city: Path) -> None:
    area = Area.open(city / "area")
    pair = Pair(area.captions["image_id"].iloc[3], area.captions["caption_id"].iloc[3])
    store = RatingStore("sqlite:////" + str(city.parent / "exports.sqlite").lstrip("/"))
    for rater in ("ann", "ben"):
        store.save("a", rater, pair, FULL)
    table = store.table("a")
    columns = ["image_id", "caption_id", "rater", "question", "value"]
    expected = table[columns].sort_values(columns, ignore_index=True)
    readers = {
        "csv": lambda body: pd.read_csv(io.BytesIO(body)),
        "parquet": lambda body: pd.read_parquet(io.BytesIO(body)),
        "label-studio": lambda body: read_label_studio(json.loads(body)),
    }
    for kind, read in readers.items():
        found = read(encode(table, area, kind))[columns].sort_values(columns, ignore_index=True)
        pd.testing.assert_frame_equal(found, expected, check_dtype=False)
    told = summary(table)
    assert told["raters"] == 2
    assert told["questions"]["fluency"]["pairs_with_two_raters"] == 1


SERVER = """
import sys, uvicorn
from pathlib import Path
from typing import Any
from chorograph.serving.api.app import Serving, create_app
from chorograph.serving.api.guard import Access
from chorograph.serving.catalogue.served import Catalogue
from chorograph.serving.ratings.store import RatingStore
from chorograph.serving.run import serve
place, url, port, token = sys.argv[1:]
access = Access(token)
store = RatingStore(url)
app = create_app(Serving(Catalogue.open([Path(place)], cache=False), access, stores={"city": store}, warm=False))
serve(app, access, "127.0.0.1", int(port))
"""


class Server:
    """The real server in a process of its own, to be killed and started again on the same port."""

    def __init__(self, city: Path, url: str, said: Path) -> None:
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._words = [sys.executable, "-c", SERVER, str(city), url, str(self.port), TOKEN]
        self.address = f"http://127.0.0.1:{self.port}"
        self._said = said
        self.start()

    def start(self) -> None:
        with self._said.open("wb") as stream:
            self.process = subprocess.Popen(self._words, stderr=stream)
        end = time.monotonic() + 240
        while time.monotonic() < end and self.process.poll() is None:
            try:
                httpx.get(f"{self.address}/health", timeout=2)
                return
            except httpx.HTTPError:
                time.sleep(0.05)
        raise AssertionError(f"the server did not start: {self._said.read_text()}")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.mark.slow
def test_fifty_raters_and_five_kills_lose_nothing_that_was_acknowledged(city: Path, url: str, tmp_path: Path) -> None:
    server = Server(city, url, tmp_path / "said")
    before = RatingStore(url).table("city")
    acknowledged: set[tuple[str, str, str, str, int]] = set()
    lock, stop = threading.Lock(), threading.Event()

    def rate(number: int) -> None:
        rater = f"rater {number}"
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=server.address, headers=headers, timeout=20) as client:
            while not stop.is_set():
                try:
                    asked = client.post("/ratings/next", json={"rater": rater})
                    pair = asked.json()["pair"] if asked.status_code == 200 else None
                    if pair is None:
                        time.sleep(0.05)
                        continue
                    values = {name: 1 + (number + place) % 5 for place, name in enumerate(NAMES)}
                    named = {"image_id": pair["image_id"], "caption_id": pair["caption_id"]}
                    kept = client.post("/ratings", json={"rater": rater, "values": values, **named})
                except (httpx.HTTPError, ValueError):
                    time.sleep(0.05)
                    continue
                if kept.status_code == 201:
                    with lock:
                        acknowledged.update((*named.values(), rater, name, value) for name, value in values.items())

    threads = [threading.Thread(target=rate, args=(number,)) for number in range(RATERS)]
    for thread in threads:
        thread.start()
    for _ in range(KILLS):
        seen, end = len(acknowledged), time.monotonic() + 60
        while len(acknowledged) < seen + 60 and time.monotonic() < end:
            time.sleep(0.02)
        server.kill()
        server.start()
    stop.set()
    for thread in threads:
        thread.join(60)
    server.kill()
    columns = ["image_id", "caption_id", "rater", "question", "value"]
    table = RatingStore(url).table("city")
    held = set(table[columns].itertuples(index=False, name=None))
    earlier = set(before[columns].itertuples(index=False, name=None))
    assert len(acknowledged) >= 3 * 20 * KILLS
    assert acknowledged <= held
    # What was on its way when the server died may be kept without its word; never a part of a pair's answers.
    unsaid = held - acknowledged - earlier
    assert len(unsaid) <= 3 * RATERS * KILLS
    assert set(Counter(row[:3] for row in held).values()) == {3}


def test_the_captions_of_a_corpus_without_regions_are_rated(city: Path, run_app: Any, tmp_path: Path) -> None:
    from chorograph.serving.api.app import Serving, create_app
    from chorograph.serving.api.guard import Access
    from chorograph.serving.catalogue.served import Catalogue

    corpus = tmp_path / "corpus"
    shutil.copytree(city / "area", corpus, ignore=shutil.ignore_patterns("regions.parquet", "indicators.parquet"))
    images = pd.read_parquet(corpus / "images.parquet").assign(region_id=None)
    Area.open(corpus).write("images", images)
    store = RatingStore(f"sqlite:///{tmp_path / 'ratings.sqlite'}")
    catalogue = Catalogue.open([corpus], cache=False)
    slug = next(iter(catalogue)).slug
    app = create_app(Serving(catalogue, Access(TOKEN), stores={slug: store}))
    with run_app(app) as address, httpx.Client(base_url=address, headers=BEARER) as client:
        assert client.get(f"/areas/{slug}").headers["location"] == f"/areas/{slug}/rate"
        assert 'href="/areas' not in client.get(f"/areas/{slug}/rate").text
        pair = client.post("/ratings/next", json={"rater": "ann"}).json()["pair"]
        assert client.get(pair["image"]).headers["content-type"] == "image/jpeg"
        named = {"image_id": pair["image_id"], "caption_id": pair["caption_id"]}
        assert client.post("/ratings", json={"rater": "ann", "values": FULL, **named}).status_code == 201
        assert client.get("/collections").json()["collections"][0]["id"] == slug
        assert client.get("/search", params={"q": "fields"}).status_code in (200, 400)
    assert len(store.table(slug)) == 3
