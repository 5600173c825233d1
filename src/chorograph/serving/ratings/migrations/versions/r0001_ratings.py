"""Ratings, and who was given which pair."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make both tables."""
    pair = [("area", 200), ("image_id", 400), ("caption_id", 400), ("rater", 64)]
    op.create_table(
        "rating",
        *(sa.Column(name, sa.String(length), primary_key=True) for name, length in [*pair, ("question", 64)]),
        sa.Column("value", sa.Integer, nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.CheckConstraint("value BETWEEN 1 AND 5", name="rating_value_1_to_5"),
    )
    op.create_table(
        "claim",
        *(sa.Column(name, sa.String(length), primary_key=True) for name, length in pair),
        sa.Column("state", sa.String(8), nullable=False),
        sa.Column("at", sa.String(32), nullable=False),
        sa.CheckConstraint("state IN ('open', 'done', 'skipped')", name="claim_state"),
    )
    op.create_index("claim_of_rater", "claim", ["area", "rater", "at"])


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("claim")
    op.drop_table("rating")
