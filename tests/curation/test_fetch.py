"""The step that fetches: what was fetched, or failed for good, is never asked for again; packs that were cut off."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from bad_server import bad_server, small_image
from chorograph.curation.packs import PackWriter, read_packed, read_records
from chorograph.curation.rows import Context
from chorograph.curation.steps.fetch import Fetch

QUICK = Fetch(
    connections=64, per_host=64, host_pause_s=0, connect_s=0.5, idle_s=0.5, try_s=0.8, sample_s=2.0, tries=2,
    wait_s=0.05, max_bytes=300_000, allow=("127.0.0.2/32",),
)  # fmt: skip


def test_what_was_fetched_or_failed_is_never_asked_for_again(tmp_path: Path) -> None:
    context = Context(str(tmp_path / "packs"))
    with bad_server() as server:
        rows = [{"key": n, "url": server.url("missing" if n == 3 else "image", n)} for n in range(6)]
        first = QUICK.apply([dict(row) for row in rows[:4]], context)
        again = [dict(row) for row in rows]
        second = QUICK.apply(again, context)
        assert set(server.asked.values()) == {1}
    assert [drop.reason if drop else None for drop in first] == [None, None, None, "HTTP 404"]
    assert [drop.reason if drop else None for drop in second] == [None, None, None, "HTTP 404", None, None]
    assert read_packed(context.packs, again[5]) == small_image(5)


def test_failures_of_a_kind_can_be_tried_again(tmp_path: Path) -> None:
    context = Context(str(tmp_path / "packs"))
    once = replace(QUICK, tries=1)
    with bad_server() as server:
        rows = [{"key": n, "url": server.url(kind, n)} for n, kind in enumerate(("flaky", "missing", "image"))]

        def reasons(rules: Fetch) -> list[str | None]:
            return [drop.reason if drop else None for drop in rules.apply([dict(row) for row in rows], context)]

        assert reasons(once) == ["HTTP 503", "HTTP 404", None]
        assert reasons(once) == ["HTTP 503", "HTTP 404", None]
        assert reasons(replace(once, again=("HTTP 503",))) == [None, "HTTP 404", None]
        assert reasons(once) == [None, "HTTP 404", None]
        assert (server.asked["/flaky/0"], server.asked["/missing/1"], server.asked["/image/2"]) == (2, 1, 1)


def test_a_pack_that_was_cut_off_keeps_its_whole_records(tmp_path: Path) -> None:
    with PackWriter(tmp_path) as writer:
        for key in range(3):
            writer.add(key, {}, bytes([key]) * 1000)
    whole = writer.path.read_bytes()
    for cut in (10, 900, 1500, len(whole) - 1):
        writer.path.write_bytes(whole[:cut])
        assert [record.key for record in read_records(tmp_path)] == list(
            range(cut // 1026 if cut < len(whole) - 1 else 2)
        )
    writer.path.write_bytes(whole[:-5] + b"xxxxx")
    assert [record.key for record in read_records(tmp_path)] == [0, 1]
