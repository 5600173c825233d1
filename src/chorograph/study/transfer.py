"""The matrix of transfer: fitted on the rows' area, scored on the columns'; within an area, on held-out blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chorograph.area.embeddings import Embeddings
from chorograph.area.splits import SpatialBlocks, block_of, duplicate_groups, inner_points
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import atomic_path, write_json
from chorograph.ground.stage import Ledger, Progress
from chorograph.metrics.decision import decision_metrics
from chorograph.metrics.regression import METRICS, BlockBootstrap
from chorograph.models.encoders.registry import resolve
from chorograph.prediction.config import PredictConfig
from chorograph.prediction.crossfit import Fused, ProbeMaker, cross_fit
from chorograph.prediction.labels import Labels, read_labels
from chorograph.prediction.probes.registry import make_probe_maker
from chorograph.prediction.run import read_modalities

if TYPE_CHECKING:
    from chorograph.area.folder import Area
    from chorograph.study.config import TransferConfig

#: Columns mean the same in every area; coordinates and a graph's components do not.
_TRANSFERABLE = ("image", "context", "shape", "poi")


@dataclass(frozen=True)
class _Place:
    """An area as one row and column: features, labels, and which regions have both."""

    area: Area
    labels: Labels
    fused: Fused
    usable: NDArray[np.bool_]

    @property
    def target(self) -> NDArray[np.float64]:
        return np.where(self.usable, self.labels.fitted, np.nan)


def run_transfer(areas: Sequence[Area], config: TransferConfig, ledger: Ledger, progress: Progress) -> list[Path]:
    """Write the matrix as transfer.csv (long), transfer.json and transfer.md; returns the three.

    Raises `InputError` where areas were embedded with encoders that differ, or count other points of interest.
    """
    places = _places(areas, config, ledger)
    maker = make_probe_maker(config.probe, seed=config.seed, block_m=config.block_m)
    rows: list[dict[str, Any]] = []
    for trained in places:
        for tested in places:
            predicted = _within(trained, maker, config) if tested is trained else _across(trained, tested, maker)
            rows.append(_score(trained, tested, predicted, config))
            progress("transfer", len(rows), len(places) ** 2)
    frame = pd.DataFrame(rows)
    ledger.facts["rows"] = {f"{row['trained_on']} -> {row['tested_on']}": row["r2"] for row in rows}
    table, text, whole = (config.out / f"transfer.{suffix}" for suffix in ("csv", "md", "json"))
    with atomic_path(table) as temporary:
        frame.to_csv(temporary, index=False)
    with atomic_path(text) as temporary:
        temporary.write_text(_markdown(frame, config), encoding="utf-8")
    write_json(whole, {"indicator": config.indicator, "unit": places[0].labels.fitted_unit, "matrix": rows})
    return [table, text, whole]


def _places(areas: Sequence[Area], config: TransferConfig, ledger: Ledger) -> list[_Place]:
    chosen = [name.strip() for name in config.modalities.split(",")]
    for name in chosen:
        if name not in _TRANSFERABLE:
            raise UnknownNameError.of("modality that transfers", name, _TRANSFERABLE)
    vectors = [Embeddings.read(area.embeddings_path(resolve(config.embeddings))) for area in areas]
    for area, of_area in zip(areas, vectors, strict=True):
        if of_area.fingerprint != vectors[0].fingerprint:
            raise InputError(
                f"{area.path} was embedded with another {config.embeddings} than {areas[0].path}: their vectors cannot "
                "be compared. rcf, and with it default, cuts its filters from each area's own images; use colour, "
                "efficientnet-lite0 or one checkpoint"
            )
    if "poi" in chosen:
        kinds = [tuple(sorted(area.read("poi_counts")["poi"].unique())) for area in areas]
        if len(set(kinds)) > 1:
            raise InputError("the areas count different kinds of points of interest; leave poi away")
    places = []
    for area, of_area in zip(areas, vectors, strict=True):
        labels = read_labels(area, config.indicator, ledger, log=config.log, per=config.per)
        available = read_modalities(area, of_area, PredictConfig(area=area.path, indicator=config.indicator))
        if missing := [name for name in chosen if name not in available]:
            raise InputError(f"{area.path} has no {missing[0]} features; it has {', '.join(available)}")
        fused = Fused({name: available[name] for name in chosen})
        usable = np.isfinite(labels.fitted) & fused.present.all(1)
        ledger.count(f"regions of {area.name} with label and features", int(usable.sum()))
        places.append(_Place(area, labels, fused, usable))
    if len({place.labels.unit for place in places}) > 1:
        raise InputError(f"{config.indicator} has another unit in each area: {[p.labels.unit for p in places]}")
    return places


def _within(place: _Place, maker: ProbeMaker, config: TransferConfig) -> NDArray[np.float64]:
    """Return predictions of held-out spatial blocks."""
    regions = place.area.regions[place.usable]
    split = SpatialBlocks(config.block_m, config.buffer_m, config.folds, config.seed)
    folds = split.folds(place.area, regions, duplicate_groups(place.area.images, regions["region_id"]))
    return cross_fit(place.fused, place.target, folds, maker).predicted


def _across(trained: _Place, tested: _Place, maker: ProbeMaker) -> NDArray[np.float64]:
    """Return predictions of one area by a probe of all labels of another."""
    names = tuple(trained.fused.blocks)
    probe = maker(trained.fused.columns(names), int(trained.usable.sum()))
    probe.fit(trained.fused.stacked(names, trained.usable), trained.labels.fitted[trained.usable])
    predicted = np.full(len(tested.usable), np.nan)
    predicted[tested.usable] = probe.predict(tested.fused.stacked(names, tested.usable))
    return predicted


def _score(trained: _Place, tested: _Place, predicted: NDArray[np.float64], config: TransferConfig) -> dict[str, Any]:
    rows = tested.usable
    target, found = tested.labels.fitted[rows], predicted[rows]
    blocks = block_of(*inner_points(tested.area.regions[rows]), config.block_m)
    bootstrap, sign = BlockBootstrap(seed=config.seed), 1.0 if config.neediest == "high" else -1.0
    r2 = bootstrap.estimate(METRICS["r2"], target, found, blocks).as_list()
    spearman = bootstrap.estimate(METRICS["spearman"], target, found, blocks).as_list()
    recall = bootstrap.estimate(decision_metrics()["recall@20"], sign * target, sign * found, blocks).as_list()
    return {
        "trained_on": trained.area.name,
        "tested_on": tested.area.name,
        "regions": int(rows.sum()),
        "r2": r2[0],
        "r2_lower": r2[1],
        "r2_upper": r2[2],
        # Far from 0 where the level does not transfer though the order may.
        "bias": round(float((found - target).mean()), 6),
        "spearman": spearman[0],
        "spearman_lower": spearman[1],
        "spearman_upper": spearman[2],
        "recall@20": recall[0],
    }


def _markdown(frame: pd.DataFrame, config: TransferConfig) -> str:
    """Return R2 and, in brackets, Spearman as a matrix."""
    names = list(dict.fromkeys(frame["trained_on"]))
    cell = {
        (row["trained_on"], row["tested_on"]): f"{row['r2']:.2f} ({row['spearman'] or float('nan'):.2f})"
        for row in frame.to_dict("records")
    }
    lines = [
        f"{config.indicator}: R2 (Spearman) of {config.probe} on {config.modalities}, {config.embeddings}. On the "
        "diagonal held-out spatial blocks; elsewhere a model that never saw the area.",
        "",
        "| trained on | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
        *(f"| {a} | " + " | ".join(cell[a, b] for b in names) + " |" for a in names),
    ]
    return "\n".join(lines) + "\n"
