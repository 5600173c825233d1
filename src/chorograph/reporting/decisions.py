"""What a run means for a decision: whom help would reach, what each kind of data adds, where to survey next."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from chorograph.ground.errors import InputError
from chorograph.ground.files import check_regular, naming_damage
from chorograph.prediction.judging.scores import Row
from chorograph.reporting.numbers import plain
from chorograph.reporting.run import Run

#: The share of regions that the cost curve counts as needy (`chorograph.metrics.decision.SHARES`).
_NEEDY = 0.2


@dataclass(frozen=True)
class Curve:
    """A line of the cost curve: its points as an SVG has them, 100 units wide and high, y downwards."""

    name: str
    points: str
    look: str


@dataclass(frozen=True)
class Reached:
    """The cost curve, and in words how many of the neediest the model and its best rival find."""

    curves: tuple[Curve, ...]
    text: str


def reached(run: Run) -> Reached | None:
    """Return how many of the neediest fifth of regions are reached when regions are served in each method's order.

    None for a run that was made before decisions were scored, and where nobody said which end is need.
    """
    model, rival = run.scores.model, run.scores.best_baseline
    if not model.cost_curve:
        return None
    curves = [_curve("perfect order", ((0.0, 0.0), (_NEEDY, 1.0), (1.0, 1.0)), "perfect")]
    curves.append(_curve(model.name, model.cost_curve, "model"))
    if rival is not None and rival.cost_curve:
        curves.append(_curve(rival.name, rival.cost_curve, "rival"))
    curves.append(_curve("random order", ((0.0, 0.0), (1.0, 1.0)), "random"))
    end = "lowest" if run.scores.neediest == "low" else "highest"
    text = (
        f"Need is taken to be the {end} values. Of the neediest fifth of regions, {_found(model)} are among the fifth "
        f"that the model calls neediest"
    )
    if rival is not None and rival.cost_curve:
        text += f", {_found(rival)} with {rival.name}"
    return Reached(tuple(curves), text + "; a random order finds 20 %.")


def ablation(run: Run) -> list[dict[str, str]]:
    """Return the rows of ablation.csv as text; none where the run made none."""
    frame = read_table(run, "ablation", ("modalities", "r2", "lower", "upper"))
    return [
        {
            "modalities": str(row["modalities"]),
            "r2": plain(float(row["r2"]), 3),
            "interval": ""
            if pd.isna(row["lower"])
            else f"{plain(float(row['lower']), 2)} to {plain(float(row['upper']), 2)}",
        }
        for row in frame.to_dict("records")
    ]


def suggestions(run: Run) -> list[dict[str, str]]:
    """Return the regions of suggested.csv with their names; none where none were asked for."""
    frame = read_table(run, "suggested", ("rank", "region_id", "variance_gone"))
    names = dict(zip(run.frame["region_id"].astype(str), run.frame["name"].astype(str), strict=True))
    return [
        {
            "rank": str(row["rank"]),
            "name": names.get(str(row["region_id"]), ""),
            "region_id": str(row["region_id"]),
            "gone": f"{plain(100 * float(row['variance_gone']), 1)} %",
        }
        for row in frame.to_dict("records")
    ]


def _found(row: Row) -> str:
    estimate = row.decision.get("recall@20")
    if estimate is None:
        return "–"
    share = f"{plain(100 * estimate.value, 0)} %"
    if not estimate.bounded:
        return share
    return f"{share} ({plain(100 * estimate.lower, 0)} to {plain(100 * estimate.upper, 0)})"


def _curve(name: str, points: tuple[tuple[float, float], ...], look: str) -> Curve:
    return Curve(name, " ".join(f"{100 * x:.1f},{100 - 100 * y:.1f}" for x, y in points), look)


def read_table(run: Run, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """Return the rows of NAME.csv of the run folder that are about the run's indicator; none where it made none.

    Raises `InputError` naming the file that is damaged or lacks a column.
    """
    path = run.path / f"{name}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list(columns))
    check_regular(path)
    with naming_damage(path, "a table", "run `chorograph predict` again"):
        frame = pd.read_csv(path, dtype={"region_id": str, "indicator": str})
    if missing := [column for column in columns if column not in frame.columns]:
        raise InputError(f"{path} lacks the column {missing[0]!r}; run `chorograph predict` again")
    return frame[frame["indicator"] == run.scores.indicator] if "indicator" in frame.columns else frame
