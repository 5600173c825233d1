"""What raters said of captions, as a filter: which pairs of an image and a caption fall below a mean mark."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from chorograph.ground.errors import InputError, UnknownNameError

#: The ends of the scale that RS5M's questions are answered on.
LOWEST, HIGHEST = 1.0, 5.0


@dataclass(frozen=True)
class LowMark:
    """Why a pair falls: the question with the lowest mean mark, and that mean."""

    question: str
    mean: float


def low_rated(
    ratings: pd.DataFrame, least: float = 3.0, raters: int = 1, questions: tuple[str, ...] = ()
) -> dict[tuple[str, str], LowMark]:
    """Return the pairs (image_id, caption_id) of the table `ratings` whose mean mark is below `least` in any question.

    Marks go from 1 to 5, 5 is best. Pairs that fewer than `raters` raters answered are not judged. `questions`: those
    that count; none named: all. Raises `InputError` for bounds that no mark can meet, `UnknownNameError` for a question
    that nobody was asked.
    """
    check_bounds(least, raters)
    asked = sorted(ratings["question"].unique())
    for name in questions if len(ratings) else ():
        if name not in asked:
            raise UnknownNameError.of("question of the ratings", name, asked)
    counted = ratings[ratings["question"].isin(questions or asked)]
    marks = counted.groupby(["image_id", "caption_id", "question"])["value"].agg(["mean", "count"])
    low = marks[(marks["count"] >= raters) & (marks["mean"] < least)].sort_values("mean", kind="stable")
    found: dict[tuple[str, str], LowMark] = {}
    for image_id, caption_id, question, mean in low["mean"].reset_index().itertuples(index=False):
        found.setdefault((str(image_id), str(caption_id)), LowMark(str(question), float(mean)))
    return found


def check_bounds(least: float, raters: int) -> None:
    """Raise `InputError` where no mark could be below `least`, or all are, or nobody rated."""
    if not LOWEST < least <= HIGHEST or raters < 1:
        raise InputError(f"ratings: `least` lies above {LOWEST:g} and up to {HIGHEST:g}, and `raters` is 1 or more")
