"""The scores of one indicator: typed in memory, a block of `scores.json` at rest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from chorograph.ground.schema import OneOf, check
from chorograph.metrics.regression import METRICS, Estimate

_ESTIMATE = [(float, type(None))]
_ESTIMATES = {str: (_ESTIMATE, type(None))}
_ROW = {
    "name": str, "kind": OneOf(("model", "baseline", "attainable")), "meaning?": str, "n?": int, "fitted": _ESTIMATES,
    "own": _ESTIMATES, "coverage?": _ESTIMATE, "mean_width?": float, "decision?": _ESTIMATES, "cost_curve?": [[float]],
}  # fmt: skip
#: What a block of scores.json holds; what only newer versions write may be missing.
_BLOCK = {
    "indicator": str, "unit?": str, "fitted_unit?": str, "scale?": str, "log?": bool, "plus?": float, "title?": str,
    "kind?": str, "per?": str, "level": float, "interval?": str, "probe?": str, "embeddings?": str, "neediest?": str,
    "leaky": bool, "leaks?": [{"what": str, "regions?": int, "leak?": bool}], "split": {str: object},
    "repeats?": [(float, type(None))], "counts": {str: int}, "dropped?": {str: int}, "unlabelled?": {str: object},
    "rows": [_ROW], "warnings": [str],
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What one model or baseline scored: `fitted` in the unit it was fitted in, `own` in the indicator's own.

    `kind`: model, baseline or attainable. `n`: regions scored, None for the attainable score, which no region was
    predicted for. An estimate is None where there is no such number (Spearman of a constant). `decision`: recall of the
    neediest regions. `cost_curve`: (part of regions served, part of the neediest reached).
    """

    name: str
    kind: str
    meaning: str
    n: int | None
    fitted: Mapping[str, Estimate | None]
    own: Mapping[str, Estimate | None]
    coverage: Estimate | None = None
    mean_width: float | None = None
    decision: Mapping[str, Estimate | None] = field(default_factory=dict)
    cost_curve: tuple[tuple[float, float], ...] = ()

    @property
    def r2(self) -> float:
        """R2 in the fitted unit; minus infinity where there is none: a key to sort by."""
        estimate = self.fitted["r2"]
        return -math.inf if estimate is None else estimate.value

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it: an estimate is [value, lower, upper]."""
        return {
            "name": self.name,
            "kind": self.kind,
            "meaning": self.meaning,
            "n": self.n,
            "fitted": _lists(self.fitted),
            "own": _lists(self.own),
            "decision": _lists(self.decision),
            "cost_curve": [list(point) for point in self.cost_curve],
            "coverage": None if self.coverage is None else self.coverage.as_list(),
            "mean_width": self.mean_width,
        }

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Row:
        """Read what `as_dict` wrote; `KeyError`, `TypeError` or `ValueError` for anything else."""
        return cls(
            name=str(content["name"]),
            kind=str(content["kind"]),
            meaning=str(content.get("meaning") or ""),
            n=content.get("n"),
            fitted={metric: _estimate(content["fitted"].get(metric)) for metric in METRICS},
            own={metric: _estimate(content["own"].get(metric)) for metric in METRICS},
            coverage=_estimate(content.get("coverage")),
            mean_width=_finite(content.get("mean_width")),
            decision={name: _estimate(triple) for name, triple in (content.get("decision") or {}).items()},
            cost_curve=tuple((float(served), float(found)) for served, found in content.get("cost_curve") or ()),
        )


@dataclass(frozen=True)
class Scores:
    """How one indicator was predicted: the question, the model, the split, and a row for the model and each baseline.

    `title` in plain words and `kind` (count, mean, share, density), empty where nobody said. `plus` was added before a
    logarithm was taken. `repeats`: R2 of the model under other deals of the same split. `leaks`: what was found, as
    dictionaries of what, regions, leak. `counts` and `dropped` are the ledger's. `unlabelled`: what is to be expected
    where there are no labels (`AtDistance.scores`); empty where it was not asked for or nothing can be said.
    """

    indicator: str
    unit: str
    fitted_unit: str
    scale: str
    per: str | None
    level: float
    interval: str
    probe: str
    embeddings: str | None
    neediest: str
    leaky: bool
    split: Mapping[str, Any]
    counts: Mapping[str, int]
    rows: tuple[Row, ...]
    dropped: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    leaks: tuple[Mapping[str, Any], ...] = ()
    repeats: tuple[float | None, ...] = ()
    title: str = ""
    kind: str = ""
    plus: float = 0.0
    unlabelled: Mapping[str, Any] = field(default_factory=dict)

    @property
    def log(self) -> bool:
        """Whether logarithms were fitted."""
        return self.scale == "log"

    @property
    def model(self) -> Row:
        """The model that made the predictions: the first row of that kind."""
        return next(row for row in self.rows if row.kind == "model")

    @property
    def best_baseline(self) -> Row | None:
        """The baseline with the highest R2 in the fitted unit, None where none was scored."""
        scored = [row for row in self.rows if row.kind == "baseline" and row.fitted["r2"] is not None]
        return max(scored, key=lambda row: row.r2, default=None)

    @property
    def attainable(self) -> Row | None:
        """The best that any model could reach, known only where the data is synthetic."""
        return next((row for row in self.rows if row.kind == "attainable"), None)

    def as_dict(self) -> dict[str, Any]:
        """Return it as a block of scores.json holds it."""
        return {
            "indicator": self.indicator,
            "unit": self.unit,
            "fitted_unit": self.fitted_unit,
            "scale": self.scale,
            "log": self.log,
            "plus": self.plus,
            "title": self.title,
            "kind": self.kind,
            "per": self.per,
            "level": self.level,
            "interval": self.interval,
            "probe": self.probe,
            "embeddings": self.embeddings,
            "neediest": self.neediest,
            "leaky": self.leaky,
            "leaks": [dict(leak) for leak in self.leaks],
            "split": dict(self.split),
            "repeats": list(self.repeats),
            "counts": dict(self.counts),
            "dropped": dict(self.dropped),
            "unlabelled": dict(self.unlabelled),
            "rows": [row.as_dict() for row in self.rows],
            "warnings": list(self.warnings),
        }

    @classmethod
    def of(cls, content: Mapping[str, Any], where: str = "scores") -> Scores:
        """Read what `as_dict` wrote, by an earlier version too.

        `InputError` naming `where` and the place in it, `KeyError`, `TypeError` or `ValueError` for anything else, and
        where there is no row of a model.
        """
        check(content, _BLOCK, where)
        scores = cls(
            indicator=str(content["indicator"]),
            unit=str(content.get("unit") or ""),
            fitted_unit=str(content.get("fitted_unit") or ""),
            scale=str(content.get("scale") or ("log" if content.get("log") else "linear")),
            per=content.get("per"),
            level=float(content["level"]),
            interval=str(content.get("interval") or "cross"),
            probe=str(content.get("probe") or ""),
            embeddings=content.get("embeddings"),
            neediest=str(content.get("neediest") or "low"),
            leaky=bool(content["leaky"]),
            split=dict(content["split"]),
            counts=dict(content["counts"]),
            dropped=dict(content.get("dropped") or {}),
            rows=tuple(Row.of(row) for row in content["rows"]),
            warnings=tuple(str(warning) for warning in content["warnings"]),
            leaks=tuple(dict(leak) for leak in content.get("leaks") or ()),
            repeats=tuple(_finite(value) for value in content.get("repeats") or ()),
            unlabelled=dict(content.get("unlabelled") or {}),
            title=str(content.get("title") or ""),
            kind=str(content.get("kind") or ""),
            plus=float(content.get("plus") or 0.0),
        )
        if not any(row.kind == "model" for row in scores.rows):
            raise ValueError("there is no row of kind 'model'")
        return scores


def attainable_row(value: float) -> Row:
    """Return the row of what anybody could reach, which no region was predicted for."""
    blank: dict[str, Estimate | None] = dict.fromkeys(METRICS)
    meaning = "1 - known noise variance / variance of the labels: what a perfect reader of the city would reach"
    return Row("attainable", "attainable", meaning, None, {**blank, "r2": Estimate(value, math.nan, math.nan)}, blank)


def _lists(estimates: Mapping[str, Estimate | None]) -> dict[str, list[float | None]]:
    return {name: [None, None, None] if e is None else e.as_list() for name, e in estimates.items()}


def _estimate(triple: Any) -> Estimate | None:
    """Turn [value, lower, upper] into an estimate, None where there is no value."""
    if triple is None:
        return None
    value, lower, upper = (math.nan if _finite(number) is None else float(number) for number in triple)
    return None if math.isnan(value) else Estimate(value, lower, upper)


def _finite(number: Any) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None
