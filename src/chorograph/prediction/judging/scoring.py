"""The scores of a run: model and baselines on the same held-out regions, in two units, with intervals and decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from chorograph.ground.arrays import Vector
from chorograph.metrics.decision import SHARES, cost_curve, decision_metrics
from chorograph.metrics.regression import METRICS, BlockBootstrap, Estimate, Metric, coverage
from chorograph.prediction.crossfit import Predictions
from chorograph.prediction.judging.intervals import Weigh, conformal_intervals
from chorograph.prediction.judging.scores import Row
from chorograph.prediction.labels import Labels

Interval = tuple[Vector, Vector]


@dataclass(frozen=True)
class Scoring:
    """How predictions are judged: on which rows, resampled by which blocks, with which intervals.

    `scored`: (n,) bool. `groups`: (n,) int, the blocks that the bootstrap resamples. `neediest`: "low" or "high", the
    end of the indicator where need is, or "none": no decision is scored then.
    """

    labels: Labels
    scored: NDArray[np.bool_]
    groups: NDArray[np.int64]
    level: float
    method: str
    neediest: str
    bootstrap: BlockBootstrap
    weigh: Weigh | None = None

    def interval(self, run: Predictions) -> Interval:
        """Return lower and upper bounds of all rows, in the indicator's own unit."""
        lower, upper = conformal_intervals(
            self.labels.fitted,
            run.predicted,
            run.scale,
            run.fold,
            self.level,
            self.method,
            self.weigh,
            run.basis,
            self.groups,
        )
        return self.labels.to_own(lower), self.labels.to_own(upper)

    def score(self, run: Predictions, name: str, kind: str, meaning: str) -> Row:
        """Return the scores of one run: of the model, or of a baseline."""
        blocks = self.groups[self.scored]
        fitted_target, fitted = self.labels.fitted[self.scored], run.predicted[self.scored]
        own_target, own = self.labels.own[self.scored], self.labels.to_own(fitted)
        lower, upper = (bound[self.scored] for bound in self.interval(run))
        inside = ((own_target >= lower) & (own_target <= upper)).astype(np.float64)
        bounded = bool(np.isfinite(lower).all() and np.isfinite(upper).all())
        sign = 1.0 if self.neediest == "high" else -1.0

        def estimates(metrics: Mapping[str, Metric], target: Vector, predicted: Vector) -> dict[str, Estimate | None]:
            return {**self.bootstrap.estimates(metrics, target, predicted, blocks)}

        needy = self.neediest != "none"
        curve = cost_curve(sign * fitted_target, sign * fitted, SHARES[-1]) if needy else []
        return Row(
            name,
            kind,
            meaning,
            int(self.scored.sum()),
            estimates(METRICS, fitted_target, fitted),
            estimates(METRICS, own_target, own),
            self.bootstrap.estimate(coverage, inside, inside, blocks) if bounded else None,
            float(np.mean(upper - lower)) if bounded else None,
            estimates(decision_metrics(), sign * fitted_target, sign * fitted) if needy else {},
            tuple((round(served, 4), round(found, 4)) for served, found in curve),
        )

    def r2(self, run: Predictions) -> Estimate:
        """Return R2 in the fitted unit with its interval."""
        rows = self.scored
        return self.bootstrap.estimate(METRICS["r2"], self.labels.fitted[rows], run.predicted[rows], self.groups[rows])

    def by_place(self, run: Predictions, places: NDArray[np.object_]) -> list[dict[str, Any]]:
        """Return coverage and mean width of the intervals in each place (block or group) that has scored regions."""
        lower, upper = self.interval(run)
        inside = (self.labels.own >= lower) & (self.labels.own <= upper)
        return [
            {
                "place": str(place),
                "regions": int(rows.sum()),
                "coverage": round(float(inside[rows].mean()), 4),
                "mean_width": float(np.mean((upper - lower)[rows])),
            }
            for place in np.unique(places[self.scored].astype(str))
            if (rows := self.scored & (places.astype(str) == place)).any()
        ]
