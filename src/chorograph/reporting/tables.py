"""The tables of the report: scores, counts, sample regions, what is expected of unlabelled regions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chorograph.metrics.regression import Estimate
from chorograph.prediction.judging.scores import Row, Scores
from chorograph.reporting.decisions import read_table
from chorograph.reporting.numbers import NBSP, Quantity, plain
from chorograph.reporting.run import Run, axis_unit, fitted_unit
from chorograph.reporting.tiles import Group
from chorograph.reporting.wording import distance


def region_counts(run: Run) -> str:
    """Say how many regions were predicted, compared with the truth, or have no label."""
    total, unlabelled, scored = len(run.frame), int(run.unlabelled.sum()), int(run.scored.sum())
    parts = [f"{plain(total, 0)} regions", f"{plain(scored, 0)} predicted while held out and compared with the truth"]
    if rest := total - unlabelled - scored:
        parts.append(f"{plain(rest, 0)} labelled but not compared")
    if unlabelled:
        parts.append(f"{plain(unlabelled, 0)} without labels, predicted by a model of all labelled ones")
    return ": ".join([parts[0], "; ".join(parts[1:])])


def score_table(scores: Scores, rows: list[Row], quantity: Quantity) -> dict[str, Any]:
    """Lay out the scores: in the own unit always, in the fitted one beside it where that is another."""
    own, fitted = axis_unit(scores), fitted_unit(scores)
    shares = Quantity("", 2)
    small = Quantity("", max(quantity.decimals, 0)) if not scores.log else Quantity("", 3)
    errors = Quantity("", quantity.decimals)
    columns: list[tuple[str, str, str, Quantity]] = [("fitted", "r2", f"R², {fitted}", shares)]
    if scores.log:
        columns += [("fitted", "rmse", f"RMSE, {fitted}", small), ("own", "r2", f"R², {own}", shares)]
    else:
        columns = [("fitted", "r2", "R²", shares)]
    columns += [("own", "rmse", f"RMSE, {own}", errors), ("own", "mae", f"MAE, {own}", errors)]
    columns += [("own", "spearman", "Spearman", shares)]
    body = []
    for row in rows:
        cells = [_cell(getattr(row, where)[metric], unit) for where, metric, _, unit in columns]
        cells.append(_cell(row.coverage, Quantity("", 0), scale=100.0))
        cells.append((errors.number(row.mean_width), ""))
        kind = "best" if row is scores.model else row.kind
        body.append(
            {
                "name": row.name,
                "kind": kind,
                "note": _note(row, scores),
                "n": row.n,
                "cells": cells,
            }
        )
    level = plain(100 * scores.level, 1).removesuffix(".0")
    heads = [head for _, _, head, _ in columns] + [f"Coverage, % (aim{NBSP}{level})", f"Interval width, {own}"]
    return {"heads": heads, "rows": body}


def _note(row: Row, scores: Scores) -> str:
    """Return what a row is; of the model, what it chose where it chooses."""
    if row is not scores.model or row.meaning.startswith("the model of this run:"):
        return row.meaning
    return "the model of the maps above"


def _cell(estimate: Estimate | None, unit: Quantity, scale: float = 1.0) -> tuple[str, str]:
    if estimate is None:
        return "–", ""
    ends = (estimate.lower, estimate.upper) if estimate.bounded else ()
    interval = " to ".join(unit.number(scale * end) for end in ends)
    return unit.number(scale * estimate.value), interval


def sample_cards(run: Run, groups: tuple[Group, ...], quantity: Quantity) -> list[dict[str, Any]]:
    """Return the groups of sample regions with what a card of each says."""
    found = []
    for group in groups:
        cards = []
        for number in group.rows:
            row = run.frame.iloc[number]
            region = str(row["region_id"])
            cards.append(
                {
                    "name": row["name"] or region,
                    "region_id": region if row["name"] else "",
                    "truth": quantity.exact(row["target"]) if row["target"] == row["target"] else "not known",
                    "predicted": quantity.text(row["predicted"]),
                    "interval": quantity.interval(row["lower"], row["upper"]),
                    "row": number,
                }
            )
        found.append({"title": group.title, "why": group.why, "cards": cards})
    return found


def manifest_facts(run: Run) -> dict[str, Any]:
    """Return what is worth reading of the manifest; absolute paths are cut to their last part, as the page travels."""
    manifest = run.manifest
    return {
        "version": manifest.get("version", "not recorded"),
        "finished_at": manifest.get("finished_at", "not recorded"),
        "config": json.dumps(_shorten(manifest.get("config", {})), indent=2, ensure_ascii=False),
        "wall_s": manifest.get("wall_s"),
    }


def _shorten(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _shorten(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_shorten(held) for held in value]
    return f"…/{Path(value).name}" if isinstance(value, str) and Path(value).is_absolute() else value


def count(value: Any) -> str:
    """Write a whole number with thousands separators, a missing one as a dash, anything else as it is."""
    if value is None:
        return "–"
    whole = isinstance(value, int | float) and not isinstance(value, bool) and value == int(value)
    return plain(value, 0) if whole else str(value)


def unlabelled(scores: Scores) -> dict[str, str]:
    """Return what is expected of regions without a label: R2 and coverage in folds as far from labels as they are."""
    found = scores.unlabelled
    if not found:
        return {}
    value, lower, upper = found["r2"]
    held = found.get("coverage")
    return {
        "r2": "–" if value is None else plain(value, 2),
        "value": "-1e9" if value is None else str(value),
        "interval": "" if lower is None else f"{plain(lower, 2)} to {plain(upper, 2)}",
        "coverage": "–" if held is None else f"{plain(100 * held[0], 0)} %",
        "use": distance(found["use_m"][1]),
        "tested": distance(found["tested_m"][1]),
    }


def by_distance(run: Run, quantity: Quantity) -> list[dict[str, str]]:
    """Return how many truths the intervals held by distance to the nearest label; none for a run that has no table."""
    frame = read_table(
        run, "intervals_by_distance", ("from_m", "to_m", "regions", "coverage", "mean_width", "unlabelled")
    )
    return [
        {
            "distance": f"{distance(row['from_m'])} to {distance(row['to_m'])}",
            "regions": f"{int(row['regions']):,}",
            "coverage": "–" if row["coverage"] != row["coverage"] else f"{plain(100 * row['coverage'], 0)} %",
            "width": "–" if row["mean_width"] != row["mean_width"] else quantity.text(row["mean_width"]),
            "unlabelled": f"{int(row['unlabelled']):,}",
        }
        for row in frame.to_dict("records")
    ]
