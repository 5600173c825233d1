from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chorograph.area.ratings import LowMark, low_rated
from chorograph.curation.rows import Context
from chorograph.curation.run.plan import read_plan
from chorograph.curation.steps.ratings import Ratings
from chorograph.ground.errors import InputError, UnknownNameError


def ratings(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """Return ratings of caption IMAGE#0 by (image, rater, question, value)."""
    columns = ["image_id", "caption_id", "rater", "question", "value", "at"]
    return pd.DataFrame([(i, f"{i}#0", r, q, v, "2026-01-01") for i, r, q, v in rows], columns=columns)


TABLE = ratings(
    ("a", "ann", "fluency", 5), ("a", "ben", "fluency", 4), ("a", "ann", "hallucination", 4),
    ("b", "ann", "fluency", 2), ("b", "ben", "fluency", 3), ("b", "ann", "hallucination", 1),
    ("c", "ann", "fluency", 1),
)  # fmt: skip


def test_a_pair_falls_by_its_lowest_mean() -> None:
    assert low_rated(TABLE) == {("b", "b#0"): LowMark("hallucination", 1), ("c", "c#0"): LowMark("fluency", 1)}
    assert low_rated(TABLE, questions=("fluency",)) == {
        ("b", "b#0"): LowMark("fluency", 2.5), ("c", "c#0"): LowMark("fluency", 1),
    }  # fmt: skip
    assert low_rated(TABLE, least=2.5) == {
        ("b", "b#0"): LowMark("hallucination", 1),
        ("c", "c#0"): LowMark("fluency", 1),
    }


def test_one_rater_may_be_too_few() -> None:
    assert low_rated(TABLE, raters=2) == {("b", "b#0"): LowMark("fluency", 2.5)}
    assert low_rated(ratings()) == {}


def test_bounds_and_questions_are_checked() -> None:
    for wrong in ({"least": 1}, {"least": 5.5}, {"raters": 0}):
        with pytest.raises(InputError, match="least"):
            low_rated(TABLE, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="fluency"):
        low_rated(TABLE, questions=("fluancy",))
    with pytest.raises(InputError, match="area"):
        Ratings()


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """An area of three pairs whose ratings are `TABLE`."""
    from chorograph.area.folder import Area

    folder = tmp_path / "rated"
    folder.mkdir()
    (folder / "area.toml").write_text('name = "rated"\n')
    area = Area.open(folder)
    ids = ["a", "b", "c"]
    area.write("images", pd.DataFrame({"image_id": ids, "view": "satellite", "url": ["http://x/a", "http://x/b", None],
                                       "sha256": [None, None, "ff"], "source": "s", "licence": "l"}))  # fmt: skip
    area.write("captions", pd.DataFrame({"caption_id": [f"{i}#0" for i in ids], "image_id": ids, "rank": 0,
                                         "caption": ["fields", "a harbour", "houses"], "origin": "human"}))  # fmt: skip
    area.write("ratings", TABLE)
    return folder


def test_rows_with_a_low_rated_pair_leave(rated: Path) -> None:
    rows = [
        {"caption": "fields", "url": "http://x/a"},
        {"caption": "a harbour", "url": "http://x/b"},
        {"caption": "a harbour", "url": "http://elsewhere"},  # another image
        {"caption": "another caption", "url": "http://x/b"},
        {"caption": "houses", "url": None, "sha256": "ff"},
        {"caption": "houses", "url": None, "sha256": None},
    ]
    drops = Ratings(str(rated)).apply(rows, Context(""))
    assert [None if drop is None else (drop.reason, drop.score) for drop in drops] == [
        None, ("rated low: hallucination", 1.0), None, None, ("rated low: fluency", 1.0), None,
    ]  # fmt: skip
    (rated / "ratings.parquet").unlink()
    with pytest.raises(InputError, match="ratings export"):
        Ratings(str(rated)).apply(rows, Context(""))


def test_curate_filters_by_ratings_and_notices_new_ones(rated: Path, tmp_path: Path) -> None:
    from chorograph.verbs.curate.run import Settings, curate_with

    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"steps:\n- ratings: {{area: {rated}, least: 3, questions: [fluency]}}\n")
    assert read_plan(recipe).step_names == ("repeated_rows", "ratings")
    pq.write_table(
        pa.table({"caption": ["fields", "a harbour"], "url": ["http://x/a", "http://x/b"]}), tmp_path / "in.parquet"
    )
    settings = Settings(recipe=str(recipe), in_=[str(tmp_path / "in.parquet")], out=tmp_path / "out")

    def curate() -> tuple[bool, dict[str, int]]:
        outcome = curate_with(settings, lambda *_: None, lambda _: None, lambda _: None)
        return outcome.skipped, outcome.manifest["dropped"]

    assert curate() == (False, {"ratings: rated low: fluency": 1})
    assert curate()[0]
    from chorograph.area.folder import Area

    Area.open(rated).write("ratings", ratings(("a", "ann", "fluency", 1), ("b", "ann", "fluency", 1)))
    assert curate() == (False, {"ratings: rated low: fluency": 2})
