"""What people said of captions: rows whose caption was rated low leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import pandas as pd

from chorograph.area.folder import Area
from chorograph.area.ratings import LowMark, check_bounds, low_rated
from chorograph.curation.rows import Context, Drop, Row
from chorograph.ground.errors import InputError
from chorograph.ground.stage import fingerprint


@dataclass(frozen=True)
class Ratings:
    """Drop rows with a caption that raters gave a mean below `least` in any of the `questions`.

    `area`: the folder whose `ratings.parquet` (`chorograph ratings export AREA AREA/ratings.parquet`) holds the marks.
    A row is the rated pair if it has its caption, word by word, and its image: the same URL, or the same bytes, which
    are known after `valid_images`. Rows that nobody rated stay.
    """

    name: ClassVar[str] = "ratings"

    area: str = ""
    least: float = 3.0
    raters: int = 1
    questions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.area:
            raise InputError("ratings: give `area`, the folder whose captions were rated")
        check_bounds(self.least, self.raters)

    def apply(self, rows: Sequence[Row], context: Context) -> list[Drop | None]:
        """Look each row up among the pairs that were rated low."""
        state = fingerprint(ratings_of(self.area))
        marks = _marks(self.area, self.least, self.raters, self.questions, state)
        return [_judged(row, marks) for row in rows]

    def describe(self) -> str:
        """Say what it does; with the state of the ratings, so that a run knows when there are others."""
        state = fingerprint(ratings_of(self.area))[:8]
        return f"captions rated below {self.least:g} by {self.raters} or more in {self.area} (ratings {state})"


def marks_of(area: Area, low: Mapping[tuple[str, str], LowMark]) -> dict[tuple[str, str], LowMark]:
    """Return low marks by (caption, URL of the image) and by (caption, SHA-256 of the image)."""
    pairs = pd.DataFrame([(*pair, mark) for pair, mark in low.items()], columns=["image_id", "caption_id", "mark"])
    captions = area.captions[["caption_id", "caption"]]
    known = pairs.merge(captions, on="caption_id").merge(area.images[["image_id", "url", "sha256"]], on="image_id")
    return {
        (caption, identity): mark
        for column in ("url", "sha256")
        for caption, identity, mark in known[["caption", column, "mark"]].dropna().itertuples(index=False)
    }


@lru_cache(maxsize=4)
def _marks(
    folder: str, least: float, raters: int, questions: tuple[str, ...], state: str
) -> dict[tuple[str, str], LowMark]:
    """Read the marks once for each `state` of the file of ratings."""
    area = Area.open(Path(folder))
    if not area.has("ratings"):
        raise InputError(
            f"{folder} holds no ratings.parquet, which `chorograph ratings export {folder} {folder}/ratings.parquet` "
            "writes"
        )
    return marks_of(area, low_rated(area.read("ratings"), least, raters, questions))


def ratings_of(area: str) -> Path:
    """Return the file of an area's ratings."""
    return Path(area) / "ratings.parquet"


def _judged(row: Row, marks: Mapping[tuple[str, str], LowMark]) -> Drop | None:
    for identity in (row.get("url"), row.get("sha256")):
        if identity and (mark := marks.get((row["caption"], identity))) is not None:
            return Drop(f"rated low: {mark.question}", round(mark.mean, 3))
    return None
