"""What alembic runs: migrations over a connection that the store hands in."""

from __future__ import annotations

from alembic import context

from chorograph.serving.ratings.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # Not the default name, which a database that holds more than our tables may need.
    version_table="chorograph_ratings_version",
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
