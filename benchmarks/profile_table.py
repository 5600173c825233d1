"""The scores of a run as the README's table: a row an indicator, the model beside every baseline.

    python benchmarks/profile_table.py RUN

RUN is a folder that `chorograph predict` wrote. R2 in the fitted unit with its 95 % interval; where regions are
unlabelled, the score and coverage in folds as far from labels as they are. A baseline above the model is bold; one
above the model's interval is marked with an exclamation mark.
"""

from __future__ import annotations

import sys
from pathlib import Path

from chorograph.ground.files import read_json
from chorograph.prediction.judging.scores import Row, Scores
from chorograph.prediction.profile import read_scores
from chorograph.reporting.wording import indicator_title


def number(value: float | None, decimals: int = 3) -> str:
    """Return a number with a real minus sign, a dash for none."""
    return "–" if value is None else f"{value:.{decimals}f}".replace("-", "−")


def _beside(row: Row, model: Row) -> str:
    estimate, own = row.fitted["r2"], model.fitted["r2"]
    if estimate is None or own is None:
        return "–"
    said = number(estimate.value)
    if estimate.value > own.value:
        said = f"**{said}**"
    return f"{said}!" if own.bounded and estimate.value > own.upper else said


def line(scores: Scores) -> list[str]:
    """Return the cells of one indicator."""
    model, apart = scores.model, scores.unlabelled
    r2 = model.fitted["r2"]
    ends = f" [{number(r2.lower, 2)}, {number(r2.upper, 2)}]" if r2 is not None and r2.bounded else ""
    held = model.coverage.value if model.coverage else None
    cells = [f"{'log ' if scores.log else ''}{indicator_title(scores)}"]
    cells.append(f"{number(r2.value if r2 else None)}{ends}")
    cells.append(number(apart["r2"][0]) if apart else "–")
    cells += [_beside(row, model) for row in scores.rows if row.kind == "baseline" and row.name != "mean"]
    cells.append(number(None if held is None else 100 * held, 0))
    cells.append(number(100 * apart["coverage"][0], 0) if apart and apart["coverage"] else "–")
    return cells


def main() -> None:
    path = Path(sys.argv[1]) / "scores.json"
    found = read_scores(read_json(path), str(path))
    first = next(iter(found.values()))
    names = [row.name for row in first.rows if row.kind == "baseline" and row.name != "mean"]
    heads = ["R²", first.model.name, "where unlabelled", *names, "in 90 % intervals, %", "where unlabelled, %"]
    for cells in (heads, ["---"] * len(heads), *(line(scores) for scores in found.values())):
        sys.stdout.write("| " + " | ".join(cells) + " |\n")


if __name__ == "__main__":
    main()
