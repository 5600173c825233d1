"""Assembling the report: one HTML file that draws from a double-clicked file, without any network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from bokeh.embed import components
from bokeh.model import Model
from bokeh.resources import Resources
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from chorograph.area.splits import LEAKY
from chorograph.metrics.regression import Estimate
from chorograph.prediction.judging.scores import Row, Scores
from chorograph.reporting.charts import parity, r2_chart
from chorograph.reporting.decisions import ablation, reached, suggestions
from chorograph.reporting.explanation import read_explanation
from chorograph.reporting.maps import Maps, draw_maps, region_source, shapes
from chorograph.reporting.numbers import NBSP, ROBUST, Quantity, plain
from chorograph.reporting.run import Run, axis_unit, fitted_unit, short_unit
from chorograph.reporting.tiles import Gallery, sample_tiles
from chorograph.reporting.wording import (
    distance,
    headline,
    indicator_title,
    interval_text,
    sorted_rows,
    split_text,
    verdict,
)

_MAP_TITLES = {
    "prediction": ("Prediction", "what the model says"),
    "truth": ("Truth", "what is known, in the same colours"),
    "residual": ("Residual", "blue: predicted too low; red: too high"),
    "width": ("Interval width", "darker: less certain"),
}


def render(run: Run) -> str:
    """Return the page of a run: every text that comes from data is escaped."""
    scores, frame = run.scores, run.frame
    values = np.concatenate([frame["target"].to_numpy(float), frame["predicted"].to_numpy(float)])
    quantity = Quantity.of(values, short_unit(scores))
    notes = list(run.notes)
    outlines = shapes(frame) if frame.geometry.notna().any() else None
    if outlines is None:
        notes.append("The regions have no polygons, so there are no maps.")
    source = region_source(run, outlines, quantity)
    maps = draw_maps(run, outlines, source) if outlines else None
    points = parity(run, source)
    gallery = sample_tiles(run)
    explanation, missing = read_explanation(run, quantity)
    notes += [missing] if missing else []
    rows = sorted_rows(scores)
    figures: dict[str, Model] = {"parity": points.plot, "r2": r2_chart(rows), **(maps.figures if maps else {})}
    help_reached = reached(run)
    if help_reached is not None:
        figures["reached"] = help_reached.plot
    script, drawn = components(figures, wrap_script=False)
    context = {
        "title": indicator_title(scores),
        "place": run.area.title if run.area else "",
        "unit": f"as a {scores.unit}"
        if scores.unit and not short_unit(scores)
        else scores.unit and f"in {scores.unit}",
        "synthetic": run.area is not None and run.area.synthetic,
        "leaky": LEAKY if scores.leaky else "",
        "level": plain(100 * scores.level, 1).removesuffix(".0"),
        "regions": _region_counts(run),
        "unscored": points.n - (scores.model.n or 0),
        "headline": headline(scores, quantity),
        "verdict": verdict(scores, quantity),
        "notes": notes,
        "maps": [{"name": name, "title": _MAP_TITLES[name]} for name in maps.figures] if maps else [],
        "map_notes": _map_notes(run, maps) if maps else [],
        "cropped": maps.cropped if maps else False,
        "views": maps.views if maps else {},
        "figures": {name: Markup(div) for name, div in drawn.items()},  # noqa: S704 - bokeh's own, ids only
        "parity": points,
        "table": score_table(scores, rows, quantity),
        "reached": help_reached,
        "ablation": ablation(run.path),
        "suggestions": suggestions(run),
        "groups": sample_cards(run, gallery, quantity),
        "skipped": dict(gallery.skipped),
        "explanation": explanation,
        "split_text": split_text(scores.split),
        "split": {key: value for key, value in scores.split.items() if value is not None},
        "counts": {key.replace("_", " "): value for key, value in scores.counts.items()},
        "dropped": scores.dropped,
        "interval_text": interval_text(run),
        "warnings": scores.warnings,
        "sources": run.area.sources if run.area else (),
        "manifest": manifest_facts(run),
        "indicator": scores.indicator,
        "version": version("chorograph"),
        "date": date.today().isoformat(),
        "bokeh_js": Markup(_bokeh_js()),  # noqa: S704 - from the installed wheel
        "bokeh_script": Markup(script),  # noqa: S704 - bokeh escapes <, > and & in its JSON
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["count"] = count
    template = files("chorograph.reporting").joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(context)


def _bokeh_js() -> str:
    """Return BokehJS without widgets, tables and mathematics, which the page does not use."""
    resources = Resources(mode="inline", components=["bokeh"], log_level="error")
    return "\n".join(resources.js_raw)


def _region_counts(run: Run) -> str:
    total, unlabelled, scored = len(run.frame), int(run.unlabelled.sum()), int(run.scored.sum())
    parts = [f"{plain(total, 0)} regions", f"{plain(scored, 0)} predicted while held out and compared with the truth"]
    if rest := total - unlabelled - scored:
        parts.append(f"{plain(rest, 0)} labelled but not compared")
    if unlabelled:
        parts.append(f"{plain(unlabelled, 0)} without labels, predicted by a model of all labelled ones")
    return ": ".join([parts[0], "; ".join(parts[1:])])


def _map_notes(run: Run, maps: Maps) -> list[str]:
    low, high = (plain(end, 0) for end in ROBUST)
    notes = [
        f"Colours span the {low}nd to {high}th percentile, so that a few extreme regions do not wash out the rest; "
        "values beyond take the end colours. Those of the residuals are symmetrical about zero error.",
        f"Outlines on this page are simplified (by up to {distance(max(maps.tolerance_m, 1))}); "
        "predictions.parquet and predictions.geojson in the run folder hold the exact ones. Lambert equal-area "
        "projection about the centre of the area.",
    ]
    if run.scores.log:
        notes.append(
            "The indicator was fitted as a logarithm, so the residual map shows ratios: ×2 is twice the truth, ÷2 half "
            "of it."
        )
    if maps.without_polygon:
        notes.append(f"{plain(maps.without_polygon, 0)} regions have no polygon and are not on the maps.")
    if blank := int(run.frame["predicted"].isna().sum()):
        notes.append(f"{plain(blank, 0)} regions could not be predicted and are grey.")
    return notes


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
                "note": "the model of the maps above" if row is scores.model else row.meaning,
                "n": row.n,
                "cells": cells,
            }
        )
    level = plain(100 * scores.level, 1).removesuffix(".0")
    heads = [head for _, _, head, _ in columns] + [f"Coverage, % (aim{NBSP}{level})", f"Interval width, {own}"]
    return {"heads": heads, "rows": body}


def _cell(estimate: Estimate | None, unit: Quantity, scale: float = 1.0) -> tuple[str, str]:
    if estimate is None:
        return "–", ""
    ends = (estimate.lower, estimate.upper) if estimate.bounded else ()
    interval = " to ".join(unit.number(scale * end) for end in ends)
    return unit.number(scale * estimate.value), interval


def sample_cards(run: Run, gallery: Gallery, quantity: Quantity) -> list[dict[str, Any]]:
    """Return the groups of sample regions with what a card of each says."""
    groups = []
    for group in gallery.groups:
        cards = []
        for sample in group.samples:
            row = run.frame.iloc[sample.row]
            region = str(row["region_id"])
            cards.append(
                {
                    "name": row["name"] or region,
                    "region_id": region if row["name"] else "",
                    "truth": quantity.exact(row["target"]) if row["target"] == row["target"] else "not known",
                    "predicted": quantity.text(row["predicted"]),
                    "interval": quantity.interval(row["lower"], row["upper"]),
                    "tiles": sample.tiles,
                }
            )
        groups.append({"title": group.title, "why": group.why, "cards": cards})
    return groups


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
