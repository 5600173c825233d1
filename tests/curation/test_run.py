"""The funnel end to end on a web whose truth is known; interrupted, appended to, and on bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bad_server import bad_server
from chorograph.area.check import check_area
from chorograph.area.folder import Area
from chorograph.ground.errors import ChorographError, InputError
from chorograph.ground.stage import silent
from chorograph.verbs.curate.run import Settings, curate_with
from synthetic_web import PLANTED, SyntheticWeb, precision_and_recall

COLUMNS = "columns: {lon: lon, lat: lat, captured: captured}\n"
HELD = "columns: {lon: lon, lat: lat, captured: captured, image: image}\n"
RULES = "- keywords\n- captions: {languages: [en]}\n- url_duplicates\n"
LOOKS = "- valid_images\n- byte_duplicates\n- hash_duplicates: {distance: 6}\n"
FETCH = "- fetch: {allow: [127.0.0.2/32], host_pause_s: 0, per_host: 16, robots: false, try_s: 3, wait_s: 0.05}\n"

Filed = Callable[..., list[str]]
Recipe = Callable[[str], Path]


def run(recipe: Path, given: list[str], out: Path, **settings: object) -> dict[str, object]:
    def load(name: str) -> object:
        raise AssertionError("no step asks for a model")

    config = Settings(recipe=str(recipe), in_=given, out=out, partition_rows=60, **settings)  # type: ignore[arg-type]
    return curate_with(config, silent, load, lambda line: None).manifest


def content(out: Path) -> dict[str, object]:
    """Everything that a run says, without places and times."""
    corpus = out / "corpus"
    shards = {path.name: path.read_bytes() for path in sorted(corpus.glob("shards/*.tar"))}
    tables = [pd.read_parquet(corpus / f"{name}.parquet").to_dict("list") for name in ("images", "captions")]
    split = pd.read_parquet(corpus / "splits" / "train_val.parquet").to_dict("list")
    dropped = pd.read_parquet(out / "dropped.parquet").sort_values(["key", "step", "caption"]).to_json()
    counted = json.loads((out / "statistics.json").read_text())
    return {"shards": shards, "tables": json.dumps(tables), "split": split, "dropped": dropped, "counted": counted}


def test_the_web_end_to_end(web: SyntheticWeb, filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    with bad_server(pictures=web.pictures()) as server:
        given = filed(server.base)
        manifest = run(recipe(COLUMNS + "steps:\n" + RULES + FETCH + LOOKS), given, tmp_path / "out")
    corpus = Area.open(tmp_path / "out" / "corpus")
    assert check_area(corpus) == []
    dropped = pd.read_parquet(tmp_path / "out" / "dropped.parquet")
    kept = corpus.images.merge(corpus.captions, on="image_id")
    for frame in (dropped, kept):
        frame["url"] = frame["url"].str.removeprefix(server.base)
    scores = precision_and_recall(web, dropped, kept).set_index("step")
    for step in ("repeated_rows", "keywords", "captions", "url_duplicates", "fetch", "valid_images", "byte_duplicates"):
        assert tuple(scores.loc[step, ["precision", "recall"]]) == (1, 1), step
    assert scores.loc["hash_duplicates", "precision"] == 1
    # What is turned keeps no hash: the score says how many copies the hash does find.
    assert scores.loc["hash_duplicates", "recall"] >= 0.5
    named = web.rows[web.rows["kind"] != "same row"][["source", "url", "caption", "kind"]]
    left = kept.merge(named, on=["source", "url", "caption"])["kind"].value_counts()
    assert left.sum() == len(kept)
    assert set(left.index) <= {"good", "another day", "turned", "cropped", "off topic"}
    assert (left["good"], left["another day"], left["off topic"]) == (40, 5, 5)
    counts = manifest["counts"]
    assert counts["rows read"] == len(web.rows)
    assert counts["rows kept"] == len(kept) == len(web.rows) - len(dropped)
    assert counts["val"] == (corpus.split("train_val")["role"] == "val").sum()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "hash_duplicates" in page and "<script" not in page and "laioncoco" in page


def test_turned_copies_are_found_where_asked_for(
    web: SyntheticWeb, filed: Filed, recipe: Recipe, tmp_path: Path
) -> None:
    looks = LOOKS.replace("valid_images", "valid_images: {turned: true}").replace("6}", "6, turned: true}")
    run(recipe(HELD + "steps:\n" + RULES + looks), filed(images=True), tmp_path / "out")
    named = web.rows[["source", "url", "caption", "kind"]].assign(url="http://web.example" + web.rows["url"])
    corpus = Area.open(tmp_path / "out" / "corpus")
    kept = corpus.images.merge(corpus.captions, on="image_id").merge(named, on=["source", "url", "caption"])
    counts = kept.drop_duplicates("image_id")["kind"].value_counts()
    assert counts.get("turned", 0) == 0
    assert (counts["good"], counts["another day"]) == (40, 5)
    dropped = pd.read_parquet(tmp_path / "out" / "dropped.parquet").merge(named, on=["source", "url", "caption"])
    assert dropped.loc[dropped["kind"] == "turned", "score"].max() <= 6
    with pytest.raises(InputError, match="turned needs"):
        plain = RULES + "- valid_images\n- hash_duplicates: {turned: true}\n"
        run(recipe(HELD + "steps:\n" + plain), filed(images=True), tmp_path / "not")


def test_the_funnel_of_every_source_closes(web: SyntheticWeb, filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    run(recipe(HELD + "steps:\n" + RULES + LOOKS), filed(images=True), tmp_path / "out")
    statistics = json.loads((tmp_path / "out" / "statistics.json").read_text())
    for row in statistics["funnel"][:-1]:
        assert row["read"] == (web.rows["source"] == row["source"]).sum()
        assert row["remain"] == row["read"] - sum(row[step] for step in statistics["steps"])
    kinds = web.rows["kind"].value_counts()
    assert statistics["reasons"]["keywords"] == {"no caption": kinds["no caption"], "no keyword": kinds["no keyword"]}
    assert set(web.rows["kind"]) == set(PLANTED)


def test_keywords_need_not_be_recorded_and_count_the_same(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    given = filed()
    run(recipe("steps:\n- keywords\n"), given, tmp_path / "all")
    run(recipe("steps:\n- keywords: {record: false}\n"), given, tmp_path / "counted")
    one, other = (json.loads((tmp_path / name / "statistics.json").read_text()) for name in ("all", "counted"))
    assert one["funnel"] == other["funnel"]
    assert one["reasons"] == other["reasons"]
    assert pq.read_metadata(tmp_path / "counted" / "dropped.parquet").num_rows < one["funnel"][-1]["keywords"]


def test_a_partition_without_a_row_that_stays_is_no_trouble(recipe: Recipe, tmp_path: Path) -> None:
    captions = [f"a cat number {n}" for n in range(100)] + ["aerial photo of a farm", "aerial photo"]
    table = pa.table({"caption": captions, "url": [f"http://x/{n}" for n in range(102)]})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=50)
    made = recipe("steps: [{keywords: {record: false}}, url_duplicates, captions]")
    manifest = run(made, [str(tmp_path / "a.parquet")], tmp_path / "out")
    assert manifest["counts"]["rows kept"] == 1
    assert manifest["dropped"] == {"keywords: no keyword": 100, "captions: too short": 1}
    nothing = recipe("steps: [{keywords: {record: false, patterns: [harbour]}}, url_duplicates, captions]")
    assert run(nothing, [str(tmp_path / "a.parquet")], tmp_path / "none")["counts"]["rows kept"] == 0
    assert check_area(Area.open(tmp_path / "none" / "corpus")) == []


def test_a_source_column_counts_by_source(recipe: Recipe, tmp_path: Path) -> None:
    table = pa.table({"TEXT": ["aerial photo a", None, "cat", "usgs"], "from": ["x", "y", "y", None]})
    pq.write_table(table, tmp_path / "mixed.parquet")
    for record in ("true", "false"):
        text = f"columns: {{caption: TEXT, url: '', source: from}}\nsteps: [{{keywords: {{record: {record}}}}}]\n"
        run(recipe(text), [str(tmp_path / "mixed.parquet")], tmp_path / record)
        rows = json.loads((tmp_path / record / "statistics.json").read_text())["funnel"]
        assert {row["source"]: (row["read"], row["remain"]) for row in rows} == {
            "x": (1, 1), "y": (2, 0), "mixed": (1, 1), "total": (4, 2),
        }  # fmt: skip


def test_each_step_runs_alone(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    for step in ("keywords", "captions", "url_duplicates", "valid_images"):
        manifest = run(recipe(f"{HELD}steps: [{step}]"), filed(images=True), tmp_path / step)
        assert manifest["counts"]["rows kept"] > 0


def test_a_source_that_is_added_gives_what_a_rebuild_gives(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    given, made = filed(images=True), recipe(HELD + "steps:\n" + RULES + LOOKS)
    run(made, given[:2], tmp_path / "steps")
    manifest = run(made, given, tmp_path / "steps")
    assert manifest["counts"]["partitions taken up from before"] > 0
    run(made, given, tmp_path / "whole")
    assert content(tmp_path / "steps") == content(tmp_path / "whole")


def test_neither_partitions_nor_order_change_what_stays(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    given, made = filed(images=True), recipe(HELD + "steps:\n" + RULES + LOOKS)
    kept = []
    for number, (order, rows, batch) in enumerate(((given, 20, 7), (given[::-1], 1000, 512))):
        config = Settings(
            recipe=str(made), in_=order, out=tmp_path / str(number), partition_rows=rows, batch_rows=batch
        )
        curate_with(config, silent, lambda name: None, lambda line: None)
        images = pd.read_parquet(tmp_path / str(number) / "corpus" / "images.parquet").drop(columns="uri")
        dropped = pd.read_parquet(tmp_path / str(number) / "dropped.parquet")
        kept.append([frame.sort_values(list(frame), ignore_index=True).to_json() for frame in (images, dropped)])
    assert kept[0] == kept[1]


def test_a_finished_run_is_not_done_again(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    given, made = filed(), recipe("steps:\n" + RULES)
    run(made, given, tmp_path / "out")
    config = Settings(recipe=str(made), in_=given, out=tmp_path / "out", partition_rows=60)
    assert curate_with(config, silent, lambda name: None, lambda line: None).skipped


LIMIT = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
"""
DRIVER = """
import sys, time
from pathlib import Path
from chorograph.ground.stage import silent
from chorograph.curation.run import run as running
from chorograph.verbs.curate.run import Settings, curate_with
recipe, out, *given = sys.argv[1:]
def slowly(what, done, total):
    print("at", done, flush=True)
    time.sleep(0.15)
config = Settings(recipe=recipe, in_=given, out=Path(out), partition_rows=60)
curate_with(config, slowly, lambda name: None, lambda line: None)
"""


def test_killed_and_started_again_it_ends_the_same(
    web: SyntheticWeb, filed: Filed, recipe: Recipe, tmp_path: Path
) -> None:
    made = recipe(COLUMNS + "steps:\n" + RULES + FETCH + LOOKS)
    with bad_server(pictures=web.pictures()) as server:
        given = filed(server.base)
        command = [sys.executable, "-c", DRIVER, str(made), str(tmp_path / "killed"), *given]
        for partitions in (2, 6):
            driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert driver.stdout is not None
            for _ in range(partitions):
                driver.stdout.readline()
            driver.send_signal(signal.SIGKILL)
            driver.wait(600)
            driver.stdout.close()
            assert not (tmp_path / "killed" / "corpus").exists()
        # Killed while the corpus was written.
        (tmp_path / "killed" / ".corpus.chorograph-0123456789ab" / "shards").mkdir(parents=True)
        (tmp_path / "killed" / ".dropped.parquet.chorograph-0123456789ab.parquet").write_bytes(b"half")
        asked = server.asked.copy()
        manifest = run(made, given, tmp_path / "killed")
        assert manifest["counts"]["partitions taken up from before"] >= 4
        images = [path for path in web.pictures() if asked[path]]
        assert images and all(server.asked[path] <= 2 for path in images)  # one that was on its way may be asked again
        run(made, given, tmp_path / "whole")
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert not list((tmp_path / "killed").glob(".*")) + list((tmp_path / "killed" / "work").glob(".*"))


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"text": ["a"], "url": ["b"]}, "no column 'caption'.*it has: text, url"),
        ({"caption": [1, 2], "url": ["a", "b"]}, "'caption'.*holds int64, not text"),
        ({"caption": ["a"], "url": [b"b"]}, "'url'.*holds binary, not text"),
    ],
)
def test_columns_that_are_not_there(
    columns: dict[str, list[object]], message: str, recipe: Recipe, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "bad.parquet")
    with pytest.raises(InputError, match=message):
        run(recipe("steps: [keywords]"), [str(tmp_path / "bad.parquet")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_truncated_file_is_named_before_anything_is_written(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    given = filed()
    path = Path(given[0].partition("=")[2])
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"laion2b\.parquet is no whole Parquet file"):
        run(recipe("steps: [keywords]"), given, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_damaged_inside_fails_its_partition_only(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    given, made = filed(), recipe("steps: [keywords]")
    path = Path(given[-1].partition("=")[2])
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + bytes(byte ^ 0x5A for byte in whole[4:400]) + whole[400:])
    with pytest.raises(InputError, match=rf"{path.name}.*goes on from there"):
        run(made, given, tmp_path / "out")
    assert not (tmp_path / "out" / "corpus").exists()
    assert not list((tmp_path / "out" / "work").glob(".*"))
    path.write_bytes(whole)
    assert run(made, given, tmp_path / "out")["counts"]["partitions taken up from before"] > 0


def test_rows_without_captions_are_a_counted_reason(recipe: Recipe, tmp_path: Path) -> None:
    captions = [None if i % 100 == 0 else f"aerial photo of place number {i}" for i in range(1000)]
    pq.write_table(
        pa.table({"caption": captions, "url": [f"http://x/{i}" for i in range(1000)]}), tmp_path / "a.parquet"
    )
    manifest = run(recipe("steps: [captions]"), [str(tmp_path / "a.parquet")], tmp_path / "out")
    assert manifest["dropped"] == {"captions: no caption": 10}
    assert manifest["counts"]["rows kept"] == 990


def test_a_run_whose_every_fetch_failed_warns(recipe: Recipe, tmp_path: Path) -> None:
    with bad_server() as server:
        urls = [server.url("missing", number) for number in range(4)]
        table = pa.table({"caption": [f"aerial photo of place {n}" for n in range(4)], "url": urls})
        pq.write_table(table, tmp_path / "a.parquet")
        manifest = run(recipe("steps:\n" + FETCH), [str(tmp_path / "a.parquet")], tmp_path / "out")
    (said,) = manifest["warnings"]  # type: ignore[misc]
    assert said.startswith("none of 4 addresses could be fetched (4 x HTTP 404); is this machine online")


def test_a_full_disk_leaves_nothing_half_written(filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    given, made = filed(images=True), recipe(HELD + "steps:\n" + RULES + LOOKS)
    # No file may grow beyond 40 kB: writing fails as on a full disk, in the packs, in Daft and in the shards alike.
    command = [sys.executable, "-c", LIMIT + DRIVER, str(made), str(tmp_path / "out"), *given]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode != 0
    assert "File too large" in done.stderr
    assert not (tmp_path / "out" / "corpus").exists()
    assert not list((tmp_path / "out").rglob(".*")) and not (tmp_path / "out" / "manifest.json").exists()
    run(made, given, tmp_path / "out")
    run(made, given, tmp_path / "whole")
    assert content(tmp_path / "out") == content(tmp_path / "whole")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1"])
def test_an_unreachable_cluster_is_said_at_once(address: str, filed: Filed, recipe: Recipe, tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(InputError, match="no Ray cluster answers"):
        run(recipe("steps: [keywords]"), filed(), tmp_path / "out", engine="ray", ray_address=address)
    assert time.monotonic() - started < 15


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: [", "cannot be read as a recipe"),
        ("title: x", "needs a list of steps"),
        ("step: []\nsteps: [keywords]", "did you mean 'steps'"),
        ("steps: [keyword]", "did you mean 'keywords'"),
        ("steps: [keywords, keywords]", "appears twice"),
        ("steps: [{captions: {min_word: 3}}]", "did you mean 'min_words'"),
        ("steps: [{captions: {min_words: 9, max_words: 3}}]", "at most max_words"),
        ("steps: [valid_images]", "needs fetch or columns: image before it"),
        ("steps: [fetch, hash_duplicates]", "needs valid_images before it"),
        ("steps: [{relevance: {}}]", "model must be given"),
        ("columns: {text: x}\nsteps: [keywords]", "setting of .*columns"),
        ("steps: [{fetch: {tries: 0}}]", "positive"),
        ("steps: [fetch, {detector: {head: '{head}'}}]", "needs --set head="),
        ("steps: [{hash_duplicates: 4}]", "hash_duplicates"),
    ],
)
def test_mistakes_in_a_recipe_are_found_before_anything_runs(
    text: str, message: str, recipe: Recipe, tmp_path: Path
) -> None:
    with pytest.raises(ChorographError, match=message):
        run(recipe(text), ["nothing"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_telemetry_is_off_before_daft_is_there() -> None:
    switches = ("DO_NOT_TRACK", "DAFT_ANALYTICS_ENABLED")
    code = f"""
import os, sys
from chorograph.curation.run.engine import daft
assert "daft" not in sys.modules
daft()
print(*[os.environ[name] for name in {switches}])
"""
    clean = {name: value for name, value in os.environ.items() if name not in switches}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=clean)
    assert done.stdout.split() == ["1", "0"]


def test_the_random_part_of_a_run_is_only_the_seed(web: SyntheticWeb) -> None:
    from synthetic_web import make_web

    again = make_web(originals=40, each=5)
    assert np.array_equal(again.rows["image"], web.rows["image"])
