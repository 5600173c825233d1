"""Where to survey next: the regions whose label would tell most, and why."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from chorograph.ground.files import check_regular, naming_damage
from chorograph.serving.catalogue.cards import named, quantity_of
from chorograph.serving.catalogue.layers import Layer, Predicted
from chorograph.serving.catalogue.served import ServedArea


def survey_next(served: ServedArea, layer: Layer, run: Predicted, most: int = 20) -> list[dict[str, Any]]:
    """Return unlabelled regions, the most telling first, each with the reason.

    As the run suggests them (`predict --suggest`, by the variance that a label takes away); else those unlike any
    training region, then those with the widest intervals relative to their prediction.
    """
    return _suggested(served, run, most) or _least_certain(served, layer, run, most)


def _suggested(served: ServedArea, run: Predicted, most: int) -> list[dict[str, Any]]:
    path = None if run.folder is None else run.folder / "suggested.csv"
    if path is None or not path.is_file():
        return []
    check_regular(path)
    with naming_damage(path, "suggestions", "run `chorograph predict --suggest` again"):
        frame = pd.read_csv(path, dtype={"region_id": str})
    if not {"region_id", "variance_gone"} <= set(frame.columns):
        return []
    rows = served.index.get_indexer(pd.Index(frame["region_id"]))
    known = rows >= 0
    return [
        {**region, "reason": f"surveyed down to here, {100 * gone:.0f} % of the uncertainty is gone"}
        for region, gone in zip(
            named(served, rows[known][:most].tolist()), frame["variance_gone"][known][:most], strict=True
        )
    ]


def _least_certain(served: ServedArea, layer: Layer, run: Predicted, most: int) -> list[dict[str, Any]]:
    width = run.upper - run.lower
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = width / np.abs(run.predicted)
    open_ = ~np.isfinite(layer.observed) & np.isfinite(relative)
    order = np.lexsort((-relative, run.supported))
    rows = [row for row in order.tolist() if open_[row]][:most]
    quantity = quantity_of(layer, run)
    reasons = [
        f"interval of {quantity.text(float(width[row]))}"
        + ("" if run.supported[row] else "; unlike any region with a label")
        for row in rows
    ]
    return [{**region, "reason": reason} for region, reason in zip(named(served, rows), reasons, strict=True)]
