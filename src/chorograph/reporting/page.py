"""The report of a run: one HTML file with a map, a picker, a card a region and a section an indicator."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from importlib.resources import files
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from scipy.spatial import KDTree

from chorograph.area.folder import CRS
from chorograph.area.middle import equal_area
from chorograph.area.splits import LEAKY
from chorograph.prediction.judging.scores import Scores
from chorograph.reporting.decisions import ablation, reached, suggestions
from chorograph.reporting.described import descriptions_of, untold
from chorograph.reporting.explanation import read_explanation
from chorograph.reporting.maps import Context, context_of, outlines_of
from chorograph.reporting.numbers import Quantity, log_ticks, plain, robust_range, tick_labels, ticks
from chorograph.reporting.run import Run, axis_unit, short_unit
from chorograph.reporting.tables import (
    by_distance,
    count,
    manifest_facts,
    region_counts,
    sample_cards,
    score_table,
    unlabelled,
)
from chorograph.reporting.tiles import sample_regions, thumbnails
from chorograph.reporting.wording import headline, indicator_title, interval_text, split_text, verdict
from chorograph.reporting.world import in_the_world

_NEIGHBOURS = 5
#: Colours from low to high that people who confuse red and green can tell apart (viridis, purples, red-blue).
VALUES = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
_WIDTHS = ("#f2f0f7", "#dadaeb", "#bcbddc", "#9e9ac8", "#807dba", "#6a51a3", "#54278f", "#3f007d")
#: Of a region without a value.
MISSING = "#d9dde1"
_RESIDUALS = ("#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b")


@dataclass(frozen=True)
class Layer:
    """How the values of a map become classes: n - 1 breaks part n colours; labels stand at the breaks."""

    breaks: list[float]
    labels: list[str]
    colours: list[str]


def render(runs: Sequence[Run], left_out: dict[str, str]) -> str:
    """Return the page of the indicators of one run; every text that comes from data is escaped.

    Raises `ValueError` where there is no run.
    """
    first = runs[0]
    sections = [_section(number, run) for number, run in enumerate(runs)]
    script = files("chorograph.reporting").joinpath("page.js").read_text(encoding="utf-8")
    style = files("chorograph.reporting").joinpath("page.css").read_text(encoding="utf-8")
    notes = list(first.notes)
    paths, dense, full = outlines_of(first.frame)
    if not any(paths):
        notes.append("The regions have no polygons and no points, so there is no map.")
    elif bare := sum(not path for path in paths):
        notes.append(f"{plain(bare, 0)} regions have no polygon and are not on the map.")
    if blank := int(first.frame["predicted"].isna().sum()):
        notes.append(f"{plain(blank, 0)} regions could not be predicted and are grey.")
    tiles, skipped = thumbnails(first)
    if skipped:
        told = ", ".join(f"{plain(number, 0)} {reason}" for reason, number in skipped.items())
        notes.append(f"Tiles that could not be opened: {told}.")
    if left := untold(first):
        notes.append(left)
    notes += [section["missing"] for section in sections if section["missing"]]
    around = _around(first)
    data = {
        "regions": _regions(first),
        "paths": paths,
        "dense": dense,
        "full": full,
        "tiles": tiles,
        "said": descriptions_of(first),
        "context": around.__dict__,
        "neighbours": _neighbours(first),
        "indicators": [_values(run) for run in runs],
    }
    context = {
        "place": first.area.title if first.area else "",
        "synthetic": first.area is not None and first.area.synthetic,
        "leaky": LEAKY if any(run.scores.leaky for run in runs) else "",
        "counts": f"{plain(len(runs), 0)} {'indicator' if len(runs) == 1 else 'indicators'} of {region_counts(first)}",
        "level": plain(100 * first.scores.level, 1).removesuffix(".0"),
        "sections": sections,
        "left_out": left_out,
        "notes": notes,
        "mapped": any(paths),
        "context": bool(around.roads or around.water or around.names),
        "world": in_the_world(first.area),
        "split_text": split_text(first.scores.split),
        "sources": first.area.sources if first.area else (),
        "manifest": manifest_facts(first),
        "version": version("chorograph"),
        "date": date.today().isoformat(),
        "data": data,
        "script": Markup(script),  # noqa: S704 - our own file
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
        "style": Markup(style),  # noqa: S704 - our own file
    }
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["count"] = count
    template = files("chorograph.reporting").joinpath("page.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(context)


def _section(number: int, run: Run) -> dict[str, Any]:
    """Return what the table of indicators and an indicator's own section say."""
    scores = run.scores
    quantity = quantity_of(run.frame, run.scores)
    model, best = scores.model, scores.best_baseline
    r2 = model.fitted["r2"]
    rows = sorted(scores.rows, key=lambda row: (row.kind != "attainable", -row.r2))
    said = verdict(scores, quantity)
    explanation, missing = read_explanation(run, quantity)
    return {
        "number": number,
        "key": scores.indicator,
        "title": indicator_title(scores),
        "unit": scores.unit,
        "kind": scores.kind,
        "r2": "–" if r2 is None else plain(r2.value, 2),
        "r2_value": -1e9 if r2 is None else r2.value,
        "r2_interval": f"{plain(r2.lower, 2)} to {plain(r2.upper, 2)}" if r2 is not None and r2.bounded else "",
        "baseline": "–" if best is None else best.name,
        "baseline_r2": "–" if best is None else plain(best.r2, 2),
        "coverage": "–" if model.coverage is None else f"{plain(100 * model.coverage.value, 0)} %",
        "coverage_value": -1 if model.coverage is None else model.coverage.value,
        "tone": said.tone,
        "word": {"good": "use it", "unclear": "with care", "bad": "use the baseline"}[said.tone],
        "verdict": said.text,
        "remedy": _remedy(run) if said.tone == "bad" and best is not None else "",
        "headline": headline(scores, quantity),
        "table": score_table(scores, rows, quantity),
        "groups": sample_cards(run, sample_regions(run), quantity),
        "unlabelled": unlabelled(scores),
        "by_distance": by_distance(run, quantity),
        "reached": reached(run),
        "ablation": ablation(run),
        "suggestions": suggestions(run),
        "explanation": explanation,
        "missing": missing,
        "interval_text": interval_text(run),
        "warnings": scores.warnings,
        "counts": {key.replace("_", " "): value for key, value in scores.counts.items()},
        "dropped": dict(scores.dropped),
        "log": scores.log,
    }


def _remedy(run: Run) -> str:
    """Return the command that predicts from what the best baseline reads."""
    best = run.scores.best_baseline
    kinds = {"location": "location", "region shape": "shape", "location + shape": "location,shape", "POI counts": "poi"}
    if best is None or best.name not in kinds:
        return ""
    scale = "" if run.scores.scale == "linear" else f" --scale {run.scores.scale}"
    per = "" if run.scores.per is None else f" --per {run.scores.per}"
    return (
        f"chorograph predict AREA --indicator {run.scores.indicator}{scale}{per} --embeddings none "
        f"--modalities {kinds[best.name]} --out OTHER-RUN"
    )


def quantity_of(frame: gpd.GeoDataFrame, scores: Scores) -> Quantity:
    """Return how the values of an indicator are written."""
    values = np.concatenate([frame["target"].to_numpy(float), frame["predicted"].to_numpy(float)])
    return Quantity.of(values, short_unit(scores))


def _values(run: Run) -> dict[str, Any]:
    """Return an indicator's numbers by region, and how they are coloured and written."""
    frame, scores, quantity = run.frame, run.scores, quantity_of(run.frame, run.scores)
    target, predicted, lower, upper = (
        frame[column].to_numpy(float) for column in ("target", "predicted", "lower", "upper")
    )
    scored = run.scored.to_numpy()
    residual = np.where(scored, predicted - target, np.nan)
    width = upper - lower
    log = scores.log and bool((predicted[np.isfinite(predicted)] > 0).all())
    supported = frame["supported"].to_numpy(bool) if "supported" in frame.columns else np.ones(len(frame), dtype=bool)
    return {
        "key": scores.indicator,
        "title": indicator_title(scores),
        "unit": axis_unit(scores),
        "suffix": quantity.unit,
        "decimals": quantity.decimals,
        "need": scores.neediest,
        "log": log,
        "target": _numbers(target),
        "predicted": _numbers(predicted),
        "lower": _numbers(lower),
        "upper": _numbers(upper),
        "supported": supported.astype(int).tolist(),
        "scored": scored.astype(int).tolist(),
        "layers": {
            "predicted": layer_of(np.concatenate([predicted, target]), quantity, VALUES, log=log).__dict__,
            "target": layer_of(np.concatenate([predicted, target]), quantity, VALUES, log=log).__dict__,
            "residual": _residual_layer(residual, quantity).__dict__,
            "width": layer_of(width, quantity, _WIDTHS, log=log).__dict__,
        },
    }


def layer_of(values: NDArray[np.float64], quantity: Quantity, palette: Sequence[str], *, log: bool) -> Layer:
    """Part values at round numbers within their 2nd to 98th percentile."""
    positive = values[np.isfinite(values) & (values > 0)]
    low, high = robust_range(positive if log else values)
    marks = (log_ticks if log and low > 0 else ticks)(low, high, most=7)
    labels = tick_labels(marks)
    picked = np.linspace(0, len(palette) - 1, len(marks) + 1).round().astype(int)
    return Layer(list(marks), [labels[mark] for mark in marks], [palette[index] for index in picked])


def _residual_layer(residual: NDArray[np.float64], quantity: Quantity) -> Layer:
    """Part residuals symmetrically about zero: blue is predicted too low, red too high."""
    finite = np.abs(residual[np.isfinite(residual)])
    limit = float(np.percentile(finite, 90)) if finite.size else 1.0
    breaks = [float(f"{share * (limit or 1.0):.2g}") for share in (-1, -0.5, -0.15, 0.15, 0.5, 1)]
    return Layer(breaks, [quantity.number(value, signed=True) for value in breaks], list(_RESIDUALS))


def _regions(run: Run) -> list[list[str]]:
    ids = run.frame["region_id"].astype(str)
    return [[region, str(name)] for region, name in zip(ids, run.frame["name"], strict=True)]


def _around(run: Run) -> Context:
    """Return the roads, water and names that the area has."""
    if run.area is None or not run.area.has("context"):
        return Context([], "", [])
    return context_of(gpd.GeoDataFrame(run.area.read("context"), crs=CRS), run.frame)


def colour_of(value: float, layer: Layer) -> str:
    """Return the colour of the class that a value falls in; grey for NaN."""
    return MISSING if np.isnan(value) else layer.colours[int(np.searchsorted(layer.breaks, value, side="right"))]


def _neighbours(run: Run) -> list[list[int]]:
    """Return the nearest other regions of each, nearest first; none for a region without a place."""
    held = (run.frame.geometry.notna() & ~run.frame.geometry.is_empty).to_numpy()
    found: list[list[int]] = [[] for _ in range(len(run.frame))]
    if held.sum() < 2:
        return found
    rows = np.flatnonzero(held)
    metres = run.frame.loc[held, ["geometry"]].to_crs(equal_area(run.frame.loc[held]))
    points = shapely.get_coordinates(metres.geometry.representative_point().to_numpy())
    _, near = KDTree(points).query(points, k=min(_NEIGHBOURS + 1, len(points)))
    for row, others in zip(rows, near, strict=True):
        found[int(row)] = [int(rows[other]) for other in others if rows[other] != row][:_NEIGHBOURS]
    return found


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [None if pd.isna(value) else float(f"{value:.6g}") for value in values]
