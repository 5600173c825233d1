"""The tables of the ratings store."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index, Integer, MetaData, String, Table

METADATA = MetaData()


def _key(name: str, length: int) -> Column[str]:
    return Column(name, String(length), primary_key=True)


#: A mark that a rater gave; one row a question.
RATING = Table(
    "rating",
    METADATA,
    _key("area", 200),
    _key("image_id", 400),
    _key("caption_id", 400),
    _key("rater", 64),
    _key("question", 64),
    Column("value", Integer, nullable=False),
    Column("at", String(32), nullable=False),
    CheckConstraint("value BETWEEN 1 AND 5", name="rating_value_1_to_5"),
)

#: A pair that was given to a rater, and what became of it: open, done or skipped.
CLAIM = Table(
    "claim",
    METADATA,
    _key("area", 200),
    _key("image_id", 400),
    _key("caption_id", 400),
    _key("rater", 64),
    Column("state", String(8), nullable=False),
    Column("at", String(32), nullable=False),
    CheckConstraint("state IN ('open', 'done', 'skipped')", name="claim_state"),
    Index("claim_of_rater", "area", "rater", "at"),
)
