from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chat_server import ChatServer, serving
from chorograph.area.draft import AreaDraft
from chorograph.area.folder import Area
from chorograph.captioning.endpoint import parse_place, retry_after
from chorograph.ground.errors import InputError, SettingError
from chorograph.ground.stage import Outcome, silent
from chorograph.verbs import caption

N = 24


def make_area(path: Path, number: int = N) -> Area:
    rng = np.random.default_rng(0)
    with AreaDraft(path, "made") as draft:
        ids = [f"i{row:03d}" for row in range(number)]
        held = [draft.write_image(name, rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)) for name in ids]
        uris, digests = zip(*held, strict=True)
        frame = pd.DataFrame({"image_id": ids, "uri": uris, "sha256": digests})
        draft.write("images", frame.assign(view="satellite", source="made", licence="CC0"))
    return Area.open(path)


def write(area: Area, server: ChatServer, **more: Any) -> Outcome:
    said: dict[str, Any] = {"per_image": 1, "wait_s": 0.01, "concurrency": 4, "timeout_s": 60.0, **more}
    return caption.run(caption.Settings(area=area.path, captioner=f"openai:tiny@{server.url}", **said), silent)


def test_every_image_is_captioned_once_and_not_again(tmp_path: Path) -> None:
    area = make_area(tmp_path / "a")
    with serving() as server:
        done = write(area, server)
        assert done.manifest["counts"]["captions"] == N == server.requests
        assert set(server.told.values()) == {1}
        assert done.manifest["facts"]["attempts"] == {"answered": N}
        assert write(area, server).skipped
        # Another captioner's captions stay, and another number an image asks for what is new alone.
        assert write(area, server, per_image=2).manifest["counts"]["captions"] == 2 * N
        assert server.requests == 2 * N
    assert area.captions["caption"].str.contains("has two roofs").all()
    assert (area.captions["origin"] == f"model:openai:tiny@{server.url}").all()


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("500", "server error (500)"),
        ("429", "asked to wait (429)"),
        ("html", "malformed answer"),
        ("deep", "malformed answer"),
        ("json", "malformed JSON"),
        ("empty", "empty answer"),
        ("long", "over-long answer"),
        ("nothing", "answer without a choice"),
        ("die", "no connection"),
    ],
)
def test_trouble_that_passes_is_retried_and_counted(tmp_path: Path, how: str, kind: str) -> None:
    area = make_area(tmp_path / "a")
    with serving(lambda number, image: how if number == 1 else "well") as server:
        done = write(area, server, retries=2)
    assert done.manifest["counts"]["captions"] == N
    assert done.manifest["facts"]["attempts"] == {"answered": N, kind: N}
    assert done.manifest["counts"]["requests sent, all runs"] == server.requests == 2 * N
    assert set(server.told.values()) == {1}


def test_a_slow_answer_is_given_up_and_asked_again(tmp_path: Path) -> None:
    area = make_area(tmp_path / "a", 4)
    with serving(lambda number, image: "slow" if number == 1 else "well") as server:
        done = write(area, server, timeout_s=1.0, retries=10)
    assert done.manifest["counts"]["captions"] == 4
    attempts = done.manifest["facts"]["attempts"]
    assert set(attempts) == {"timed out", "answered"}
    assert attempts["answered"] == 4 <= attempts["timed out"]


def test_a_truncated_answer_keeps_its_whole_sentences_and_costs(tmp_path: Path) -> None:
    area = make_area(tmp_path / "a", 4)
    with serving(lambda number, image: "cut", structured=False) as server:
        done = write(area, server)
    assert set(area.captions["caption"]) == {"One whole sentence."}
    assert done.manifest["counts"]["tokens spent, all runs"] == 400
    assert done.manifest["facts"]["attempts"]["cut off; its whole sentences are kept"] == 4


def test_a_server_without_schemas_is_asked_in_plain_words(tmp_path: Path) -> None:
    area = make_area(tmp_path / "a")
    with serving(structured=False) as server:
        done = write(area, server, concurrency=1)
    assert done.manifest["counts"]["captions"] == N
    assert done.manifest["facts"]["attempts"] == {"no structured output there": 1, "answered": N}


def test_what_fails_for_good_is_counted_and_what_may_pass_is_tried_by_the_next_run(tmp_path: Path) -> None:
    area = make_area(tmp_path / "a")
    manners = {"now": "500"}
    bad: set[str] = set()

    def manner(number: int, image: str) -> str:
        if not bad:
            bad.add(image)
        return manners["now"] if image in bad else "well"

    with serving(manner) as server:
        done = write(area, server, retries=1)
        assert done.manifest["counts"]["captions"] == N - 1
        assert done.manifest["dropped"] == {"server error (500)": 1}
        assert "run the command again" in done.manifest["warnings"][0]
        manners["now"] = "400"
        assert write(area, server).manifest["dropped"] == {"refused (400)": 1}
        before = server.requests
        assert write(area, server).manifest["counts"]["captions"] == N - 1
        assert server.requests == before


@pytest.mark.parametrize("how", ["well", "500", "empty"])
def test_the_budget_of_requests_holds_over_runs(tmp_path: Path, how: str) -> None:
    area = make_area(tmp_path / "a")
    with serving(lambda number, image: how if number == 1 else "well") as server:
        done = write(area, server, max_requests=10)
        assert server.requests == 10
        assert done.manifest["dropped"]["the budget is spent"] >= N - 10
        write(area, server, max_requests=10)
        assert server.requests == 10
        done = write(area, server, max_requests=200)
        assert done.manifest["counts"]["captions"] == N
        assert set(server.told.values()) == {1}


@pytest.mark.parametrize("how", ["well", "empty", "cut"])
def test_the_budget_of_tokens_counts_what_was_of_no_use(tmp_path: Path, how: str) -> None:
    area = make_area(tmp_path / "a")
    with serving(lambda number, image: how, structured=how != "cut") as server:
        done = write(area, server, max_total_tokens=1000, max_tokens=10, retries=1)
        assert 800 <= server.tokens <= 1000
        assert done.manifest["counts"]["tokens spent, all runs"] == server.tokens
        write(area, server, max_total_tokens=1000, max_tokens=10, retries=1)
        assert server.tokens <= 1000


def test_a_server_that_died_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    area = make_area(tmp_path / "a")
    dead = {"now": False}

    def manner(number: int, image: str) -> str:
        dead["now"] = dead["now"] or len(server.told) >= 10
        return "die" if dead["now"] else "well"

    with serving(manner) as server:
        with pytest.raises(InputError, match="stopped answering"):
            write(area, server, retries=1)
        told = set(server.told)
        server.manner = lambda number, image: "well"
        assert write(area, server).manifest["counts"]["captions"] == N
        assert told < set(server.told)
        assert set(server.told.values()) == {1}


def test_a_server_that_refuses_all_work_says_so_at_once(tmp_path: Path) -> None:
    area = make_area(tmp_path / "a")
    with serving(lambda number, image: "401") as server:
        with pytest.raises(InputError, match="OPENAI_API_KEY"):
            write(area, server)
        assert server.requests <= 4


def test_killed_and_run_again_it_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    whole, cut = make_area(tmp_path / "whole", 60), make_area(tmp_path / "cut", 60)

    def manner(number: int, image: str) -> str:
        time.sleep(0.05)
        return "500" if number == 1 and image < "4" else "well"

    with serving(manner) as server:
        write(whole, server, concurrency=2)
        server.asked.clear()
        server.told.clear()
        name = f"openai:tiny@{server.url}"
        code = "from chorograph.cli import main; main()"
        command = [sys.executable, "-c", code, "caption", str(cut.path), "--captioner", name]
        command += ["--per-image", "1", "--concurrency", "2", "--wait-s", "0.01"]
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)
        _until(lambda: sum(server.told.values()) >= 15)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        assert not cut.has("captions")
        kept = sum(server.told.values())
        done = write(cut, server, concurrency=2)
    # What was in flight at the kill, two at most, is the only thing asked twice.
    assert sum(server.told.values()) <= 60 + 2
    assert done.manifest["counts"]["requests answered before"] >= kept - 2
    pd.testing.assert_frame_equal(cut.captions, whole.captions)


def _until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.01)


def test_a_line_that_a_crash_cut_off_is_asked_anew(tmp_path: Path) -> None:
    area = make_area(tmp_path / "a")
    with serving() as server:
        write(area, server)
        book = next((area.path / "captioning").glob("*.jsonl"))
        book.write_bytes(book.read_bytes()[:-20])
        (area.path / "captions.manifest.json").unlink()
        assert write(area, server).manifest["counts"]["captions"] == N
        assert server.requests == N + 1


def test_addresses_and_waits_are_read() -> None:
    assert parse_place("org/model@v2@http://host:1/v1") == ("org/model@v2", "http://host:1/v1")
    with pytest.raises(SettingError, match="MODEL@URL"):
        parse_place("model")
    assert retry_after({"retry-after": "3"}) == 3
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0
    assert retry_after({"retry-after": "soon"}) is None
    assert retry_after({}) is None
