"""The ratings store on SQLite and on a real PostgreSQL: assignment, durability through kill -9, exports."""

from __future__ import annotations

import io
import json
import shutil
import threading
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
