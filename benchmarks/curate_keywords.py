"""The keyword filter of `curate` and DuckDB on the same captions: both read Parquet and write Parquet.

`python benchmarks/curate_keywords.py [ROWS [FOLDER]]` writes results/curate_keywords.json. Each side runs in a process
of its own on two threads, warmed by one small file, so that start-up is told apart; sides take turns. The captions are
made up, in FOLDER where it is given and empty.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

RESULT = Path(__file__).parent / "results" / "curate_keywords.json"
ROWS = 10_000_000
PER_FILE = 1_000_000
ROUNDS = 2
THREADS = 2


def make(folder: Path, rows: int) -> None:
    """Write captions of 242 characters on average, of which a twentieth holds a pattern, in files of a million."""
    from chorograph.curation.steps.keywords import RS5M_PATTERNS

    generator = np.random.default_rng(0)
    letters = np.array(list("abcdefghiklmnoprstuvwy"))
    words = ["".join(generator.choice(letters, generator.integers(2, 11))) for _ in range(5000)]
    pool = []
    for number in range(50_000):
        text = list(generator.choice(words, generator.integers(12, 58)))
        if number % 20 == 0:
            text.insert(int(generator.integers(len(text))), RS5M_PATTERNS[generator.integers(42)].upper())
        pool.append(" ".join(text))
    texts = pa.array(pool)
    for file in range(-(-rows // PER_FILE)):
        count = min(PER_FILE, rows - file * PER_FILE)
        numbers = pa.array(np.arange(file * PER_FILE, file * PER_FILE + count)).cast(pa.string())
        captions = pc.binary_join_element_wise(
            texts.take(pa.array(generator.integers(0, len(pool), count))), numbers, " "
        )
        urls = pc.binary_join_element_wise(pa.scalar("http://images.example/"), numbers, "")
        pq.write_table(
            pa.table({"caption": captions, "url": urls}), folder / f"{file:03d}.parquet", row_group_size=100_000
        )


def ours(folder: Path, out: Path, small: Path) -> dict[str, Any]:
    from chorograph.curation.run.engine import daft, engine
    from chorograph.curation.run.partitions import find_partitions
    from chorograph.curation.run.plan import read_plan
    from chorograph.curation.run.run import run_plan

    recipe = out / "recipe.yaml"
    recipe.write_text("steps: [{keywords: {record: false}}]\n")
    plan = read_plan(recipe)
    begun = time.perf_counter()
    daft().set_runner_native(num_threads=THREADS)
    with engine("native"):
        run_plan(plan, find_partitions([str(small)], plan.columns, PER_FILE), out / "small")
        ready = time.perf_counter()
        result = run_plan(plan, find_partitions([str(folder)], plan.columns, PER_FILE), out / "work")
        done = time.perf_counter()
    return {"start": ready - begun, "seconds": done - ready, "kept": result.funnel.rows()[-1]["remain"]}


def duckdbs(folder: Path, out: Path, small: Path) -> dict[str, Any]:
    import duckdb

    from chorograph.curation.steps.keywords import Keywords

    begun = time.perf_counter()
    connection = duckdb.connect()
    connection.execute(f"SET threads = {THREADS}")

    def query(source: str, target: str) -> Any:
        # S608: our own paths and the published patterns, in a benchmark.
        chosen = f"SELECT caption, url FROM read_parquet('{source}') WHERE regexp_matches(caption, $1)"  # noqa: S608
        copied = f"COPY ({chosen}) TO '{out / target}' (FORMAT parquet, COMPRESSION zstd)"
        return connection.execute(copied, [Keywords().regex]).fetchone()

    query(str(small), "small.parquet")
    ready = time.perf_counter()
    (kept,) = query(f"{folder}/*.parquet", "kept.parquet")
    return {"start": ready - begun, "seconds": time.perf_counter() - ready, "kept": kept}


def main() -> None:
    if sys.argv[1:2] == ["--side"]:
        side = {"ours": ours, "duckdb": duckdbs}[sys.argv[2]]
        result = side(*map(Path, sys.argv[3:]))
        print(json.dumps({**result, "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20}))
        return
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as place:
        folder, small = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(place) / "in", Path(place) / "small"
        folder.mkdir(exist_ok=True)
        small.mkdir()
        if not any(folder.iterdir()):
            make(folder, rows)
        make(small, 1000)
        found: dict[str, list[dict[str, Any]]] = {"ours": [], "duckdb": []}
        for _ in range(ROUNDS):
            for side, results in found.items():
                out = Path(place) / "out"
                out.mkdir()
                arguments = [str(folder), str(out), str(small / "000.parquet")]
                command = [sys.executable, __file__, "--side", side, *arguments]
                done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
                results.append(json.loads(done.stdout.splitlines()[-1]))
                shutil.rmtree(out)
                print(side, results[-1], file=sys.stderr)
        size = sum(file.stat().st_size for file in folder.iterdir())
    kept = {result["kept"] for results in found.values() for result in results}
    if len(kept) != 1:
        raise SystemExit(f"the two sides keep different numbers of rows: {kept}")

    def middle(side: str, name: str) -> float:
        return round(float(np.median([result[name] for result in found[side]])), 3)

    result = {
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "rows": rows,
        "threads": THREADS,
        "input_mb": round(size / 1e6),
        "kept": kept.pop(),
        "seconds (median of rounds)": {side: middle(side, "seconds") for side in found},
        "start-up seconds": {side: middle(side, "start") for side in found},
        "peak GiB": {side: middle(side, "peak_gib") for side in found},
        "rows a second, ours": round(rows / middle("ours", "seconds")),
        "our speed / DuckDB's": round(middle("duckdb", "seconds") / middle("ours", "seconds"), 2),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
