"""A whole run: partitions through a plan, then the corpus, what was dropped, statistics and the report."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from chorograph.curation.run.engine import engine
from chorograph.curation.run.output import statistics, write_corpus, write_dropped
from chorograph.curation.run.page import write_page
from chorograph.curation.run.partitions import Partition
from chorograph.curation.run.plan import Plan
from chorograph.curation.run.run import clean, run_plan
from chorograph.ground.drafts import contents
from chorograph.ground.errors import InputError
from chorograph.ground.files import write_json
from chorograph.ground.stage import Ledger, Progress, silent

LoadEncoder = Callable[[str], Any]
_SAMPLES = 5
#: Sources that a terminal has place for; the report has all.
_SOURCES = 4


def curate(
    plan: Plan,
    partitions: Sequence[Partition],
    out: Path,
    ledger: Ledger,
    *,
    load_encoder: LoadEncoder,
    engine_name: str = "native",
    ray_address: str | None = None,
    batch_rows: int = 1024,
    keep_work: bool = True,
    progress: Progress = silent,
) -> None:
    """Run `plan` over `partitions` and write `corpus/`, `dropped.parquet`, `statistics.json`, `report.html` in `out`.

    Partitions that an earlier run finished are taken up from `out/work`. `load_encoder`: from a name to a model, for
    steps that need one. Raises `InputError` where a folder that is no corpus is in the way.
    """
    with engine(engine_name, ray_address):
        result = run_plan(
            plan, partitions, out / "work", load_encoder=load_encoder, batch_rows=batch_rows, progress=progress
        )
    found = statistics(plan, result)
    dropped = write_dropped(out / "dropped.parquet", result)
    write_json(out / "statistics.json", found)
    write_page(out / "report.html", found, _samples(out / "dropped.parquet"))
    corpus = out / "corpus"
    if corpus.is_dir() and contents(corpus) and not (corpus / "area.toml").is_file():
        raise InputError(f"{corpus} is in the way and is no corpus; remove it or choose another --out")
    for name, number in write_corpus(corpus, plan, result, progress).items():
        ledger.count(name, number)
    clean(out / "work", result)
    if not keep_work:
        shutil.rmtree(out / "work")
    total = found["funnel"][-1]
    ledger.count("rows read", total["read"])
    ledger.count("rows kept", total["remain"])
    ledger.count("partitions taken up from before", result.partitions_found)
    ledger.count("dropped rows kept in dropped.parquet", dropped)
    for step, reasons in found["reasons"].items():
        for reason, number in reasons.items():
            ledger.drop(f"{step}: {reason}", number)
    if said := _nothing_fetched(found):
        ledger.warnings.append(said)
    ledger.facts["table"] = _table(found["funnel"], ["read", *found["steps"], "remain"])
    ledger.outputs += [out / "dropped.parquet", out / "statistics.json", out / "report.html", corpus]


def _table(funnel: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Return the funnel for a terminal: a line a step, a column a source (the largest ones), the total first."""
    shown = [funnel[-1], *funnel[:-1][:_SOURCES]] if len(funnel) > 2 else [funnel[-1]]
    columns = ["rows", *[str(row["source"]) for row in shown]]
    return {"columns": columns, "rows": [[name, *[f"{row[name]:,}" for row in shown]] for name in names]}


def _nothing_fetched(found: Mapping[str, Any]) -> str | None:
    """Return a warning where every fetch failed: more often a network or a proxy than a hundred dead hosts."""
    total, steps = found["funnel"][-1], found["steps"]
    if "fetch" not in steps or not total["fetch"]:
        return None
    reached = total["read"] - sum(total[step] for step in steps[: steps.index("fetch")] if step != "repeated_rows")
    if total["fetch"] + total["repeated_rows"] < reached:
        return None
    reasons = ", ".join(f"{number} x {reason}" for reason, number in found["reasons"]["fetch"].items())
    return (
        f"none of {total['fetch']:,} addresses could be fetched ({reasons}); is this machine online, without a proxy, "
        "and are its addresses public (or in `allow`)?"
    )


def _samples(path: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Return a few dropped rows of each step: the first ones of the file."""
    found: dict[str, list[dict[str, Any]]] = {}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                if len(found.setdefault(row["step"], [])) < _SAMPLES:
                    found[row["step"]].append(row)
    return found
