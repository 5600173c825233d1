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
from chorograph.area.splits import block_of, inner_points
from chorograph.ground.errors import InputError, UnknownNameError
from chorograph.ground.files import atomic_path, write_json
from chorograph.ground.stage import Ledger, Progress
from chorograph.metrics.decision import decision_metrics
from chorograph.metrics.regression import METRICS, BlockBootstrap
from chorograph.models.encoders.registry import resolve
from chorograph.prediction.crossfit import ProbeMaker, cross_fit
from chorograph.prediction.features import read_features, split_names
from chorograph.prediction.fits import probe_maker
from chorograph.prediction.questions import make_question
from chorograph.prediction.task import Task, build_task, make_split
from chorograph.study.settings import TransferSettings

if TYPE_CHECKING:
    from chorograph.area.folder import Area

#: Columns mean the same in every area; coordinates and a graph's components do not.
_TRANSFERABLE = ("image", "context", "shape", "poi")


@dataclass(frozen=True)
class _Place:
    """An area as one row and column: its task, and which regions have both label and features."""

    task: Task
    usable: NDArray[np.bool_]

    @property
    def area(self) -> Area:
        """The area."""
        return self.task.area

    @property
    def target(self) -> NDArray[np.float64]:
        """(n,) labels of the usable regions, NaN elsewhere."""
        return np.where(self.usable, self.task.target, np.nan)


def run_transfer(
    areas: Sequence[Area], indicator: str, config: TransferSettings, out: Path, ledger: Ledger, progress: Progress
) -> list[Path]:
    """Write the matrix into `out` as transfer.csv (long), transfer.json and transfer.md; returns the three.

    Raises `InputError` where areas were embedded with encoders that differ, or count other points of interest.
    """
    places = _places(areas, indicator, config, ledger)
    maker = probe_maker(config)
    rows: list[dict[str, Any]] = []
    for trained in places:
        for tested in places:
            predicted = _within(trained, maker) if tested is trained else _across(trained, tested, maker)
            rows.append(_score(trained, tested, predicted, config))
            progress("transfer", len(rows), len(places) ** 2)
    frame = pd.DataFrame(rows)
    ledger.facts["rows"] = {f"{row['trained_on']} -> {row['tested_on']}": row["r2"] for row in rows}
    table, text, whole = (out / f"transfer.{suffix}" for suffix in ("csv", "md", "json"))
    with atomic_path(table) as temporary:
        frame.to_csv(temporary, index=False)
    with atomic_path(text) as temporary:
        temporary.write_text(_markdown(frame, indicator, config), encoding="utf-8")
    write_json(whole, {"indicator": indicator, "unit": places[0].task.labels.fitted_unit, "matrix": rows})
    return [table, text, whole]


def _places(areas: Sequence[Area], indicator: str, config: TransferSettings, ledger: Ledger) -> list[_Place]:
    chosen = split_names(config.modalities)
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
        features = read_features(area, of_area, modalities=config.modalities, pooling=config.pooling)
        own = Ledger()
        task = build_task(features, make_question(area, indicator, config, ledger), config, make_split(config), own)
        for reason, number in own.dropped.items():
            ledger.drop(reason, number)
        usable = task.labelled & task.fused.present.all(1)
        ledger.count(f"regions of {area.name} with label and features", int(usable.sum()))
        places.append(_Place(task, usable))
    if len({place.task.labels.unit for place in places}) > 1:
        raise InputError(f"{indicator} has another unit in each area: {[p.task.labels.unit for p in places]}")
    return places


def _within(place: _Place, maker: ProbeMaker) -> NDArray[np.float64]:
    """Return predictions of held-out folds."""
    return cross_fit(place.task.fused, place.task.target, place.task.folds, maker).predicted


def _across(trained: _Place, tested: _Place, maker: ProbeMaker) -> NDArray[np.float64]:
    """Return predictions of one area by a probe of all labels of another."""
    names, fused = tuple(trained.task.fused.blocks), trained.task.fused
    probe = maker(fused.columns(names), int(trained.usable.sum()))
    probe.fit(fused.stacked(names, trained.usable), trained.target[trained.usable])
    predicted = np.full(len(tested.usable), np.nan)
    predicted[tested.usable] = probe.predict(tested.task.fused.stacked(names, tested.usable))
    return predicted


def _score(trained: _Place, tested: _Place, predicted: NDArray[np.float64], config: TransferSettings) -> dict[str, Any]:
    rows = tested.usable
    target, found = tested.target[rows], predicted[rows]
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


def _markdown(frame: pd.DataFrame, indicator: str, config: TransferSettings) -> str:
    """Return R2 and, in brackets, Spearman as a matrix."""
    names = list(dict.fromkeys(frame["trained_on"]))
    cell = {
        (row["trained_on"], row["tested_on"]): f"{row['r2']:.2f} ({row['spearman'] or float('nan'):.2f})"
        for row in frame.to_dict("records")
    }
    lines = [
        f"{indicator}: R2 (Spearman) of {config.probe} on {config.modalities}, {config.embeddings}. On the "
        "diagonal held-out spatial blocks; elsewhere a model that never saw the area.",
        "",
        "| trained on | " + " | ".join(names) + " |",
        "|---" * (len(names) + 1) + "|",
        *(f"| {a} | " + " | ".join(cell[a, b] for b in names) + " |" for a in names),
    ]
    return "\n".join(lines) + "\n"
