"""The verbs of this room. Models come in as an argument: a function from a name to an encoder."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chorograph.area.folder import Area
from chorograph.area.images import read_rgb
from chorograph.curation.config import CurateConfig, DecontaminateConfig, FitDetectorConfig, LookConfig
from chorograph.curation.decontaminate import find_contamination, hash_corpus, read_tests, write_without
from chorograph.curation.look import contact_sheet, draw_some, write_sheet
from chorograph.curation.pictures import read_pictures
from chorograph.curation.run.engine import engine
from chorograph.curation.run.output import statistics, write_corpus, write_dropped
from chorograph.curation.run.page import write_page
from chorograph.curation.run.partitions import find_partitions
from chorograph.curation.run.plan import read_plan
from chorograph.curation.run.run import clean, run_plan
from chorograph.curation.steps.detector import fit_detector, write_detector
from chorograph.curation.steps.encoding import Encoder
from chorograph.ground.errors import AreaError, ImageError, InputError
from chorograph.ground.files import write_json
from chorograph.ground.settings import plain
from chorograph.ground.stage import Ledger, Outcome, Progress, run_stage

LoadEncoder = Callable[[str], Any]
_SAMPLES = 5
#: Sources that a terminal has place for; the report has all.
_SOURCES = 4
_BATCH = 64


def curate(
    config: CurateConfig, progress: Progress, load_encoder: LoadEncoder, announce: Callable[[str], None]
) -> Outcome:
    """Run a recipe over Parquet files; `announce` is told the plan, line by line, before it runs."""
    plan = read_plan(Path(config.recipe), _pairs(config.set))
    partitions = find_partitions(config.in_, plan.columns, config.partition_rows)
    for line in plan.lines():
        announce(line)
    rows = sum(partition.rows for partition in partitions)
    announce(f"{rows:,} rows in {len(partitions):,} partitions, engine {config.engine}")
    out = config.out

    def work(ledger: Ledger) -> None:
        _sweep(out)
        with engine(config.engine, config.ray_address):
            result = run_plan(
                plan,
                partitions,
                out / "work",
                load_encoder=load_encoder,
                batch_rows=config.batch_rows,
                progress=progress,
            )
        found = statistics(plan, result)
        dropped = write_dropped(out / "dropped.parquet", result)
        write_json(out / "statistics.json", found)
        write_page(out / "report.html", found, _samples(out / "dropped.parquet"))
        # The new corpus is written beside; only a whole one takes the old one's place.
        fresh, corpus = out / ".corpus", out / "corpus"
        for name, number in write_corpus(fresh, plan, result, progress).items():
            ledger.count(name, number)
        if corpus.exists():
            if not (corpus / "area.toml").is_file():
                raise InputError(f"{corpus} is in the way and is no corpus; remove it or choose another --out")
            shutil.rmtree(corpus)
        fresh.rename(corpus)
        clean(out / "work", result)
        if not config.keep_work:
            shutil.rmtree(out / "work")
        total = found["funnel"][-1]
        ledger.count("rows read", total["read"])
        ledger.count("rows kept", total["remain"])
        ledger.count("partitions taken up from before", result.partitions_found)
        ledger.count("dropped rows kept in dropped.parquet", dropped)
        for step, reasons in found["reasons"].items():
            for reason, number in reasons.items():
                ledger.drop(f"{step}: {reason}", number)
        ledger.facts["table"] = _table(found["funnel"], ["read", *found["steps"], "remain"])
        ledger.outputs += [out / "dropped.parquet", out / "statistics.json", out / "report.html", corpus]

    settings = {
        # Neither the engine nor its address changes the result, nor do the sizes of batches.
        **{name: value for name, value in plain(config).items() if name in ("recipe", "in_", "out", "set")},
        "plan": plan.lines(),
        "partitions": [partition.identity for partition in partitions],
    }
    return run_stage("curate", manifest=out / "manifest.json", config=settings, inputs=[Path(config.recipe)], work=work)


def fit_a_detector(config: FitDetectorConfig, progress: Progress, load_encoder: LoadEncoder) -> Outcome:
    """Fit a linear head on images that show a topic and images that do not; its held-out accuracy is reported."""

    def work(ledger: Ledger) -> None:
        encoder = cast(Encoder, load_encoder(config.model))
        if any(hasattr(part, "fit") for part in getattr(encoder, "parts", (encoder,))):
            raise InputError(f"{config.model} must be fitted on an area first; use colour or a model with weights")
        vectors = [encode_pictures(path, encoder, ledger, progress) for path in (config.positive, config.negative)]
        head, report = fit_detector(vectors[0], vectors[1], encoder.name, encoder.fingerprint, config.seed)
        write_detector(config.out, head, report)
        ledger.facts.update(report)
        ledger.outputs += [config.out / "detector.json", config.out / "detector.npz"]

    inputs = [config.positive, config.negative]
    settings = plain(config)
    return run_stage("fit-detector", manifest=config.out / "manifest.json", config=settings, inputs=inputs, work=work)


def look(config: LookConfig, progress: Progress) -> Outcome:
    """Draw a contact sheet of a shard, an area or a folder."""
    out = config.out or config.shard.with_name(f"{config.shard.name.partition('.')[0]}-look.jpg")
    ledger = Ledger()
    pictures = draw_some(config.shard, config.number, config.seed, ledger.drop)
    write_sheet(out, contact_sheet(pictures))
    ledger.count("images on the sheet", len(pictures))
    manifest = {"stage": "look", "config": {**plain(config), "out": str(out)}}
    return Outcome({**manifest, "counts": ledger.counts, "dropped": dict(ledger.dropped)}, skipped=False)


def decontaminate(config: DecontaminateConfig, progress: Progress) -> Outcome:
    """Write a corpus without the images of test sets; `removed.parquet` says which and why."""
    area = Area.open(config.corpus)
    if config.out.exists() and any(config.out.iterdir() if config.out.is_dir() else [config.out]):
        raise AreaError(f"{config.out} exists already; choose a new folder for the clean corpus")

    def work(ledger: Ledger) -> None:
        tests = read_tests(config.against, ledger.drop, progress)
        removed = find_contamination(*hash_corpus(area, ledger.drop, progress), tests, config.distance)
        left = write_without(area, removed, config.out)
        ledger.count("test images", len(tests.names))
        ledger.count("images before", len(area.images))
        ledger.count("images left", left)
        for how, number in removed["how"].value_counts().items():
            ledger.drop(str(how), int(number))
        rows = [[row.image_id, row.test_image, row.how, str(row.bits)] for row in removed.head(20).itertuples()]
        ledger.facts["table"] = {"columns": ["removed", "is", "how", "bits"], "rows": rows}

    manifest = config.out.with_name(f"{config.out.name}.manifest.json")
    inputs = [config.corpus, *config.against]
    return run_stage("decontaminate", manifest=manifest, config=plain(config), inputs=inputs, work=work)


def encode_pictures(path: Path, encoder: Encoder, ledger: Ledger, progress: Progress) -> NDArray[np.float32]:
    """Return the vectors of the pictures at a path that decode."""
    vectors: list[NDArray[np.float32]] = []
    batch: list[NDArray[np.uint8]] = []
    done = 0

    def flush() -> None:
        if batch:
            vectors.append(encoder.encode(batch))
            batch.clear()

    for picture in read_pictures(path, ledger.drop):
        try:
            batch.append(read_rgb(picture.data))
        except ImageError as error:
            ledger.drop(f"image {error.reason}")
            continue
        done += 1
        if len(batch) == _BATCH:
            flush()
            progress(f"encoding {path.name}, images so far", done, done)
    flush()
    if not vectors:
        raise InputError(f"{path} holds no image that decodes")
    return np.concatenate(vectors)


def _table(funnel: list[dict[str, Any]], names: list[str]) -> dict[str, Any]:
    """Return the funnel for a terminal: a line a step, a column a source (the largest ones), the total first."""
    shown = [funnel[-1], *funnel[:-1][:_SOURCES]] if len(funnel) > 2 else [funnel[-1]]
    columns = ["rows", *[str(row["source"]) for row in shown]]
    return {"columns": columns, "rows": [[name, *[f"{row[name]:,}" for row in shown]] for name in names]}


def _sweep(out: Path) -> None:
    """Remove what a run that was killed was writing: hidden beside its target, and named after it."""
    names = (".corpus", "dropped.parquet", "statistics.json", "report.html", "manifest.json")
    for left in [*out.glob(".corpus"), *(left for name in names for left in out.glob(f".{name}.*"))]:
        if left.is_dir():
            shutil.rmtree(left)
        else:
            left.unlink()


def _samples(path: Path) -> Mapping[str, list[dict[str, Any]]]:
    """Return a few dropped rows of each step: the first ones of the file."""
    found: dict[str, list[dict[str, Any]]] = {}
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=4096):
            for row in batch.to_pylist():
                if len(found.setdefault(row["step"], [])) < _SAMPLES:
                    found[row["step"]].append(row)
    return found


def _pairs(words: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    if wrong := [word for word, equals, _ in pairs if not equals]:
        raise InputError(f"options: --set is NAME=VALUE, not {wrong[0]!r}")
    return {name: value for name, _, value in pairs}
