"""The suite that GeoRSCLIP is published with: what RS5M's inference.py does, over the same folders.

Below one folder: `eurosat-rgb/2750/CLASS`, `RESISC45/CLASS`, `AID/CLASS`, `rsitmd/rsitmd_test.csv` and
`rsicd/rsicd_test.csv` (filename, title) each with its images below, `AIR-SLT/annotations/anno.json` and `AIR-SLT/imgs`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chorograph.evaluation.accounting import account, interval
from chorograph.evaluation.examples.encoding import encode_examples
from chorograph.evaluation.examples.layouts import read_captioned, read_classified
from chorograph.evaluation.examples.seen import Seen
from chorograph.evaluation.prompts import PROMPTS
from chorograph.evaluation.published import Published, published_sizes
from chorograph.evaluation.suites.localization import (
    account_samples,
    check_samples,
    read_samples,
    score_samples,
    summarise,
)
from chorograph.evaluation.suites.retrieval import evaluate_retrieval
from chorograph.evaluation.suites.zero_shot import PUBLISHED, evaluate_zero_shot
from chorograph.ground.stage import Ledger, Progress, silent
from chorograph.metrics.regression import Estimate
from chorograph.models.encoders.protocols import ImageTextEncoder

Scores = dict[str, Estimate]


@dataclass(frozen=True)
class Suite:
    """Results by data set (as JSON-ready values), the data sets that were absent, and a table beside a published row.

    A line of the table: data set, score, measured, its interval, published, difference; in the published unit.
    """

    results: dict[str, dict[str, Any]]
    absent: tuple[str, ...]
    table: list[list[str]]


@dataclass(frozen=True)
class _Run:
    """What every part of the suite is run with."""

    encoder: ImageTextEncoder
    seen: Sequence[Seen]
    skip_bad: bool
    seed: int
    progress: Progress


def run_suite(
    encoder: ImageTextEncoder,
    data: Path,
    against: Published,
    ledger: Ledger,
    *,
    seen: Sequence[Seen] = (),
    skip_bad: bool = False,
    seed: int = 0,
    progress: Progress = silent,
) -> Suite:
    """Judge a model on every data set of the suite that lies below `data`; the others are named as absent.

    Each is scored in the published arithmetic, which the table shows beside `against`.
    """
    run = _Run(encoder, seen, skip_bad, seed, progress)
    suite = Suite({}, tuple(name for name, (below, _) in _PARTS.items() if not _held(data / below)), [])
    for name, (below, judge) in _PARTS.items():
        if name in suite.absent:
            continue
        counted = Ledger()
        scores, suite.results[name] = judge(run, data / below, counted)
        ledger.counts |= {f"{name} {what}": number for what, number in counted.counts.items()}
        for reason, number in counted.dropped.items():
            ledger.drop(f"{name} {reason}", number)
        ledger.warnings += [f"{name}: {warning}" for warning in counted.warnings]
        size, here = published_sizes()[name], counted.counts["samples" if name == "AIR-SLT" else "images"]
        if here != size:
            ledger.warnings.append(f"{name} has {here:,} here, the published test set {size:,}: do not compare")
        suite.table.extend(_line(name, score, estimate, against) for score, estimate in scores.items())
    return suite


def _zero_shot(run: _Run, path: Path, ledger: Ledger) -> tuple[Scores, dict[str, Any]]:
    examples = read_classified(path, ledger)
    classes = sorted({str(example.kind) for example in examples})
    encoded = encode_examples(run.encoder, examples, ledger, skip_bad=run.skip_bad, progress=run.progress)
    templates = PROMPTS["georsclip"]
    rows = evaluate_zero_shot(run.encoder, encoded, classes, templates, seed=run.seed, progress=run.progress)
    facts = {"prompts": "georsclip", "classes": classes}
    result = account("zero-shot", run.encoder, encoded, path, rows, ledger, seen=run.seen, **facts)
    return {"accuracy": rows[PUBLISHED]["accuracy"]}, result


def _retrieval(run: _Run, path: Path, ledger: Ledger) -> tuple[Scores, dict[str, Any]]:
    examples = read_captioned(path, ledger)
    encoded = encode_examples(run.encoder, examples, ledger, skip_bad=run.skip_bad, progress=run.progress)
    rows = evaluate_retrieval(run.encoder, encoded, ledger, shared=False, seed=run.seed, progress=run.progress)
    result = account("retrieval", run.encoder, encoded, path, rows, ledger, seen=run.seen, duplicates="separate")
    return rows[PUBLISHED], result


def _localization(run: _Run, path: Path, ledger: Ledger) -> tuple[Scores, dict[str, Any]]:
    samples = read_samples(path)
    checks = check_samples(run.encoder, samples)
    scored = score_samples(run.encoder, samples, compat=True, arithmetics=(True,), progress=run.progress)
    scores = summarise(scored, run.seed)["published"]
    rows = {PUBLISHED: scores}
    result = account_samples(run.encoder, path, samples, rows, ledger, seen=run.seen, checks=checks)
    return scores, result


#: Where each data set lies, and how it is judged.
_PARTS: Mapping[str, tuple[str, Callable[[_Run, Path, Ledger], tuple[Scores, dict[str, Any]]]]] = {
    "EuroSAT": ("eurosat-rgb", _zero_shot),
    "RESISC45": ("RESISC45", _zero_shot),
    "AID": ("AID", _zero_shot),
    "RSITMD": ("rsitmd/rsitmd_test.csv", _retrieval),
    "RSICD": ("rsicd/rsicd_test.csv", _retrieval),
    "AIR-SLT": ("AIR-SLT", _localization),
}


def _held(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def _line(name: str, score: str, estimate: Estimate, against: Published) -> list[str]:
    scale, digits = (1, 4) if name == "AIR-SLT" else (100, 2)
    measured = f"{scale * estimate.value:.{digits}f}"
    beside = against.scores.get((name, score))
    if beside is None:
        return [name, score, measured, interval(estimate, scale), "", ""]
    difference = f"{scale * estimate.value - beside:+.{digits}f}"
    return [name, score, measured, interval(estimate, scale), f"{beside:.{digits}f}", difference]
