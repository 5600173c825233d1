"""Running a plan: phase by phase, partition by partition, each written whole and never done twice.

A partition's result lies in a folder named by everything that decides it (files, columns, steps, what was decided on it
before). The folder is written beside and renamed: where it stands, the partition is done. That is the whole ledger.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chorograph.curation.rows import SCHEMA, Context, ReducingStep, TableStep
from chorograph.curation.run.apart import forget
from chorograph.curation.run.engine import mendable
from chorograph.curation.run.funnel import Funnel
from chorograph.curation.run.partitions import Partition
from chorograph.curation.run.plan import Phase, Plan, RepeatedRows
from chorograph.curation.run.queries import count_by_source, first_query, next_query, write
from chorograph.curation.steps.keywords import Keywords
from chorograph.curation.steps.ratings import Ratings, ratings_of
from chorograph.ground.drafts import atomic_folder, sweep
from chorograph.ground.errors import InputError
from chorograph.ground.files import read_json, write_json
from chorograph.ground.stage import Progress, fingerprint, silent

#: Changes when partitions that an older version wrote must not be taken up.
_VERSION = 1
_COUNTS = "counts.json"
_COUNTED = {"read": {str: int}, "dropped": [[(str, int)]], "rows?": int}
_DECIDED = pa.schema(
    [
        ("key", pa.uint64()),
        ("step", pa.string()),
        ("reason", pa.string()),
        ("score", pa.float64()),
        ("kept", pa.uint64()),
    ]
)


@dataclass(frozen=True)
class Done:
    """A partition after a phase: where its rows lie, what names its content, and what was decided on it then."""

    partition: Partition
    folder: Path
    identity: str
    decided: pa.Table


@dataclass(frozen=True)
class Result:
    """A plan that ran: its partitions after the last phase, all phases before, and the counts."""

    phases: tuple[tuple[Done, ...], ...]
    funnel: Funnel
    packs: Path
    partitions_found: int

    def survivors(self) -> Iterator[pa.Table]:
        """Yield what is still in, a table a partition, sorted by key."""
        for done in self.phases[-1]:
            table = still_in(done)
            yield table.take(pc.sort_indices(table, [("key", "ascending")]))

    def dropped(self) -> Iterator[pa.Table]:
        """Yield what was dropped row by row, a table a phase and partition, sorted by key."""
        for phase in self.phases:
            for done in phase:
                table = read_rows(done.folder)
                out = table.filter(pc.is_valid(table["step"]))
                yield from (t.take(pc.sort_indices(t, [("key", "ascending")])) for t in (out, _decided_rows(done)))


def run_plan(
    plan: Plan,
    partitions: Sequence[Partition],
    work: Path,
    *,
    load_encoder: Callable[[str], Any] | None = None,
    batch_rows: int = 1024,
    progress: Progress = silent,
) -> Result:
    """Run a plan on whichever engine is set; what stands in `work` is taken up.

    Raises `InputError` naming the partition whose query failed; what was done before stays.
    """
    work = work.resolve()  # a worker on another machine has another current folder
    work.mkdir(parents=True, exist_ok=True)
    sweep(work)
    funnel = Funnel(plan.step_names)
    phases: list[tuple[Done, ...]] = []
    total = sum(partition.rows for partition in partitions)
    found = 0
    for number, phase in enumerate(plan.phases):
        what = f"phase {number + 1} of {len(plan.phases)}, rows: {_names(phase)}"
        before = phases[-1] if phases else None
        done: list[Done] = []
        rows = fresh = 0
        started = time.perf_counter()
        progress(what, 0, total)
        for partition in partitions:
            last = before[partition.number] if before else None
            identity = _identity(plan, phase, partition, last)
            folder = work / f"{number + 1}-{identity}"
            packs = work / "packs" / partition.identity
            if (folder / _COUNTS).is_file():
                found += 1
            else:
                fresh += partition.rows
                context = Context(str(packs.resolve()), load_encoder)
                _run_partition(plan, phase, partition, last, folder, context, batch_rows)
            counts = read_json(folder / _COUNTS, _COUNTED)
            funnel.add(counts["read"], [tuple(drop) for drop in counts["dropped"]])
            done.append(Done(partition, folder, identity, _DECIDED.empty_table()))
            rows += partition.rows
            rate = fresh / max(time.perf_counter() - started, 1e-3)
            left = f", {(total - rows) / rate:,.0f} s left" if rate else ""
            progress(f"{what} | {rate:,.0f} rows/s{left}", rows, total)
        phases.append(tuple(_decide(phase.table_steps, done, funnel, work / "store")))
    return Result(tuple(phases), funnel, work / "packs", found)


def read_rows(folder: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a partition's rows after a phase."""
    files = sorted((folder / "rows").glob("*.parquet"))
    if not files:
        schema = SCHEMA if columns is None else pa.schema([SCHEMA.field(name) for name in columns])
        return schema.empty_table()
    names = list(columns) if columns is not None else SCHEMA.names
    return pa.concat_tables([pq.read_table(file, columns=names).select(names).cast(_sub(names)) for file in files])


def still_in(done: Done, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a partition that neither a step of its phase nor the decision after it dropped."""
    names = list(SCHEMA.names if columns is None else columns)
    table = read_rows(done.folder, [*names, *[name for name in ("key", "step") if name not in names]])
    staying = pc.is_null(table["step"])
    if done.decided.num_rows:
        staying = pc.and_(staying, pc.invert(pc.is_in(table["key"], done.decided["key"].combine_chunks())))
    return table.filter(staying).select(names)


def clean(work: Path, result: Result) -> None:
    """Remove results of partitions that this run did not use: of other files, other steps, or interrupted."""
    used = {done.folder.name for phase in result.phases for done in phase}
    for folder in work.iterdir():
        if folder.is_dir() and folder.name not in used and folder.name not in ("packs", "store"):
            shutil.rmtree(folder, ignore_errors=True)


def _run_partition(
    plan: Plan,
    phase: Phase,
    partition: Partition,
    last: Done | None,
    folder: Path,
    context: Context,
    batch_rows: int,
) -> None:
    # A folder without its counts is no result, and is replaced.
    with atomic_folder(folder, replace=True, sweeping=False) as temporary:
        rows = temporary / "rows"
        if last is None:
            queries = first_query(partition, plan.columns, phase.row_steps, context, batch_rows)
        else:
            queries = [next_query(str(last.folder / "rows"), last.decided, phase.row_steps, context, batch_rows)]
        for number, query in enumerate(queries):
            _run_query(query, temporary / f"query-{number}", partition)
        forget(Path(context.packs))
        _gather(temporary, rows)
        if last is None:
            _settle_repeated(temporary)
        write_json(temporary / _COUNTS, _count(plan, phase, partition, temporary, first=last is None))


def _run_query(query: Any, folder: Path, partition: Partition) -> None:
    """Run a query; what it fails with is said in a line that names the files."""
    try:
        write(query, folder)
    except Exception as error:
        files = ", ".join(sorted({Path(piece.path).name for piece in partition.pieces}))
        said = str(mendable(error) or error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"partition {partition.number + 1} ({files}): {said[-1]}; what was finished before stays, and the same "
            "command goes on from there"
        ) from error


def _gather(folder: Path, rows: Path) -> None:
    rows.mkdir()
    for file in sorted(folder.glob("query-*/*.parquet")):
        file.rename(rows / file.name)
    for query in folder.glob("query-*"):
        query.rmdir()


def _settle_repeated(folder: Path) -> None:
    """Let all but one of the rows that are still in with one key leave; a key then names a row of its partition."""
    keys = read_rows(folder, ["key", "step"])
    staying = np.flatnonzero(pc.is_null(keys["step"]).to_numpy(zero_copy_only=False))
    values = keys["key"].to_numpy()[staying]
    first = np.unique(values, return_index=True)[1]
    if len(first) == len(values):
        return
    again = np.zeros(keys.num_rows, dtype=bool)
    again[staying] = True
    again[staying[first]] = False
    table = read_rows(folder)
    said = {"step": RepeatedRows.name, "reason": RepeatedRows.reason, "kept": table["key"]}
    for name, value in said.items():
        place = table.schema.get_field_index(name)
        table = table.set_column(place, SCHEMA.field(name), pc.if_else(pa.array(again), value, table[name]))
    for file in (folder / "rows").glob("*.parquet"):
        file.unlink()
    pq.write_table(table, folder / "rows" / "settled.parquet", compression="zstd")


def _count(plan: Plan, phase: Phase, partition: Partition, folder: Path, *, first: bool) -> dict[str, Any]:
    """Return rows read by source (in the first phase) and drops by source, step and reason."""
    table = read_rows(folder, ["source", "step", "reason"])
    grouped = table.group_by(["source", "step", "reason"]).aggregate([([], "count_all")]).to_pylist()
    dropped = [[g["source"], g["step"], g["reason"], g["count_all"]] for g in grouped if g["step"] is not None]
    read: dict[str, int] = {}
    if first:
        held: Counter[str] = Counter()
        for group in grouped:
            held[group["source"]] += group["count_all"]
        words = phase.row_steps[0] if phase.row_steps else None
        if isinstance(words, Keywords) and not words.record:
            for source, rows, nulls in count_by_source(partition, plan.columns):
                read[source] = rows
                for reason, number in (("no caption", nulls), ("no keyword", rows - nulls - held[source])):
                    if number:
                        dropped.append([source, words.name, reason, number])
        else:
            read = dict(held)
        if sum(read.values()) != partition.rows:
            raise InputError(
                f"{sum(read.values())} of {partition.rows} rows were read; was the file changed meanwhile? Run it again"
            )
    return {"read": read, "dropped": sorted(dropped), "rows": table.num_rows}


def _decide(steps: Sequence[TableStep], done: Sequence[Done], funnel: Funnel, store: Path) -> list[Done]:
    """Let the table steps see the rows of all partitions; returns the partitions with what was decided on each."""
    decided: list[list[pa.Table]] = [[] for _ in done]
    for step in steps:
        parts, owners = [], []
        names = list(dict.fromkeys(["key", "source", *step.columns]))
        for place, part in enumerate(done):
            so_far = pa.concat_tables([_DECIDED.empty_table(), *decided[place]])
            rows = still_in(Done(part.partition, part.folder, part.identity, so_far), names)
            parts.append(step.reduce(rows, store) if isinstance(step, ReducingStep) else rows)
            owners.append(np.full(parts[-1].num_rows, place))
        table = pa.concat_tables(parts).combine_chunks()
        decision = step.decide(table, store)
        if not len(decision.rows):
            continue
        rows = table.take(pa.array(decision.rows))
        kept = pa.nulls(len(decision.rows), pa.uint64()) if decision.kept is None else pa.array(decision.kept)
        leaving = pa.table(
            {
                "key": rows["key"],
                "step": pa.array([step.name] * len(decision.rows)),
                "reason": pa.array(decision.reasons, type=pa.string()),
                "score": pa.array(decision.scores, from_pandas=True),
                "kept": kept,
            },
            schema=_DECIDED,
        )
        owner = np.concatenate(owners)[decision.rows]
        for place in np.unique(owner).tolist():
            decided[place].append(leaving.filter(pa.array(owner == place)))
        counted = Counter(zip(rows["source"].to_pylist(), decision.reasons, strict=True))
        funnel.add({}, [(source, step.name, reason, number) for (source, reason), number in counted.items()])
    return [
        Done(part.partition, part.folder, part.identity, pa.concat_tables([_DECIDED.empty_table(), *decided[place]]))
        for place, part in enumerate(done)
    ]


def _decided_rows(done: Done) -> pa.Table:
    """Return the rows that were decided on after a phase, with step, reason, score and the row that stayed."""
    if not done.decided.num_rows:
        return SCHEMA.empty_table()
    table = read_rows(done.folder)
    table = table.filter(pc.is_null(table["step"])).drop(["step", "reason", "score", "kept"])
    joined = table.join(done.decided, keys="key", join_type="inner")
    return joined.select(SCHEMA.names).cast(SCHEMA)


def _identity(plan: Plan, phase: Phase, partition: Partition, last: Done | None) -> str:
    """Return what names a partition's result in a phase: it changes with anything that could change the rows."""
    steps = [(step.name, _settings(step)) for step in phase.row_steps]
    if last is None:
        origin: list[Any] = [partition.identity, asdict(plan.columns)]
    else:
        keys = np.sort(last.decided["key"].to_numpy())
        origin = [last.identity, hashlib.sha256(keys.tobytes()).hexdigest()]
    text = json.dumps([_VERSION, origin, steps], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _settings(step: Any) -> dict[str, Any]:
    """Return a step's settings; a file or folder among them counts by its content."""
    settings = asdict(step)
    for name in ("model", "head"):
        if name in settings and Path(settings[name]).exists():
            settings[name] = fingerprint(Path(settings[name]))
    if isinstance(step, Ratings):
        settings["area"] = fingerprint(ratings_of(step.area))
    return settings


def _names(phase: Phase) -> str:
    steps: tuple[Any, ...] = (*phase.row_steps, *phase.table_steps)
    return ", ".join(step.name for step in steps) or "nothing"


def _sub(names: Sequence[str]) -> pa.Schema:
    return pa.schema([SCHEMA.field(name) for name in names])
