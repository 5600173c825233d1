"""Honest accounting: every result says what was judged, by what, on what, and how sure it is."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import chorograph
from chorograph.evaluation.examples.encoding import Encoded
from chorograph.evaluation.examples.seen import Hashed, Seen
from chorograph.ground.stage import Ledger
from chorograph.metrics.regression import Estimate
from chorograph.models.encoders.protocols import ImageEncoder

#: Scores by name, of one way to judge; several ways make the rows of a result.
Rows = Mapping[str, Mapping[str, Estimate]]


def account(
    task: str,
    encoder: ImageEncoder,
    encoded: Encoded,
    data: Path,
    rows: Rows,
    ledger: Ledger,
    *,
    seen: Sequence[Seen] = (),
    **more: Any,
) -> dict[str, Any]:
    """Return a result as JSON-ready values: scores with intervals, and all that decided them.

    Evaluation images that training has seen are counted, and warned of.
    """
    ledger.count("images", len(encoded.examples))
    judged = {"data": str(data), "data_sha256": encoded.data_hash(), **more, "checks": encoded.checks}
    return account_of(task, encoder, judged, encoded.hashed(), rows, ledger, seen=seen)


def account_of(
    task: str,
    encoder: ImageEncoder,
    judged: Mapping[str, Any],
    images: Hashed,
    rows: Rows,
    ledger: Ledger,
    *,
    seen: Sequence[Seen] = (),
) -> dict[str, Any]:
    """Return the account of a result whose data, ways and checks are told in `judged`."""
    looked = [one.look_for(images) for one in seen]
    for found in looked:
        if found["identical"] or found["similar"]:
            alike = f", and {found['similar']} more look like one of it" if found["similar"] else ""
            ledger.warnings.append(
                f"{found['identical']} of {len(images.keys)} evaluation images are in {found['in']}{alike}: "
                "the scores flatter the model"
            )
    return {
        "task": task,
        "model": encoder.name,
        "model_fingerprint": encoder.fingerprint,
        **judged,
        "seen_in_training": looked or "not looked for; name what training saw with --seen",
        "library": {"version": version("chorograph"), "commit": commit()},
        "counts": dict(ledger.counts),
        "dropped": dict(ledger.dropped),
        "warnings": list(ledger.warnings),
        "rows": [
            {
                "name": name,
                "kind": "difference" if " - " in name else "model",
                "scores": {score: estimate.as_list() for score, estimate in scores.items()},
            }
            for name, scores in rows.items()
        ],
    }


def table(rows: Rows) -> dict[str, Any]:
    """Return rows as a table to print, in percent; the accuracy of each class stays in the file."""
    lines = [
        [name, score, f"{100 * estimate.value:.2f}", interval(estimate, 100)]
        for name, scores in rows.items()
        for score, estimate in scores.items()
        if not score.startswith("accuracy of ")
    ]
    return {"columns": ["", "score", "%", "95 % interval"], "rows": lines}


def interval(estimate: Estimate, scale: float) -> str:
    """Return the interval of an estimate as text; empty where it has none."""
    if not estimate.lower <= estimate.upper:
        return ""
    digits = 2 if scale == 100 else 4
    return f"{scale * estimate.lower:.{digits}f} to {scale * estimate.upper:.{digits}f}"


def commit() -> str | None:
    """Return the commit of the library's own checkout, `-dirty` where files differ; None for an installed wheel."""
    root = Path(chorograph.__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)  # noqa: S603  # fixed words
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
