"""The report of several indicators: one HTML file with a map, a picker, a card a region and a section an indicator."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
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

from chorograph.area.middle import equal_area
from chorograph.area.splits import LEAKY
from chorograph.ground.errors import ChorographError
from chorograph.prediction.judging.scores import Scores
from chorograph.reporting.maps import MISSING, Shapes, shapes
from chorograph.reporting.numbers import Quantity, log_ticks, plain, robust_range, tick_labels, ticks
from chorograph.reporting.page import count, manifest_facts, sample_cards, score_table
from chorograph.reporting.run import Run, axis_unit, short_unit
from chorograph.reporting.tiles import sample_tiles, thumbnail
from chorograph.reporting.wording import headline, indicator_title, interval_text, split_text, verdict

#: Thumbnails a region card shows, their side in pixels, and what all of them may weigh: the page stays below 6 MB.
_TILES, _TILE_PX, _TILES_BYTES = 3, 88, 2_500_000
_NEIGHBOURS = 5
#: Colours from low to high that people who confuse red and green can tell apart (viridis, purples, red-blue).
VALUES = ("#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725")
_WIDTHS = ("#f2f0f7", "#dadaeb", "#bcbddc", "#9e9ac8", "#807dba", "#6a51a3", "#54278f", "#3f007d")
_RESIDUALS = ("#2166ac", "#67a9cf", "#d1e5f0", "#f7f7f7", "#fddbc7", "#ef8a62", "#b2182b")


@dataclass(frozen=True)
class Layer:
    """How the values of a map become classes: n - 1 breaks part n colours; labels stand at the breaks."""

    breaks: list[float]
    labels: list[str]
    colours: list[str]


def render_profile(runs: Sequence[Run], left_out: dict[str, str]) -> str:
    """Return the page of the indicators of one run; every text that comes from data is escaped.

    Raises `ValueError` where there is no run.
    """
    first = runs[0]
    sections = [_section(number, run) for number, run in enumerate(runs)]
    script = files("chorograph.reporting").joinpath("profile.js").read_text(encoding="utf-8")
    style = files("chorograph.reporting").joinpath("profile.css").read_text(encoding="utf-8")
    notes = list(first.notes)
    paths, dense, full = outlines_of(first.frame)
    if not any(paths):
        notes.append("The regions have no polygons and no points, so there is no map.")
    data = {
        "regions": _regions(first),
        "paths": paths,
        "dense": dense,
        "full": full,
        "tiles": _tiles(first),
        "neighbours": _neighbours(first),
        "indicators": [_values(run) for run in runs],
    }
    context = {
        "place": first.area.title if first.area else "",
        "synthetic": first.area is not None and first.area.synthetic,
        "leaky": LEAKY if any(run.scores.leaky for run in runs) else "",
        "counts": f"{plain(len(first.frame), 0)} regions, {len(runs)} indicators",
        "level": plain(100 * first.scores.level, 1).removesuffix(".0"),
        "sections": sections,
        "left_out": left_out,
        "notes": notes,
        "mapped": any(paths),
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
    template = files("chorograph.reporting").joinpath("profile.html.jinja").read_text(encoding="utf-8")
    return environment.from_string(template).render(context)


def _section(number: int, run: Run) -> dict[str, Any]:
    """Return what the table of indicators and an indicator's own section say."""
    scores = run.scores
    quantity = quantity_of(run.frame, run.scores)
    model, best = scores.model, scores.best_baseline
    r2 = model.fitted["r2"]
    rows = sorted(scores.rows, key=lambda row: (row.kind != "attainable", -row.r2))
    gallery = sample_tiles(run)
    said = verdict(scores, quantity)
    return {
        "number": number,
        "key": scores.indicator,
        "title": indicator_title(scores),
        "unit": scores.unit,
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
        "groups": sample_cards(run, gallery, quantity),
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


def outlines_of(frame: gpd.GeoDataFrame) -> tuple[list[str], list[int], list[int]]:
    """Return an SVG path a region in metres, y growing southwards, and the boxes of the first and the whole view.

    A path is empty where a region has no place; regions that are points are discs.
    """
    held = frame.geometry.notna() & ~frame.geometry.is_empty
    if not held.any():
        return [""] * len(frame), [0, 0, 1, 1], [0, 0, 1, 1]
    outlines = shapes(frame)
    paths = [_path(xs, ys) for xs, ys in zip(outlines.xs, outlines.ys, strict=True)]
    if not any(paths):
        paths = _discs(frame, outlines)
    return paths, _view(outlines.dense), _view(outlines.full)


def colour_of(value: float, layer: Layer) -> str:
    """Return the colour of the class that a value falls in; grey for NaN."""
    return MISSING if np.isnan(value) else layer.colours[int(np.searchsorted(layer.breaks, value, side="right"))]


def _path(xs: list[list[list[int]]], ys: list[list[list[int]]]) -> str:
    """Write a region's parts and rings as a path, each corner relative to the one before."""
    words = []
    for part_x, part_y in zip(xs, ys, strict=True):
        for ring_x, ring_y in zip(part_x, part_y, strict=True):
            x, y = np.asarray(ring_x), -np.asarray(ring_y)
            steps = "".join(f"{a:d},{b:d} " for a, b in zip(np.diff(x)[:-1], np.diff(y)[:-1], strict=True))
            words.append(f"M{x[0]:d},{y[0]:d}l{steps.strip()}z")
    return "".join(words)


def _discs(frame: gpd.GeoDataFrame, outlines: Shapes) -> list[str]:
    """Return a disc for each region that is a point."""
    held = frame.geometry.notna() & ~frame.geometry.is_empty
    metres = frame.loc[held, ["geometry"]].to_crs(equal_area(frame.loc[held]))
    radius = max(outlines.dense[2] - outlines.dense[0], outlines.dense[3] - outlines.dense[1], 1.0) / 110
    paths = [""] * len(frame)
    for row, point in zip(np.flatnonzero(held.to_numpy()), metres.geometry.representative_point(), strict=True):
        x, y, r = round(point.x), round(-point.y), max(1, round(radius))
        paths[row] = f"M{x - r},{y}a{r},{r} 0 1,0 {2 * r},0a{r},{r} 0 1,0 {-2 * r},0z"
    return paths


def _view(box: tuple[float, float, float, float]) -> list[int]:
    """Return x, y, width, height of a box in the plane of the paths, with a margin."""
    west, south, east, north = box
    margin = 0.02 * max(east - west, north - south, 1.0)
    corners = (west - margin, -north - margin, east - west + 2 * margin, north - south + 2 * margin)
    return [round(value) for value in corners]


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


def _tiles(run: Run) -> list[list[str]]:
    """Return small tiles of each region as data URIs, as many as the page has place for."""
    found: list[list[str]] = [[] for _ in range(len(run.frame))]
    if run.area is None:
        return found
    images = run.area.images
    images = images[images["uri"].notna() & (images["view"] == "satellite")].sort_values("image_id")
    by_region = images.groupby("region_id")["uri"].apply(list).to_dict()
    each = max(1, min(_TILES, _TILES_BYTES // (2600 * max(1, len(by_region)))))
    failed: Counter[str] = Counter()
    for row, region in enumerate(run.frame["region_id"]):
        uris = by_region.get(region, [])
        for uri in [uris[k] for k in np.linspace(0, len(uris) - 1, min(each, len(uris))).round().astype(int)]:
            try:
                found[row].append(thumbnail(run.area.read_image(uri), _TILE_PX))
            except ChorographError as error:
                failed[type(error).__name__] += 1
    return found


def _numbers(values: NDArray[np.float64]) -> list[float | None]:
    return [None if pd.isna(value) else float(f"{value:.6g}") for value in values]
