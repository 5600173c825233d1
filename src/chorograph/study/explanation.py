"""Explaining a finished run: tiles, areas within tiles, concept words, and whether it depends on what was learnt.

The sanity checks are those of Adebayo et al. 2018 (Sanity checks for saliency maps): an explanation that stays the same
when the labels are permuted, or the encoder's weights drawn anew, does not explain what was learnt. The control that
such a rank correlation is set against: the same explanation by two probes, each fitted on one half of the regions.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.area.folder import Area
from chorograph.ground.arrays import Vector
from chorograph.ground.errors import InputError
from chorograph.ground.files import atomic_path, read_text, sha256_file, slug, write_json
from chorograph.ground.stage import Ledger, Progress
from chorograph.metrics.regression import BlockBootstrap, Estimate, spearman
from chorograph.models.encoders.protocols import ImageTextEncoder
from chorograph.study.attribution import (
    HeldOutModel,
    concept_correlations,
    concept_similarity,
    occluded,
    occlusion_effects,
    telling_tiles,
    tile_influence,
)
from chorograph.study.finished_run import FinishedRun, check_same, redrawn, take_up
from chorograph.study.overlay import overlay, with_places, write_png, write_tiles
from chorograph.study.settings import ExplainSettings

#: What is looked for where no file of concepts is given: things that can be seen from above.
CONCEPTS = (
    "dense housing", "detached houses", "terraced houses", "apartment blocks", "swimming pools", "solar panels",
    "gardens", "trees", "a park", "water", "a wide road", "parked cars", "a railway", "factories", "warehouses",
    "shops", "farmland", "empty land",
)  # fmt: skip


@dataclass(frozen=True)
class View:
    """A model with the run as its encoder sees it, and what it says: `influence` (t,), `effects` (tiles, cells)."""

    finished: FinishedRun
    model: HeldOutModel
    influence: Vector
    effects: NDArray[np.float64]


def explain_run(
    area: Area,
    asked: Mapping[str, Any],
    run: Path,
    indicator: str,
    config: ExplainSettings,
    out: Path,
    ledger: Ledger,
    progress: Progress,
) -> list[Path]:
    """Explain one indicator of a run, whose configuration was `asked`: tables, layer, overlays and summary in `out`.

    Raises `InputError` where the run looked at no imagery, or where area or vectors are not what they were then.
    """
    finished = take_up(area, asked, run, indicator, config.device)
    model = finished.fit()
    check_same(finished, model, run)
    fitted = tile_influence(model, finished.tiles)
    own = tile_influence(model, finished.tiles, finished.labels.to_own)
    rows = telling_tiles(fitted, finished.tiles.region, config.tiles) or _single_tiles(finished, model, config.tiles)
    _count(finished, model, own, ledger)

    look = partial(_view, rows=rows, encoded=_encode_cells(finished, rows, config.grid))
    true = look(finished, model)
    words, note = _readable(read_concepts(config.concepts), finished, ledger)
    concepts = _concepts(finished, words, config.seed) if words else None
    random_encoder = redrawn(finished.encoder, config.seed)
    views = {"halves": list(_halves(finished, look, config.seed)),
             "permuted labels": list(_permuted(finished, look, config, progress))}  # fmt: skip
    if random_encoder is not None:
        other = finished.seen_by(random_encoder, progress)
        views["random weights"] = [
            _view(other, other.fit(), rows=rows, encoded=_encode_cells(other, rows, config.grid))
        ]
        if concepts is not None:
            concepts["spearman_random_weights"] = _concepts(other, words, config.seed)["spearman"]
    if not hasattr(finished.encoder, "encode_texts"):
        note = f"{finished.encoder.name} has no text tower, so no word can be compared with its images."
    sanity = judge(true, views, concepts, config.seed)
    ledger.facts["sanity"] = sanity["verdict"]
    return _write(finished, true, own, rows, concepts, note, sanity, config.grid, run, out, ledger)


def read_concepts(path: Path | None) -> list[str]:
    """Return the words of a file, one a line, or those of `CONCEPTS`; `InputError` where there are none."""
    if path is None:
        return list(CONCEPTS)
    lines = [line.strip() for line in read_text(path).splitlines()]
    words = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not words:
        raise InputError(f"{path} holds no concept; write a word or phrase a line")
    return words


def _readable(words: list[str], finished: FinishedRun, ledger: Ledger) -> tuple[list[str], str | None]:
    """Return the concepts whose every word the encoder has read in training, and a note on the others.

    Only the compact tokenizer can tell; the others spell what they do not know.
    """
    tokenizer = getattr(getattr(finished.encoder, "loaded", None), "tokenizer", None)
    if tokenizer is None or not hasattr(tokenizer, "words"):
        return words, None
    from chorograph.models.coca.tokenizer import split_words

    known = set(tokenizer.words)
    unread = [word for word in words if not set(split_words(word)) <= known]
    ledger.drop("concept with a word that the encoder has never read", len(unread))
    note = f"Never read by the encoder, so left out: {', '.join(unread)}." if unread else None
    return [word for word in words if word not in unread], note


def judge(true: View, views: Mapping[str, list[View]], concepts: pd.DataFrame | None, seed: int) -> dict[str, Any]:
    """Return the rank correlations of the sanity checks, a tone and a verdict in plain words."""
    half, other = views["halves"]
    groups = true.finished.groups[true.finished.tiles.region]
    agree = partial(_agreement, groups=groups, seed=seed)
    control = agree(half, other)
    labels = [agree(true, view) for view in views["permuted labels"]]
    weights = [agree(true, view) for view in views.get("random weights", [])]
    tone, verdict = _verdict(control, labels, weights)
    checks: dict[str, Any] = {
        "two halves of the regions": [_check(half, other, control)],
        "permuted labels": [_check(true, v, e) for v, e in zip(views["permuted labels"], labels, strict=True)],
    }
    if weights:
        checks["random weights"] = [_check(true, views["random weights"][0], weights[0])]
        if concepts is not None:
            checks["random weights"][0]["concepts"] = _number(
                float(_spearman(concepts["spearman"], concepts["spearman_random_weights"]))
            )
    else:
        checks["random weights"] = (
            f"not done: {true.finished.encoder.name} is not a network of open_clip whose weights could be drawn anew"
            " (rcf fitted on other patches is as good an encoder as before, so it would test nothing)"
        )
    return {"tone": tone, "verdict": verdict, "checks": checks}


def _verdict(control: Estimate, labels: Sequence[Estimate], weights: Sequence[Estimate]) -> tuple[str, str]:
    """Say whether the true explanation repeats itself better than a meaningless one resembles it."""
    if not math.isfinite(control.value):
        return "unclear", "No region has several tiles whose influence could be compared: nothing was checked."
    chance = [abs(estimate.value) for estimate in labels if math.isfinite(estimate.value)]
    text = (
        "Probes fitted on two separate halves of the regions rank the tiles alike with a correlation of "
        f"{control.value:.2f}. With the true ranking, those of probes of permuted labels correlate by at most "
        f"{max(chance, default=0.0):.2f}"
    )
    rivals = chance.copy()
    if weights:
        text += f", that of an encoder with random weights by {weights[0].value:.2f}"
        rivals.append(weights[0].value)
    rival = max(rivals, default=0.0)
    if control.lower > rival:
        tone, ending = "good", "the explanation depends on what was learnt."
    elif control.value > rival:
        tone, ending = "unclear", "it is ahead of them, but not by more than chance could give."
    else:
        tone, ending = "bad", "the explanation would look much the same had nothing been learnt; do not lean on it."
    if not weights:
        ending += " Random weights were not tried: they cannot be drawn anew for this encoder."
    return tone, f"{text}: {ending}"


def _view(finished: FinishedRun, model: HeldOutModel, *, rows: Sequence[int], encoded: Sequence[Any]) -> View:
    effects = [occlusion_effects(model, finished.tiles, row, cells) for row, cells in zip(rows, encoded, strict=True)]
    return View(finished, model, tile_influence(model, finished.tiles), np.array(effects))


def _halves(finished: FinishedRun, look: Any, seed: int) -> Iterator[View]:
    first = np.random.default_rng((seed, 1)).permutation(len(finished.labels.fitted)) % 2 == 0
    for keep in (first, ~first):
        yield look(finished, finished.fit(keep=keep))


def _permuted(finished: FinishedRun, look: Any, config: ExplainSettings, progress: Progress) -> Iterator[View]:
    labelled = np.flatnonzero(np.isfinite(finished.labels.fitted))
    for draw in range(config.draws):
        target = finished.labels.fitted.copy()
        target[labelled] = target[np.random.default_rng((config.seed, 2, draw)).permutation(labelled)]
        yield look(finished, finished.fit(target))
        progress("permuting labels", draw + 1, config.draws)


def _encode_cells(finished: FinishedRun, rows: Sequence[int], grid: int) -> list[NDArray[np.float64]]:
    """Return the vectors (1 + cells, width) of each tile as it is and of its occluded copies."""
    tiles = [finished.read(row) for row in rows]
    return [finished.encoder.encode([tile, *occluded(tile, grid)]).astype(np.float64) for tile in tiles]


def _concepts(finished: FinishedRun, words: Sequence[str], seed: int) -> Any:
    """Return the table of concepts, None for an encoder without a text tower."""
    if not hasattr(finished.encoder, "encode_texts"):
        return None
    texts = cast(ImageTextEncoder, finished.encoder).encode_texts(words).astype(np.float64)
    similarity = concept_similarity(finished.tiles, texts, len(finished.groups))
    bootstrap = BlockBootstrap(seed=seed)
    return concept_correlations(words, similarity, finished.labels.own, finished.groups, bootstrap)


def _single_tiles(finished: FinishedRun, model: HeldOutModel, number: int) -> list[int]:
    """Where no region has two tiles, return those of the highest and lowest predictions."""
    order = sorted(model.explained.tolist(), key=lambda region: finished.predicted(model, region))
    regions = order if len(order) <= number else [*order[: number // 2], *order[len(order) - (number - number // 2) :]]
    return [int(finished.tiles.of(region)[0]) for region in regions]


def _count(finished: FinishedRun, model: HeldOutModel, own: Vector, ledger: Ledger) -> None:
    ledger.count("regions explained", len(model.explained))
    ledger.count("tiles with an influence", int(np.isfinite(own).sum()))
    ledger.drop("region that lacks a modality, or whose label no fold tests", int((model.fold < -1).sum()))
    single = np.isin(finished.tiles.region, model.explained) & ~np.isfinite(own)
    ledger.drop("tile without others in its region to compare with", int(single.sum()))


def _agreement(a: View, b: View, *, groups: NDArray[np.int64], seed: int) -> Estimate:
    """Return Spearman's correlation of two influences over tiles, blocks of regions resampled."""
    both = np.isfinite(a.influence) & np.isfinite(b.influence)
    if both.sum() < 3:
        return Estimate(np.nan, np.nan, np.nan)
    return BlockBootstrap(seed=seed).estimate(spearman, a.influence[both], b.influence[both], groups[both])


def _check(a: View, b: View, tiles: Estimate) -> dict[str, Any]:
    """Describe one comparison: tiles, cells (the mean over the tiles looked into), and how large b's influences are."""
    cells = [_spearman(x, y) for x, y in zip(a.effects, b.effects, strict=True)]
    both = np.isfinite(a.influence) & np.isfinite(b.influence)
    ours, theirs = (np.abs(view.influence[both]).sum() for view in (a, b))
    size = theirs / ours if ours > 0 else np.nan
    return {"tiles": tiles.as_list(), "cells": _number(float(np.mean(cells))), "size": _number(float(size))}


def _spearman(a: Any, b: Any) -> float:
    return float(spearman(np.asarray(a), np.asarray(b), np.ones(len(a))))


def _write(
    finished: FinishedRun,
    true: View,
    own: Vector,
    rows: Sequence[int],
    concepts: pd.DataFrame | None,
    note: str | None,
    sanity: dict[str, Any],
    grid: int,
    run: Path,
    out: Path,
    ledger: Ledger,
) -> list[Path]:
    region_ids = finished.area.regions["region_id"].to_numpy(object)
    table = pd.DataFrame(
        {
            "image_id": finished.image_ids,
            "region_id": region_ids[finished.tiles.region],
            "influence": own,
            "influence_fitted": true.influence,
            "fold": true.model.fold[finished.tiles.region],
        }
    )
    places = with_places(table[np.isfinite(own)], finished.area.images)
    ledger.drop("tile without zoom, x and y: not in tiles.geojson", int(places.geometry.isna().sum()))
    files = write_tiles(places, out)
    shown = []
    for row, effects in zip(rows, true.effects, strict=True):
        region = int(finished.tiles.region[row])
        name = f"{slug(f'{region_ids[region]}_{finished.image_ids[row]}')}.png"
        cells = effects.reshape(grid, grid)
        files.append(write_png(out / "occlusion" / name, overlay(finished.read(row), cells)))
        predicted = finished.labels.to_own(np.array([finished.predicted(true.model, region)]))
        shown.append(
            {
                "region_id": str(region_ids[region]),
                "image_id": str(finished.image_ids[row]),
                "file": f"occlusion/{name}",
                "influence": _number(own[row]),
                "predicted": _number(predicted[0]),
                "effects_fitted": [[_number(value) for value in line] for line in cells],
            }
        )
    if concepts is not None:
        with atomic_path(out / "concepts.csv") as temporary:
            concepts.to_csv(temporary, index=False)
        files.append(out / "concepts.csv")
    write_json(
        out / "explanation.json",
        {
            "predictions_sha256": sha256_file(run / "predictions.parquet"),
            "indicator": finished.task.question.indicator,
            "unit": finished.labels.unit,
            "fitted_unit": finished.labels.fitted_unit,
            "model": f"{finished.settings.probe} on {' + '.join(finished.task.fused.blocks)}",
            "encoder": finished.encoder.name,
            "grid": grid,
            "counts": ledger.counts,
            "dropped": dict(ledger.dropped),
            "median_influence": _number(float(np.median(np.abs(own[np.isfinite(own)])))) if len(places) else None,
            "tiles": shown,
            "concepts": [] if concepts is None else _plain_rows(concepts),
            "concepts_note": note,
            "sanity": sanity,
        },
    )
    return [*files, out / "explanation.json"]


def _plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table.to_dict("records")
    return [{str(k): _number(v) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def _number(value: float) -> float | None:
    """Return a number as JSON holds it: null for NaN, six significant digits."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
